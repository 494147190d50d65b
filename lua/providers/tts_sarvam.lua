-- Text to speech by Sarvam, for the languages of India: a WebSocket that is configured once and
-- speaks sentence after sentence, audio in JSON.
local json = require("cxb.json")
local url = require("cxb.url")
local stream = require("providers.tts_stream")
local wire = require("providers.wire")

local M = {}

local home = "https://api.sarvam.ai"
local default_model, default_voice = "bulbul:v2", "anushka"

-- `extra` that is part of the configuration.
local settings = { "pitch", "loudness", "temperature", "enable_preprocessing", "min_buffer_size",
  "max_chunk_length" }

---The provider's code of a language: "hi" is "hi-IN".
---@return string
function M.language(code)
  code = wire.word(code) or "en"
  return code:find("-", 1, true) and code or code .. "-IN"
end

local function voice(stage, rate)
  local out = {
    target_language_code = M.language(stage.language),
    speaker = wire.word(stage.voice) or wire.word(stage.voice_id) or default_voice,
    pace = stage.speed or 1, speech_sample_rate = rate, output_audio_codec = "linear16",
  }
  for _, name in ipairs(settings) do
    out[name] = (stage.extra or {})[name]
  end
  return out
end

local sarvam = { path = "data.audio", reuse = true }

-- It speaks at no more than 24 kHz.
function sarvam.rate(rate)
  return (rate == 8000 or rate == 16000) and rate or 24000
end

function sarvam.connect(self)
  local stage = self.stage
  local address = ("%s/text-to-speech/ws?%s"):format(wire.address(stage.url, home, "ws"),
    url.encode_query({ { "model", wire.model(stage, default_model) },
      { "send_completion_event", "true" } }))
  local ws, code, message = wire.connect(address,
    { ["api-subscription-key"] = stage.api_key or "" })
  if ws then
    ws:send(json.encode({ type = "config", data = voice(stage, self.rate) }))
  end
  return ws, code, message
end

function sarvam.ask(_, ws, text)
  ws:send(json.encode({ type = "text", data = { text = text } }))
  ws:send('{"type":"flush"}')
end

function sarvam.read(_, say, message)
  local data = type(message.data) == "table" and message.data or {}
  if message.type == "audio" then
    if not stream.audio(say, data.audio) then
      return nil, "bad_response", "data.audio: base64 expected"
    end
  elseif message.type == "event" then
    return data.event_type == "final"
  elseif message.type == "error" then
    local status = tonumber(data.code)
    return nil, status and status >= 400 and status < 600 and "http_" .. status or "provider",
      data.message
  end
end

function sarvam.http(self, text)
  local body = voice(self.stage, self.rate)
  body.text, body.model = text, wire.model(self.stage, default_model)
  return {
    method = "POST", url = wire.address(self.stage.url, home, "http") .. "/text-to-speech/stream",
    headers = {
      ["api-subscription-key"] = self.stage.api_key or "", ["content-type"] = "application/json",
    },
    body = json.encode(body),
  }
end

---(waits)
function M.open(options)
  return stream.new(sarvam, options):open()
end

return M
