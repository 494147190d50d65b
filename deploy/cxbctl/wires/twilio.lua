-- The far end of Twilio Media Streams, /twilio/{bot_id}: JSON text, base64 µ-law both ways; marks
-- come back when the sound before them was played or cleared.

local json = require("cjson.safe")
local media_events = require("cxbctl.media_events")
local audio = require("cxbctl.audio")

local M = { name = "twilio", rate = 8000 }

local ACCOUNT = "AC" .. ("0"):rep(32)

function M.path(call)
  return "/twilio/" .. call.bot
end

function M.open(conn, call)
  call.sequence, call.chunk = 1, 0
  local parameters = { from = call.from, to = call.to, direction = call.direction }
  for key, value in pairs(call.variables or {}) do parameters[key] = value end
  conn:send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
  return conn:send(json.encode({
    event = "start", sequenceNumber = "1", streamSid = call.stream_id,
    start = { accountSid = ACCOUNT, streamSid = call.stream_id,
      callSid = "CA" .. call.stream_id, tracks = { "inbound" }, customParameters = parameters,
      mediaFormat = { encoding = "audio/x-mulaw", sampleRate = 8000, channels = 1 } },
  }))
end

function M.frame(conn, pcm, call)
  call.sequence, call.chunk = call.sequence + 1, call.chunk + 1
  return conn:send(('{"event":"media","sequenceNumber":"%d","streamSid":"%s","media":'
    .. '{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%s"}}'):format(
    call.sequence, call.stream_id, call.chunk, call.chunk * 20,
    cxb.crypto.base64(audio.to_ulaw(pcm))))
end

function M.digit(conn, digit, call)
  return conn:send(json.encode({ event = "dtmf", streamSid = call.stream_id,
    dtmf = { track = "inbound_track", digit = digit } }))
end

M.read = media_events.reader({ ulaw = true })

function M.played(conn, name, call)
  return conn:send(json.encode({ event = "mark", streamSid = call.stream_id,
    mark = { name = name } }))
end

function M.hangup(conn, _, call)
  return conn:send(json.encode({ event = "stop", streamSid = call.stream_id,
    stop = { accountSid = ACCOUNT, callSid = "CA" .. call.stream_id } }))
end

return M
