-- The far end of Asterisk's WebSocket channel, /asterisk/{bot_id}: binary slin16, control in JSON.

local json = require("cjson.safe")
local url = require("cxb.url")

local M = { name = "asterisk", rate = 16000, protocol = "media",
  confirms = true } -- answers the bot's hang-up with its own

function M.path(call)
  return ("/asterisk/%s?caller=%s&did=%s&direction=%s"):format(call.bot, url.escape(call.from),
    url.escape(call.to), call.direction)
end

function M.open(conn, call)
  return conn:send(json.encode({ event = "MEDIA_START", connection_id = "media-" .. call.stream_id,
    channel = "WebSocket/cxbctl", channel_id = call.stream_id, format = "slin16",
    optimal_frame_size = 640, ptime = 20,
    channel_variables = next(call.variables or {}) and call.variables or nil }))
end

function M.frame(conn, pcm)
  return conn:send_binary(pcm)
end

function M.digit(conn, digit, call)
  return conn:send(json.encode({ event = "DTMF_END", digit = digit, channel_id = call.stream_id }))
end

function M.read(kind, data)
  if kind == "binary" then return { type = "audio", pcm = data } end
  local message = json.decode(data)
  if type(message) ~= "table" then return { type = "bad", text = data } end
  if message.command == "MARK_MEDIA" then
    return { type = "mark", name = message.correlation_id }
  elseif message.command == "FLUSH_MEDIA" then
    return { type = "clear" }
  elseif message.command == "HANGUP" then
    return { type = "hangup" }
  end
  return { type = "other", name = message.command }
end

function M.played(conn, name, call)
  return conn:send(json.encode({ event = "MEDIA_MARK_PROCESSED", correlation_id = name,
    channel_id = call.stream_id }))
end

function M.hangup(conn)
  return conn:close(1000)
end

return M
