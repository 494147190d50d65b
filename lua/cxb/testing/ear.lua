-- What a WAV file says, by the embedded recogniser of a running speech service.
local embedded = require("providers.stt_embedded")
local host = require("cxb.testing.host")
local json = require("cxb.json")

local M = {}

local rate, tail_ms = 16000, 500

local function recognise(pcm, hints)
  local base = cxb.process.env("CXB_SPEECH_URL") or "unix:/run/cxb/speech.sock"
  local ws, code, message = cxb.ws.connect(embedded.address(base, "/stt?rate=" .. rate),
    { timeout_ms = 5000, max_text = 65536 })
  if not ws then
    return nil, ("no speech service at %s (%s): start one with cxbctl up, or set CXB_SPEECH_URL")
      :format(base, message or code)
  end
  ws:send(json.encode({ type = "hints", words = json.array(hints) }))
  for at = 1, #pcm, 32000 do
    ws:send_binary(pcm:sub(at, at + 31999))
  end
  ws:send_binary(("\0"):rep(rate * tail_ms / 500))
  ws:send('{"type":"finalize","id":1}')
  local final, kind, data
  repeat
    kind, data = ws:receive(60000)
    local event = kind == "text" and json.decode_object(data)
    final = event and event.type == "final" and event
  until final or not kind
  ws:close(1000)
  if not final then
    return nil, "the speech service did not answer: " .. tostring(data)
  end
  return final.text
end

---(waits, outside of virtual time)
---@param file string
---@param hints? string[]
---@return string? text, number|string ms_or_why
function M.hear(file, hints)
  return host.really(function()
    local pcm, from, message = cxb.media.read_wav(file)
    if not pcm then
      return nil, ("%s: %s"):format(file, message or from)
    end
    local said, why = recognise(cxb.media.resample(pcm, from, rate), hints or {})
    return said, why or #pcm / 2 * 1000 / from
  end)
end

return M
