-- Fields of a call's configuration (core spec §4): types, bounds, defaults, and the rules that span
-- several keys. Keys of nested objects that are not named here are kept and ignored.
local phrases = require("cxb.phrases")
local providers = require("providers")
local schema = require("cxb.schema")
local tz = require("cxb.tz")

local M = {}

local function text(default)
  return { type = "string", default = default }
end

local function bool(default)
  return { type = "boolean", default = default }
end

local function int(low, high, default)
  return { type = "integer", minimum = low, maximum = high, default = default }
end

local function number(low, high, default)
  return { type = "number", minimum = low, maximum = high, default = default }
end

local function list(items, default)
  return { type = "array", items = items, default = default }
end

local function object(properties, required, default)
  return { type = "object", properties = properties, required = required, default = default,
    additionalProperties = true }
end

local function choice(...)
  return { type = "string", enum = { ... } }
end

local function free(default)
  return object({}, nil, default)
end

local anything = { type = "any" }
local words = list(text())

-- The provider of a stage and those that take over from it: the same shape, without a list of
-- their own.
local function stage(properties, required)
  properties.provider = text()
  local fallback = object(properties, required)
  local whole = {}
  for name, property in pairs(properties) do
    whole[name] = property
  end
  whole.fallback = list(fallback, {})
  return object(whole, required)
end

M.schema = object({
  session_id = { type = "string", minLength = 1, maxLength = 200 },
  webhook_url = text(), system_prompt = text(), opening_message = text(), bot_id = text(""),
  bot_version = anything, timezone = text("UTC"),
  re_engagement = object({
    after_seconds = number(1, 3600, 6), max_attempts = int(0, 100, 2), messages = list(text(), {}),
    hangup_after = bool(true), final_message = text(""),
  }),
  min_words_interruption = int(0, 100, 3), max_call_duration_seconds = int(10, 7200, 600),
  voicemail_message = text(""), pre_transfer_message = text(""), tools = list(free(), {}),
  conversation_policy = free(), variables = free({}),
  turn = object({
    mode = { type = "string", enum = { "auto", "vad", "provider" }, default = "auto" },
    endpoint_delay_ms = int(0, 10000, 600), dynamic = bool(true),
    max_utterance_seconds = number(1, 600, 60), false_interruption_ms = int(0, 10000, 1200),
    backchannels = list(text(), {}), high_intent = list(text(), {}),
  }, nil, {}),
  agent_desk = object({
    hold_music = text(), hold_messages = words, hold_every_seconds = number(1, 3600, 20),
    closing_message = text(""), stay = { type = "string", enum = { "record", "leave" },
      default = "record" },
  }, nil, {}),
  transfer_targets = list(object({
    id = text(), label = text(),
    method = choice("websocket_reverse_transfer", "livekit_sip_refer", "agent_desk"),
    type = choice("extension", "sip_uri", "tel_uri", "phone_number", "agent_queue"),
    value = text(), is_default = bool(false), enabled = bool(true),
  }, { "method", "type" }), {}),
  transfer_numbers = { type = "object", additionalProperties = text(), default = {} },
  post_call_analysis_prompt = text(), qc_prompt = text(), post_call_cache_enabled = bool(false),
  post_call_cache_version = text(""), post_call_cache = free(),
  auto_dispositions = { type = "object", additionalProperties = object({
    DISPOSITION = text(), SUB_DISPOSITION = text(), CALLING_REMARKS = text(),
  }, { "DISPOSITION" }) },
  prompt_parts = object({
    mode = { type = "string", enum = { "legacy", "direct" }, default = "legacy" },
    cache_enabled = bool(false), static_system_prompt = text(""), dynamic_runtime_prompt = text(""),
    static_version = anything, prompt_cache_key = text(),
    prompt_cache_retention = choice("in_memory", "24h"),
  }),
  callback_detection_enabled = bool(false), knowledge_enabled = bool(false),
  knowledge_kb_ids = list(text(), {}), knowledge_top_k = int(1, 10, 4),
  knowledge_score_threshold = number(0, 1, 0.2), knowledge_strict = bool(false),
  knowledge_fallback_message = text(""), knowledge_trigger_instructions = text(""),
  flow = text("assistant"), flow_settings = free({}), flow_version = anything,
  flow_source = { type = "string", maxLength = 262144 }, sip_context = free(),
  stt = stage({ api_key = text(""), model = text("stt-rt-v4"), language = text("en"), url = text(),
    extra = free({}) }, { "provider" }),
  llm = stage({ api_key = text(""), model = text(), temperature = number(0, 2, 0.7),
    max_tokens = int(1, 100000, 256), base_url = text(), extra = free({}) },
    { "provider" }),
  tts = stage({ api_key = text(""), voice = text(), voice_id = text(), model = text(),
    language = text("en"), speed = number(0.5, 2, 1), url = text(), extra = free({}) },
    { "provider" }),
  vad = object({
    confidence = number(0, 1, 0.5), threshold = number(0, 1), start_secs = number(0, 10),
    start_ms = number(0, 10000), stop_secs = number(0, 10), stop_ms = number(0, 10000),
    min_volume = number(0, 1, 0),
  }, nil, {}),
  recording_enabled = bool(true), max_silence_seconds = int(0, 7200, 30), apology_message = text(),
  timeout_message = text(),
})

