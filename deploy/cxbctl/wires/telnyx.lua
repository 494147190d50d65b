-- The far end of Telnyx media streaming, /telnyx/{bot_id}: JSON text, base64 µ-law both ways.

local json = require("cjson.safe")
local media_events = require("cxbctl.media_events")
local audio = require("cxbctl.audio")

local M = { name = "telnyx", rate = 8000 }

function M.path(call)
  return "/telnyx/" .. call.bot
end

function M.open(conn, call)
  call.chunk = 0
  local parameters = { direction = call.direction }
  for key, value in pairs(call.variables or {}) do parameters[key] = value end
  conn:send('{"event":"connected","version":"1.0.0"}')
  return conn:send(json.encode({
    event = "start", sequence_number = "1", stream_id = call.stream_id,
    start = { call_control_id = "v3:" .. call.stream_id, from = call.from, to = call.to,
      custom_parameters = parameters,
      media_format = { encoding = "PCMU", sample_rate = 8000, channels = 1 } },
  }))
end

function M.frame(conn, pcm, call)
  call.chunk = call.chunk + 1
  return conn:send(('{"event":"media","sequence_number":"%d","stream_id":"%s","media":'
    .. '{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s"}}'):format(
    call.chunk + 1, call.stream_id, call.chunk, call.chunk * 20,
    cxb.crypto.base64(audio.to_ulaw(pcm))))
end

function M.digit(conn, digit, call)
  return conn:send(json.encode({ event = "dtmf", stream_id = call.stream_id,
    dtmf = { digit = digit } }))
end

M.read = media_events.reader({ ulaw = true })

function M.played(conn, name, call)
  return conn:send(json.encode({ event = "mark", stream_id = call.stream_id,
    mark = { name = name } }))
end

function M.hangup(conn, _, call)
  return conn:send(json.encode({ event = "stop", stream_id = call.stream_id }))
end

return M
