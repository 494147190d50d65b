-- The far end of the audio fork, /audiofork/{bot_id}: binary L16, JSON control.

local json = require("cjson.safe")

local M = { name = "audiofork", rate = 16000, protocol = "audio.drachtio.org",
  confirms = true } -- answers the bot's hang-up with its own

function M.path(call)
  return "/audiofork/" .. call.bot
end

function M.open(conn, call)
  local hello = { callSid = call.stream_id, from = call.from, to = call.to,
    direction = call.direction, sampleRate = M.rate, mixType = "mono" }
  for key, value in pairs(call.variables or {}) do hello[key] = value end
  return conn:send(json.encode(hello))
end

function M.frame(conn, pcm)
  return conn:send_binary(pcm)
end

function M.digit(conn, digit)
  return conn:send(json.encode({ event = "dtmf", dtmf = digit, duration = "1600" }))
end

function M.read(kind, data)
  if kind == "binary" then return { type = "audio", pcm = data } end
  local message = json.decode(data)
  if type(message) ~= "table" then return { type = "bad", text = data } end
  if message.type == "mark" then
    return { type = "mark", name = message.data.name }
  elseif message.type == "killAudio" then
    return { type = "clear" }
  elseif message.type == "disconnect" then
    return { type = "hangup" }
  elseif message.type == "transfer" then
    return { type = "transfer", to = message.data.transferTo }
  end
  return { type = "other", name = message.type }
end

function M.played(conn, name)
  return conn:send(json.encode({ type = "mark", data = { name = name, event = "playout" } }))
end

---The far end takes the caller away: its socket closes.
function M.transferred(conn)
  return conn:close(1000)
end

function M.hangup(conn)
  return conn:close(1000)
end

return M
