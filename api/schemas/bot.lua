-- A bot (api.md §5.4): what an operator may write, and the defaults of what is left out. Shapes
-- that the worker judges too are of cxb.botshapes; rules over several fields are in
-- services/bots/rules.lua.
local json = require("cxb.json")
local shapes = require("cxb.botshapes")

local PROMPT, TEXT = 100000, 4000

local function text(max, default)
  return { type = "string", maxLength = max, default = default }
end

local function object(properties, default)
  return { type = "object", properties = properties, default = default, nullable = true }
end

local function free(default)
  return { type = "object", additionalProperties = true, nullable = true, default = default }
end

local function list(items, default)
  return { type = "array", items = items, default = default }
end

local function boolean(default)
  return { type = "boolean", default = default }
end

local function integer(low, high, default)
  return { type = "integer", minimum = low, maximum = high, default = default }
end

-- Keys of providers are in the settings only.
local function strict(shape, default)
  local out = shapes.strict(shape, { api_key = true })
  out.nullable, out.default = true, default
  return out
end

local days = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" }

local active_hours = object({
  enabled = boolean(false),
  days = list({ type = "string", enum = days }, json.array({ unpack(days) })),
  start_time = { type = "string", format = "clock", default = "00:00" },
  end_time = { type = "string", format = "clock", default = "24:00" },
})

-- Nothing has a default: one of the policy's own kind is changed by what is said here.
local scenario = {
  type = "object", required = { "id" },
  properties = {
    id = { type = "string", format = "id" }, title = text(120), trigger = text(1000),
    enabled = { type = "boolean" }, always = { type = "boolean" }, instructions = text(TEXT),
    when = list({
      type = "object", required = { "fact", "is" },
      properties = {
        fact = { type = "string", minLength = 1, maxLength = 64 },
        is = { type = "string", enum = require("cxb.policy.scenarios").conditions },
        value = { type = "any" },
      },
    }),
  },
}

local policy = {
  type = "object", required = { "type" }, nullable = true, additionalProperties = true,
  properties = {
    type = { type = "string", minLength = 1, maxLength = 64 }, enabled = boolean(true),
    goal = text(TEXT), conduct = list(text(1000)), scenarios = list(scenario),
    facts = { type = "object", additionalProperties = text(256) },
  },
}

local header_value = { type = "string", maxLength = 4096 }
local headers = { type = "object", additionalProperties = header_value, nullable = true }
local template = { type = "any", description = "a text or JSON with {{names}}" }

local crm_prefetch = object({
  enabled = boolean(false),
  method = { type = "string", enum = { "GET", "POST" }, default = "GET" },
  url = text(2048, ""), headers = headers, body = template,
  timeout_ms = integer(100, 10000, 3000),
  field_map = { type = "object", additionalProperties = text(256), nullable = true,
    description = "crm name → path in the answer, like data.customer.name" },
})

local post_call_push = object({
  enabled = boolean(false), url = text(2048, ""),
  method = { type = "string", enum = { "POST", "PUT" }, default = "POST" },
  headers = headers, key_mapper = template, timeout_ms = integer(100, 60000, 10000),
  signing_secrets = list({ type = "string", minLength = 1, maxLength = 256 }),
})
local properties = {
  name = { type = "string", minLength = 1, maxLength = 120 },
  description = text(TEXT),
  is_active = boolean(true),
  timezone = text(64, "UTC"),
  flow = { type = "string", minLength = 1, maxLength = 48, default = "assistant" },
  flow_settings = free({}),
  system_prompt = text(PROMPT, ""),
  opening_message = text(TEXT, ""),
  voicemail_message = text(TEXT, ""),
  pre_transfer_message = text(TEXT, ""),
  apology_message = text(TEXT),
  timeout_message = text(TEXT),
  conversation_policy = policy,
  prompt_parts = strict(shapes.prompt_parts),
  post_call_analysis_prompt = text(PROMPT),
  qc_prompt = text(PROMPT),
  auto_dispositions = strict(shapes.auto_dispositions),
  callback_prompt_injection = boolean(false),
  dnc_auto = boolean(true),
  re_engagement = strict(shapes.re_engagement),
  vad = strict(shapes.vad),
  turn = strict(shapes.turn),
  agent_desk = strict(shapes.agent_desk),
  min_words_interruption = integer(0, 10, 3),
  max_call_duration_seconds = integer(10, 7200, 600),
  max_silence_seconds = integer(0, 7200),
  recording_enabled = boolean(true),
  stt = strict(shapes.stt, { provider = "embedded" }),
  llm = strict(shapes.llm, { provider = "rules", model = "assistant" }),
  tts = strict(shapes.tts, { provider = "embedded" }),
  tools = list({ type = "object", additionalProperties = true }, json.array()),
  transfer_targets = list(shapes.strict(shapes.transfer_target), json.array()),
  transfer_numbers = { type = "object", additionalProperties = text(256), nullable = true,
    default = {} },
  active_hours = active_hours,
  sip_header_config = object({
    mode = { type = "string", enum = { "none", "list", "all" }, default = "none" },
    names = list({ type = "string", minLength = 1, maxLength = 128 }, json.array()),
  }),
  crm_prefetch = crm_prefetch,
  post_call_push = post_call_push,
  knowledge_enabled = boolean(false),
  knowledge_kb_ids = list({ type = "string", format = "id" }, json.array()),
  knowledge_top_k = integer(1, 10, 4),
  knowledge_score_threshold = { type = "number", minimum = 0, maximum = 1, default = 0.2 },
  knowledge_strict = boolean(false),
  knowledge_trigger_instructions = text(TEXT, ""),
  knowledge_fallback_message = text(TEXT, ""),
  widget_allowed_origins = list({ type = "string", minLength = 1, maxLength = 256,
    rule = function(origin)
      return not origin:match("^https?://[^/%s]+$") and "must be an origin like https://example.org"
        or nil
    end }, json.array()),
}

local M = {}

---What POST takes; schema.partial of it is what PUT and PATCH take.
M.input = { type = "object", title = "BotInput", required = { "name" }, properties = properties }

local function opened(shape)
  local out = {}
  for key, value in pairs(shape) do
    out[key] = value
  end
  out.items = shape.items and opened(shape.items)
  out.rule = nil
  if shape.properties then
    out.properties, out.additionalProperties = {}, true
    for name, property in pairs(shape.properties) do
      out.properties[name] = opened(property)
    end
  end
  return out
end

---A stored bot: what came from elsewhere may hold more than an operator may write today.
M.stored = opened(M.input)

local function read_only(kind)
  return { type = kind or "object", additionalProperties = kind == nil or nil, nullable = true }
end

local shown = {
  id = { type = "string" }, v = { type = "integer" }, version = { type = "integer" },
  created_at = { type = "integer", format = "time" },
  updated_at = { type = "integer", format = "time" },
  widget_api_key = { type = "string", nullable = true, description = "masked" },
  post_call_cache_enabled = { type = "boolean" }, post_call_cache = read_only(),
  live_prompt_cache = read_only(), live_prompt_cache_state = read_only(),
  running_campaigns = list({ type = "object", additionalProperties = true }),
  dids = list({ type = "object", additionalProperties = true }),
  warnings = list({ type = "object", additionalProperties = true }),
}
for name, property in pairs(M.stored.properties) do
  shown[name] = property
end

---A bot as the wire shows it.
M.output = { type = "object", title = "Bot", required = { "id", "v", "name" }, properties = shown }

return M
