-- The far end of Exotel's voice streaming, /exotel/{bot_id}: JSON text, base64 LINEAR16 both ways,
-- 100 ms a message to the bot.

local json = require("cjson.safe")
local media_events = require("cxbctl.media_events")

local M = { name = "exotel", rate = 8000 }

local MESSAGE_BYTES = 1600

function M.path(call)
  return "/exotel/" .. call.bot
end

function M.open(conn, call)
  call.chunk, call.held = 0, ""
  conn:send('{"event":"connected"}')
  return conn:send(json.encode({
    event = "start", sequence_number = "1", stream_sid = call.stream_id,
    start = { stream_sid = call.stream_id, call_sid = call.stream_id:gsub("%-", ""),
      account_sid = "cxbctl", from = call.from, to = call.to,
      custom_parameters = next(call.variables or {}) and call.variables or nil,
      media_format = { encoding = "base64", sample_rate = "8000" } },
  }))
end

function M.frame(conn, pcm, call)
  call.held = call.held .. pcm
  if #call.held < MESSAGE_BYTES then return true end
  local payload = cxb.crypto.base64(call.held)
  call.held, call.chunk = "", call.chunk + 1
  return conn:send(('{"event":"media","stream_sid":"%s","media":{"chunk":"%d","timestamp":"%d",'
    .. '"payload":"%s"}}'):format(call.stream_id, call.chunk, call.chunk * 100, payload))
end

function M.digit(conn, digit, call)
  return conn:send(json.encode({ event = "dtmf", stream_sid = call.stream_id,
    dtmf = { digit = digit, duration = "100" } }))
end

M.read = media_events.reader({})

function M.played(conn, name, call)
  return conn:send(json.encode({ event = "mark", stream_sid = call.stream_id,
    mark = { name = name } }))
end

function M.hangup(conn, _, call)
  return conn:send(json.encode({ event = "stop", stream_sid = call.stream_id,
    stop = { reason = "callended" } }))
end

return M
