-- Text to speech by OpenAI's /audio/speech, or any server that speaks it: one request a sentence,
-- the body of the answer is the audio.
local exchange = require("cxb.llm_exchange")
local json = require("cxb.json")
local stream = require("providers.tts_stream")
local wire = require("providers.wire")

local M = {}

local home = "https://api.openai.com/v1"

local openai = { rate = 24000 } -- that of its format "pcm"

local function authorization(stage)
  return "Bearer " .. (stage.api_key or "")
end

function openai.http(self, text)
  local stage = self.stage
  return {
    method = "POST", url = wire.address(stage.url, home, "http") .. "/audio/speech",
    headers = {
      authorization = authorization(stage), ["content-type"] = "application/json",
    },
    body = json.encode({
      model = wire.model(stage, "gpt-4o-mini-tts"), input = text, response_format = "pcm",
      voice = wire.word(stage.voice) or wire.word(stage.voice_id) or "alloy",
      speed = stage.speed or 1, instructions = (stage.extra or {}).instructions,
    }),
  }
end

---(waits) The first sentence finds the connection made.
function M.open(options)
  local stage = options.stage
  exchange.warm(wire.address(stage.url, home, "http") .. "/models",
    { authorization = authorization(stage) })
  return stream.new(openai, options):open()
end

return M
