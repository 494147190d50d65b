-- The far end of Vonage's WebSocket endpoint, /vonage/{bot_id}: binary L16, JSON control.

local json = require("cjson.safe")

local M = { name = "vonage", rate = 16000 }

function M.path(call)
  return "/vonage/" .. call.bot
end

function M.open(conn, call)
  local hello = { event = "websocket:connected", ["content-type"] = "audio/l16;rate=" .. M.rate,
    uuid = call.stream_id, from = call.from, to = call.to, direction = call.direction }
  for key, value in pairs(call.variables or {}) do hello[key] = value end
  return conn:send(json.encode(hello))
end

function M.frame(conn, pcm)
  return conn:send_binary(pcm)
end

function M.digit(conn, digit)
  return conn:send(json.encode({ event = "websocket:dtmf", digit = digit, duration = 260 }))
end

function M.read(kind, data)
  if kind == "binary" then return { type = "audio", pcm = data } end
  local message = json.decode(data)
  if type(message) ~= "table" then return { type = "bad", text = data } end
  if message.action == "notify" then
    return { type = "mark", name = message.payload.mark }
  elseif message.action == "clear" then
    return { type = "clear" }
  end
  return { type = "other", name = message.action }
end

function M.played(conn, name)
  return conn:send(json.encode({ event = "websocket:notify", payload = { mark = name } }))
end

function M.hangup(conn)
  return conn:close(1000)
end

return M
