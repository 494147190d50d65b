-- Speech to text by Soniox: tokens, of which the final ones come once, and a mark where the
-- caller's turn ends. With extra.vad_force_turn_endpoint the ends are ours to find, and a finalize
-- brings the rest of the text.
local json = require("cxb.json")
local stream = require("providers.stt_stream")
local wire = require("providers.wire")

local M = { sends_vad = false }

local home = "wss://stt-rt.soniox.com"

local rules = {
  { "language_hints", "list" }, { "language_hints_strict", "boolean" },
  { "enable_speaker_diarization", "boolean" }, { "enable_language_identification", "boolean" },
  { "client_reference_id", "string" }, { "vad_force_turn_endpoint", "boolean" },
}

---Whether it decides the ends of turns, by the bot's configuration.
---@return boolean
function M.sends_turns(stage)
  return (stage.extra or {}).vad_force_turn_endpoint ~= true
end

---The first message.
---@return table? config, string? code, string? message
function M.config(stage, rate)
  local extra, code, message = wire.options(stage.extra or {}, rules)
  if not extra then
    return nil, code, message
  end
  local context = stage.extra and stage.extra.context
  return {
    model = wire.word(stage.model) or "stt-rt-v4", audio_format = "pcm_s16le", sample_rate = rate,
    num_channels = 1, enable_endpoint_detection = M.sends_turns(stage),
    language_hints = json.array(extra.language_hints or { wire.word(stage.language) or "en" }),
    language_hints_strict = extra.language_hints_strict,
    enable_speaker_diarization = extra.enable_speaker_diarization,
    enable_language_identification = extra.enable_language_identification,
    client_reference_id = extra.client_reference_id,
    context = (type(context) == "table" or wire.word(context)) and context or nil,
  }
end

local soniox = { idle_ms = 8000 } -- it gives up after 20 s

-- What the tokens of one turn add up to.
local function add(turn, token)
  turn.text = turn.text .. token.text
  local sure = tonumber(token.confidence)
  turn.confidence = sure and math.min(turn.confidence or 1, sure) or turn.confidence
  turn.language = wire.word(token.language) or turn.language
end

local function trimmed(text)
  return (text:gsub("^%s+", ""):gsub("%s+$", ""))
end

local function over(self, by)
  local said = self.turn
  said.text = trimmed(said.text)
  self.turn = { text = "" }
  if by == "<fin>" then
    return self:final(said, true)
  end
  self.interim = ""
  if said.text ~= "" then
    self.on_event({
      type = "turn_end", text = said.text, confidence = said.confidence, language = said.language,
    })
  end
end

function soniox.handle(self, message)
  if message.error_code and message.error_code ~= json.null then
    local status = tonumber(message.error_code)
    return self:fail(status and "http_" .. status or "provider", message.error_message)
  elseif type(message.tokens) ~= "table" then
    return message.finished == nil and self:error("bad_response", "no tokens") or nil
  end
  local rest, marked = "", false
  for _, token in ipairs(message.tokens) do
    local text = type(token) == "table" and token.text
    if text == "<end>" or text == "<fin>" then
      over(self, text)
      marked = true
    elseif type(text) == "string" and token.is_final == true then
      add(self.turn, token)
    elseif type(text) == "string" then
      rest = rest .. text
    end
  end
  local so_far = trimmed(self.turn.text .. rest)
  if so_far ~= "" and so_far ~= self.interim then
    if self.interim == "" and M.sends_turns(self.stage) and not marked then
      self.on_event({ type = "turn_start" })
    end
    self:partial(so_far)
  end
end

function soniox.finalize(self)
  self.ws:send('{"type":"finalize"}')
end

function soniox.forget(self)
  self.turn = { text = "" }
end

function soniox.idle(self)
  self.ws:send('{"type":"keepalive"}')
end

-- An empty message ends the audio.
function soniox.goodbye(self)
  self.ws:send("")
end

-- With its own ends of turns the provider is not to be asked; what it has said so far has to do.
local unasked = setmetatable({ finalize = false }, { __index = soniox })

---(waits)
function M.open(options)
  local stage = options.stage
  local config, code, message = M.config(stage, options.rate)
  if not config then
    return nil, code, message
  end
  local ws
  ws, code, message = wire.connect(wire.address(stage.url, home, "ws") .. "/transcribe-websocket",
    { authorization = "Bearer " .. (stage.api_key or "") })
  if not ws then
    return nil, code, wire.clean(message, stage)
  end
  ws:send(json.encode(config))
  local self = stream.new(M.sends_turns(stage) and unasked or soniox, ws, options)
  self.turn = { text = "" }
  return self
end

return M
