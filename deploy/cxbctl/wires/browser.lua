-- The far end of the browser's test call, /browser/{bot_id}: binary PCM16 and JSON text.

local json = require("cjson.safe")

local M = { name = "browser", rate = 16000 }

function M.path(call)
  return "/browser/" .. call.bot .. (call.ticket and "?ticket=" .. call.ticket or "")
end

function M.open(conn, call)
  return conn:send(json.encode({ type = "start", rate = M.rate,
    variables = next(call.variables or {}) and call.variables or nil }))
end

function M.frame(conn, pcm)
  return conn:send_binary(pcm)
end

function M.digit(conn, digit)
  return conn:send(json.encode({ type = "dtmf", digit = digit }))
end

function M.read(kind, data)
  if kind == "binary" then return { type = "audio", pcm = data } end
  local message = json.decode(data)
  if type(message) ~= "table" then return { type = "bad", text = data } end
  if message.type == "end" then
    return { type = "hangup", by = message.disconnected_by, error = message.error }
  end
  return message -- ready, clear, mark, transcript, state, latency, event
end

function M.played(conn, name, _, played_ms)
  return conn:send(json.encode({ type = "mark", name = name, played_ms = played_ms }))
end

---How much of what was cut had been played.
function M.cleared(conn, played_ms)
  return conn:send(json.encode({ type = "clear", played_ms = played_ms }))
end

function M.hangup(conn)
  return conn:send('{"type":"stop"}')
end

return M
