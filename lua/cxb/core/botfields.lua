-- Fields of a call's configuration (core spec §4): types, bounds, defaults, and the rules that span
-- several keys. Keys of nested objects that are not named here are kept and ignored.
local phrases = require("cxb.phrases")
local schema = require("cxb.schema")
local shapes = require("cxb.botshapes")
local tz = require("cxb.tz")

local M = {}

local text, bool, int, number, list, object, free = shapes.text, shapes.bool, shapes.int,
  shapes.number, shapes.list, shapes.object, shapes.free

local anything = { type = "any" }

-- With a default of its own where the field is absent.
local function otherwise(shape, default)
  local out = { default = default }
  for key, value in pairs(shape) do
    out[key] = value
  end
  return out
end

M.schema = object({
  session_id = { type = "string", minLength = 1, maxLength = 200 },
  webhook_url = text(), system_prompt = text(), opening_message = text(), bot_id = text(""),
  bot_version = anything, timezone = text("UTC"),
  re_engagement = shapes.re_engagement,
  min_words_interruption = int(0, 100, 3), max_call_duration_seconds = int(10, 7200, 600),
  voicemail_message = text(""), pre_transfer_message = text(""), tools = list(free(), {}),
  conversation_policy = free(), variables = free({}),
  turn = otherwise(shapes.turn, {}),
  agent_desk = otherwise(shapes.agent_desk, {}),
  transfer_targets = list(shapes.transfer_target, {}),
  transfer_numbers = { type = "object", additionalProperties = text(), default = {} },
  post_call_analysis_prompt = text(), qc_prompt = text(), post_call_cache_enabled = bool(false),
  post_call_cache_version = text(""), post_call_cache = free(),
  auto_dispositions = shapes.auto_dispositions,
  prompt_parts = shapes.prompt_parts,
  callback_detection_enabled = bool(false), knowledge_enabled = bool(false),
  knowledge_kb_ids = list(text(), {}), knowledge_top_k = int(1, 10, 4),
  knowledge_score_threshold = number(0, 1, 0.2), knowledge_strict = bool(false),
  knowledge_fallback_message = text(""), knowledge_trigger_instructions = text(""),
  flow = text("assistant"), flow_settings = free({}), flow_version = anything,
  flow_source = { type = "string", maxLength = 262144 }, sip_context = free(),
  stt = shapes.stt, llm = shapes.llm, tts = shapes.tts, vad = otherwise(shapes.vad, {}),
  recording_enabled = bool(true), max_silence_seconds = int(0, 7200, 30), apology_message = text(),
  timeout_message = text(),
})

M.required = { "session_id", "webhook_url", "system_prompt", "opening_message" }

-- Rules beyond types. Each answers a sentence when the field breaks one.
local rules = {}

function rules.session_id(value)
  return not value:match("^[%w._:%-]+$") and "must be of A-Z a-z 0-9 . _ : -"
end

for _, kind in ipairs({ "stt", "llm", "tts" }) do
  rules[kind] = function(value)
    return shapes.unknown_provider(kind, value)
  end
end

function rules.tools(value)
  local seen = {}
  for i, tool in ipairs(value) do
    local name = shapes.definition_of(tool).name
    if type(name) ~= "string" or #name > 64 or not name:match("^[%w_-]+$") then
      return ("tool %d has no name of A-Z a-z 0-9 _ -"):format(i)
    elseif shapes.built_in_tools[name] then
      return ("%s is built in"):format(name)
    elseif seen[name] then
      return ("%s is there twice"):format(name)
    end
    seen[name] = true
  end
end

function rules.transfer_targets(value)
  for i, target in ipairs(value) do
    local why = shapes.bad_target(target)
    if why then
      return ("target %s: %s"):format(target.id or target.label or tostring(i), why)
    end
  end
end

---@param name string of a field
---@param value any as received, without nulls; changed in place
---@return any? value, string? why
function M.check(name, value)
  local kept, wrong = schema.check_property(M.schema, name, value)
  if wrong then
    return nil, wrong.path .. " " .. wrong.message
  end
  local why = rules[name] and rules[name](kept)
  if why then
    return nil, why
  end
  return kept
end

---Derived values: what one field says about another.
function M.complete(config)
  config.system_prompt = config.system_prompt or ""
  config.opening_message = config.opening_message or ""
  config.stt = config.stt or M.check("stt", { provider = "embedded" })
  config.tts = config.tts or M.check("tts", { provider = "embedded" })
  config.llm = config.llm or M.check("llm", { provider = "rules" })
  for _, tts in ipairs({ config.tts, unpack(config.tts.fallback) }) do
    tts.voice = tts.voice or tts.voice_id
  end
  config.vad.confidence = config.vad.threshold or config.vad.confidence
  if not tz.known(config.timezone) then
    config.timezone = "UTC"
  end
  local said = phrases.of(config.tts.language)
  config.apology_message = config.apology_message or said.apology
  config.timeout_message = config.timeout_message or said.timeout
end

return M
