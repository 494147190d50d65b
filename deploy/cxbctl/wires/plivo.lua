-- The far end of Plivo audio streaming, /plivo/{bot_id}: JSON text, base64 L16 both ways.

local json = require("cjson.safe")
local media_events = require("cxbctl.media_events")

local M = { name = "plivo", rate = 16000 }

function M.path(call)
  return "/plivo/" .. call.bot
end

function M.open(conn, call)
  call.chunk = 0
  local extra = { "from=" .. call.from, "to=" .. call.to, "direction=" .. call.direction }
  for key, value in pairs(call.variables or {}) do
    extra[#extra + 1] = key .. "=" .. tostring(value)
  end
  return conn:send(json.encode({
    event = "start", sequenceNumber = 0, extra_headers = table.concat(extra, ";"),
    start = { callId = call.stream_id:gsub("^cxbctl%-", ""), streamId = call.stream_id,
      accountId = "cxbctl", tracks = { "inbound" },
      mediaFormat = { encoding = "audio/x-l16", sampleRate = M.rate } },
  }))
end

function M.frame(conn, pcm, call)
  call.chunk = call.chunk + 1
  return conn:send(('{"event":"media","sequenceNumber":%d,"streamId":"%s","media":'
    .. '{"track":"inbound","chunk":%d,"timestamp":"%d","payload":"%s"}}'):format(
    call.chunk, call.stream_id, call.chunk, call.chunk * 20, cxb.crypto.base64(pcm)))
end

function M.digit(conn, digit, call)
  return conn:send(json.encode({ event = "dtmf", streamId = call.stream_id,
    dtmf = { track = "inbound", digit = digit } }))
end

M.read = media_events.reader({ media = "playAudio", mark = "checkpoint", clear = "clearAudio",
  mark_name = function(message) return message.name end })

function M.played(conn, name, call)
  return conn:send(json.encode({ event = "playedStream", streamId = call.stream_id, name = name }))
end

function M.hangup(conn)
  return conn:close(1000)
end

return M
