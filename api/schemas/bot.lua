-- A bot as it is stored (api.md §5.4) with the defaults of what it leaves out. Shapes that the
-- worker owns (core.md §4) pass as they are.
local json = require("cxb.json")

local function text(max, default)
  return { type = "string", maxLength = max, default = default }
end

local function object(default)
  return { type = "object", additionalProperties = true, nullable = true, default = default }
end

local function list(default)
  return { type = "array", default = default }
end

local function boolean(default)
  return { type = "boolean", default = default }
end

local function integer(low, high, default)
  return { type = "integer", minimum = low, maximum = high, default = default }
end

local no_items = json.array

return {
  type = "object",
  additionalProperties = true,
  required = { "name" },
  properties = {
    name = { type = "string", minLength = 1, maxLength = 120 },
    description = text(4000),
    is_active = boolean(true),
    timezone = text(64, "UTC"),
    flow = text(48, "assistant"),
    flow_settings = object({}),
    system_prompt = text(100000, ""),
    opening_message = text(4000, ""),
    voicemail_message = text(4000, ""),
    pre_transfer_message = text(4000, ""),
    conversation_policy = object(),
    prompt_parts = object(),
    post_call_analysis_prompt = text(100000),
    qc_prompt = text(100000),
    auto_dispositions = object(),
    callback_prompt_injection = boolean(false),
    re_engagement = object(),
    vad = object(),
    turn = object(),
    min_words_interruption = integer(0, 10, 3),
    max_call_duration_seconds = integer(10, 7200, 600),
    max_silence_seconds = integer(0, 7200),
    recording_enabled = boolean(true),
    stt = object({ provider = "embedded" }),
    llm = object({ provider = "rules" }),
    tts = object({ provider = "embedded" }),
    tools = list(no_items()),
    transfer_targets = list(no_items()),
    transfer_numbers = object({}),
    active_hours = {
      type = "object",
      nullable = true,
      additionalProperties = true,
      properties = {
        enabled = boolean(false),
        days = {
          type = "array",
          items = { type = "string", enum = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" } },
          default = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" },
        },
        start_time = { type = "string", format = "clock", default = "00:00" },
        end_time = { type = "string", format = "clock", default = "24:00" },
      },
    },
    knowledge_enabled = boolean(false),
    knowledge_kb_ids = list(no_items()),
    knowledge_top_k = integer(1, 10, 4),
    knowledge_score_threshold = { type = "number", minimum = 0, maximum = 1, default = 0.2 },
    knowledge_strict = boolean(false),
    knowledge_trigger_instructions = text(4000, ""),
    knowledge_fallback_message = text(4000, ""),
  },
}
