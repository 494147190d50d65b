-- The parts of a bot that API and Core both judge (core spec §4): types, bounds, defaults, and the
-- rules that span several keys. Core ignores keys that are not named here; the API refuses them
-- (M.strict).
local providers = require("providers")

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

local function object(properties, required)
  return { type = "object", properties = properties, required = required,
    additionalProperties = true }
end

local function choice(...)
  return { type = "string", enum = { ... } }
end

local function free(default)
  return { type = "object", default = default, additionalProperties = true }
end

M.text, M.bool, M.int, M.number, M.list, M.object, M.choice, M.free =
  text, bool, int, number, list, object, choice, free

-- The provider of a stage and those that take over from it: the same shape, without a list of
-- their own.
local function stage(properties)
  properties.provider = text()
  local whole = {}
  for name, property in pairs(properties) do
    whole[name] = property
  end
  whole.fallback = list(object(properties, { "provider" }), {})
  return object(whole, { "provider" })
end

M.stt = stage({ api_key = text(""), model = text("stt-rt-v4"), language = text("en"), url = text(),
  extra = free({}) })
M.llm = stage({ api_key = text(""), model = text(), temperature = number(0, 2, 0.7),
  max_tokens = int(1, 100000, 256), base_url = text(), extra = free({}) })
M.tts = stage({ api_key = text(""), voice = text(), voice_id = text(), model = text(),
  language = text("en"), speed = number(0.5, 2, 1), url = text(), extra = free({}) })

M.vad = object({
  confidence = number(0, 1, 0.5), threshold = number(0, 1), start_secs = number(0, 10),
  start_ms = number(0, 10000), stop_secs = number(0, 10), stop_ms = number(0, 10000),
  min_volume = number(0, 1, 0),
})

M.turn = object({
  mode = { type = "string", enum = { "auto", "vad", "provider" }, default = "auto" },
  endpoint_delay_ms = int(0, 10000, 600), dynamic = bool(true),
  max_utterance_seconds = number(1, 600, 60), false_interruption_ms = int(0, 10000, 1200),
  backchannels = list(text(), {}), high_intent = list(text(), {}),
})

M.re_engagement = object({
  after_seconds = number(1, 3600, 6), max_attempts = int(0, 100, 2), messages = list(text(), {}),
  hangup_after = bool(true), final_message = text(""),
})

M.agent_desk = object({
  hold_music = text(), hold_messages = list(text()), hold_every_seconds = number(1, 3600, 20),
  closing_message = text(""), stay = { type = "string", enum = { "record", "leave" },
    default = "record" },
})

M.transfer_target = object({
  id = text(), label = text(),
  method = choice("websocket_reverse_transfer", "livekit_sip_refer", "agent_desk"),
  type = choice("extension", "sip_uri", "tel_uri", "phone_number", "agent_queue"),
  value = text(), is_default = bool(false), enabled = bool(true),
}, { "method", "type" })

M.auto_dispositions = { type = "object", additionalProperties = object({
  DISPOSITION = text(), SUB_DISPOSITION = text(), CALLING_REMARKS = text(),
}, { "DISPOSITION" }) }

M.prompt_parts = object({
  mode = { type = "string", enum = { "legacy", "direct" }, default = "legacy" },
  cache_enabled = bool(false), static_system_prompt = text(""), dynamic_runtime_prompt = text(""),
  static_version = { type = "any" }, prompt_cache_key = text(),
  prompt_cache_retention = choice("in_memory", "24h"),
})

---A shape that refuses keys it does not name, all the way down; free objects stay free.
---@param shape table
---@param without? table<string, boolean> properties that are none here
---@return table
function M.strict(shape, without)
  local out = {}
  for key, value in pairs(shape) do
    out[key] = value
  end
  out.items = shape.items and M.strict(shape.items, without)
  if shape.properties then
    out.properties, out.additionalProperties = {}, false
    for name, property in pairs(shape.properties) do
      if not (without and without[name]) then
        out.properties[name] = M.strict(property, without)
      end
    end
  end
  return out
end

---What is wrong with the providers of a stage; nil when they all exist.
---@param kind "stt"|"llm"|"tts"
---@return string?
function M.unknown_provider(kind, value)
  for _, one in ipairs({ value, unpack(value.fallback or {}) }) do
    if providers[kind][one.provider] == nil then
      return ("there is no %s provider %q"):format(kind, one.provider)
    elseif kind == "llm" and one.provider ~= "rules" and (one.model or "") == "" then
      return "model is required"
    end
  end
end

---Tools that Core brings itself; no bot may have one of the same name.
M.built_in_tools = { end_call = true, transfer_call = true, detected_voicemail = true,
  search_knowledge = true }

---A tool's definition, wrapped or flat.
---@return table
function M.definition_of(tool)
  return type(tool["function"]) == "table" and tool["function"] or tool
end

-- The transfer methods and what each can reach.
local reachable = {
  websocket_reverse_transfer = { extension = true, sip_uri = true, tel_uri = true,
    phone_number = true },
  livekit_sip_refer = { sip_uri = true, tel_uri = true, phone_number = true },
  agent_desk = { agent_queue = true },
}
local prefixes = { sip_uri = "^sip:.", tel_uri = "^tel:." }

---What is wrong with a transfer target; nil when nothing is.
---@return string? why, string? field
function M.bad_target(target)
  if not reachable[target.method][target.type] then
    return ("%s does not take %s"):format(target.method, target.type), "type"
  elseif target.type ~= "agent_queue" and (target.value or "") == "" then
    return "has no value", "value"
  elseif prefixes[target.type] and not target.value:match(prefixes[target.type]) then
    return ("its value is no %s"):format(target.type), "value"
  end
end

return M
