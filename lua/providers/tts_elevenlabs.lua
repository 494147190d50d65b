-- Text to speech by ElevenLabs: the stream-input WebSocket, which sends audio in JSON with the
-- times of its characters. A connection speaks one sentence, as only the end of its text makes the
-- provider say which audio is the last; the next one is opened meanwhile.
local json = require("cxb.json")
local url = require("cxb.url")
local stream = require("providers.tts_stream")
local wire = require("providers.wire")
local words = require("providers.words")

local M = {}

local home = "https://api.elevenlabs.io"
local default_voice, default_model = "21m00Tcm4TlvDq8ikWAM", "eleven_flash_v2_5"

-- `extra` that is part of the voice, and what is part of the query.
local voice_settings = { "stability", "similarity_boost", "style", "use_speaker_boost" }
local query_settings = { "apply_text_normalization", "enable_logging" }

local function settings(stage)
  local out = { speed = math.min(1.2, math.max(0.7, stage.speed or 1)) } -- all it can
  for _, name in ipairs(voice_settings) do
    out[name] = (stage.extra or {})[name]
  end
  return out
end

-- A model that speaks many languages is told which.
local function language(stage)
  local model = wire.model(stage, default_model)
  return model:find("v2_5", 1, true) and (wire.word(stage.language) or "en"):match("^%a+") or nil
end

---@param more table[] of the query
---@return string
function M.address(self, kind, last, more)
  local stage = self.stage
  local query = { { "model_id", wire.model(stage, default_model) },
    { "output_format", "pcm_" .. self.rate } }
  for _, pair in ipairs(more) do
    query[#query + 1] = pair
  end
  for _, name in ipairs(query_settings) do
    local value = (stage.extra or {})[name]
    query[#query + 1] = value ~= nil and { name, tostring(value) } or nil
  end
  return ("%s/v1/text-to-speech/%s/%s?%s"):format(wire.address(stage.url, home, kind),
    url.escape(wire.word(stage.voice) or wire.word(stage.voice_id) or default_voice), last,
    url.encode_query(query))
end

local rates = { [8000] = true, [16000] = true, [22050] = true, [24000] = true, [44100] = true,
  [48000] = true }

local elevenlabs = { path = "audio" }

function elevenlabs.rate(rate)
  return rates[rate] and rate or 24000
end

function elevenlabs.connect(self)
  local ws, code, message = wire.connect(
    M.address(self, "ws", "stream-input",
      { { "language_code", language(self.stage) }, { "inactivity_timeout", 180 } }),
    { ["xi-api-key"] = self.stage.api_key or "" })
  if ws then
    ws:send(json.encode({ text = " ", voice_settings = settings(self.stage) }))
  end
  return ws, code, message
end

function elevenlabs.ask(_, ws, text)
  ws:send(json.encode({ text = text .. " ", flush = true }))
  ws:send('{"text":""}')
end

-- Errors come as messages after a connection was made.
local codes = {
  invalid_api_key = "http_401", missing_api_key = "http_401", quota_exceeded = "http_402",
  voice_not_found = "http_404", rate_limit_exceeded = "http_429",
  too_many_concurrent_requests = "http_429",
}

function elevenlabs.read(self, say, message)
  if message.error and message.error ~= json.null then
    return nil, codes[message.error] or "provider", message.message or message.error
  end
  local before = say.bytes
  local audio = message.audio
  if audio ~= nil and audio ~= json.null and not stream.audio(say, audio) then
    return nil, "bad_response", "audio: base64 expected"
  end
  local timed = message.alignment
  if type(timed) == "table" and type(timed.chars) == "table" and say.on_words
    and type(timed.charStartTimesMs) == "table" then -- of this message's audio
    say.words = say.words or words.new(say.on_words)
    say.words:add(timed.chars, timed.charStartTimesMs,
      timed.charDurationsMs or timed.charsDurationsMs, before / 2 * 1000 / self.rate)
  end
  if message.isFinal == true then
    if say.words then
      say.words:finish()
    end
    return true
  end
end

function elevenlabs.http(self, text)
  return {
    method = "POST", url = M.address(self, "http", "stream", {}),
    headers = { ["xi-api-key"] = self.stage.api_key or "", ["content-type"] = "application/json" },
    body = json.encode({
      text = text, model_id = wire.model(self.stage, default_model),
      language_code = language(self.stage), voice_settings = settings(self.stage),
    }),
  }
end

---(waits)
function M.open(options)
  return stream.new(elevenlabs, options):open()
end

return M
