-- The far end of the CXB WebSocket dialler, /ws/{bot_id}: JSON text, base64 LINEAR16 both ways.

local json = require("cjson.safe")

local M = { name = "cxb", rate = 8000, confirms = true } -- answers the bot's hang-up

function M.path(call)
  return "/ws/" .. call.bot
end

function M.open(conn, call)
  local hello = { event = "connected", callerId = call.from, did = call.to,
    callDirection = call.direction, streamId = call.stream_id }
  for key, value in pairs(call.variables or {}) do hello[key] = value end
  conn:send(json.encode(hello))
  conn:send(json.encode({ event = "start", streamId = call.stream_id,
    mediaFormat = { encoding = "LINEAR16", sampleRate = M.rate, channels = 1 } }))
  return conn:send(json.encode({ event = "answer" }))
end

function M.frame(conn, pcm)
  return conn:send('{"event":"media","payload":"' .. cxb.crypto.base64(pcm) .. '"}')
end

function M.digit(conn, digit)
  return conn:send(json.encode({ event = "dtmf", digit = digit }))
end

---One message of the bot's side as an event of the caller's: audio, clear, hangup, transfer.
function M.read(_, data)
  local message = json.decode(data)
  if type(message) ~= "table" then return { type = "bad", text = data } end
  if message.event == "reverse-media" then
    return { type = "audio", pcm = cxb.crypto.unbase64(message.payload), number = message.chunk }
  elseif message.event == "reverse-media-stop" then
    return { type = "clear" }
  elseif message.event == "reverse-hangup-call" then
    return { type = "hangup" }
  elseif message.event == "reverse-call-transfer" then
    return { type = "transfer", to = message.transferTo }
  end
  return { type = "other", name = message.event }
end

function M.transferred(conn, ok)
  return conn:send(json.encode({ event = "call-transfer-status",
    status = ok and "ok" or "failed", reason = not ok and "refused by the caller's side" or nil }))
end

function M.hangup(conn, by)
  return conn:send(json.encode({ event = "hangup-call", disconnectedBy = by }))
end

return M