M.required = { "session_id", "webhook_url", "system_prompt", "opening_message" }

-- Rules beyond types. Each answers a sentence when the field breaks one.
local rules = {}

function rules.session_id(value)
  return not value:match("^[%w._:%-]+$") and "must be of A-Z a-z 0-9 . _ : -"
end

local function known_providers(kind, value)
  local choices = { value }
  for _, fallback in ipairs(value.fallback) do
    choices[#choices + 1] = fallback
  end
  for _, one in ipairs(choices) do
    if providers[kind][one.provider] == nil then
      return ("there is no %s provider %q"):format(kind, one.provider)
    end
  end
end

function rules.stt(value)
  return known_providers("stt", value)
end

function rules.tts(value)
  return known_providers("tts", value)
end

function rules.llm(value)
  for _, one in ipairs({ value, unpack(value.fallback) }) do
    if one.provider ~= "rules" and (one.model or "") == "" then
      return "model is required"
    end
  end
  return known_providers("llm", value)
end

---Tools that Core brings itself; no bot may have one of the same name.
M.built_in_tools = { end_call = true, transfer_call = true, detected_voicemail = true,
  search_knowledge = true }

function rules.tools(value)
  local seen = {}
  for i, tool in ipairs(value) do
    local fn = type(tool["function"]) == "table" and tool["function"] or tool
    local name = fn.name
    if type(name) ~= "string" or #name > 64 or not name:match("^[%w_-]+$") then
      return ("tool %d has no name of A-Z a-z 0-9 _ -"):format(i)
    elseif M.built_in_tools[name] then
      return ("%s is built in"):format(name)
    elseif seen[name] then
      return ("%s is there twice"):format(name)
    end
    seen[name] = true
  end
end

-- The transfer methods and what each can reach.
local reachable = {
  websocket_reverse_transfer = { extension = true, sip_uri = true, tel_uri = true,
    phone_number = true },
  livekit_sip_refer = { sip_uri = true, tel_uri = true, phone_number = true },
  agent_desk = { agent_queue = true },
}
local prefixes = { sip_uri = "^sips?:.", tel_uri = "^tel:." }

function rules.transfer_targets(value)
  for i, target in ipairs(value) do
    local name = target.id or target.label or tostring(i)
    if not reachable[target.method][target.type] then
      return ("target %s: %s does not take %s"):format(name, target.method, target.type)
    elseif target.type ~= "agent_queue" and (target.value or "") == "" then
      return ("target %s has no value"):format(name)
    elseif prefixes[target.type] and not target.value:match(prefixes[target.type]) then
      return ("target %s: its value is no %s"):format(name, target.type)
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
