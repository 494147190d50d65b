-- What a call worker asks for before a call: GET /config/{bot_id} (api.md §5.6, core.md §4).
local body = require("services.body")
local bots = require("services.bots")
local calls = require("services.calls")
local errors = require("services.errors")
local hours = require("services.hours")
local json = require("cxb.json")
local template = require("cxb.template")
local variables = require("services.variables")

local M = {}

-- Passed on as the bot has them.
local copied = {
  "timezone", "flow", "flow_settings", "re_engagement", "min_words_interruption",
  "max_call_duration_seconds", "max_silence_seconds", "tools", "conversation_policy",
  "transfer_numbers", "transfer_targets", "auto_dispositions", "knowledge_enabled",
  "knowledge_kb_ids", "knowledge_top_k", "knowledge_score_threshold", "knowledge_strict",
  "knowledge_trigger_instructions", "knowledge_fallback_message", "prompt_parts", "stt", "llm",
  "tts", "vad", "turn", "recording_enabled",
}
local rendered = {
  "system_prompt", "opening_message", "voicemail_message", "pre_transfer_message",
  "post_call_analysis_prompt", "qc_prompt",
}
local maps = { "flow_settings", "transfer_numbers" }
local lists = { "tools", "transfer_targets", "knowledge_kb_ids" }

-- Providers that work without a key; keys of the others come from the settings.
local keyless = { embedded = true, rules = true, none = true }

local function missing_key(bot)
  for _, part in ipairs({ "stt", "llm", "tts" }) do
    local chosen = bot[part]
    local provider = chosen and chosen.provider
    if provider and not keyless[provider] and (chosen.api_key or "") == "" then
      return ("no key for %s provider %s"):format(part, tostring(provider))
    end
  end
end

local function event_of(text)
  return text and body.parse(text) or {}
end

local function answer(bot, call, vars, webhook_url)
  local out = {
    session_id = call._id, bot_id = bot._id, bot_version = bot.v, webhook_url = webhook_url,
    variables = vars, callback_detection_enabled = false, post_call_cache_enabled = false,
    post_call_cache_version = "",
  }
  for _, name in ipairs(copied) do
    out[name] = bot[name]
  end
  for _, name in ipairs(rendered) do
    out[name] = bot[name] and template.render(bot[name], vars)
  end
  for _, name in ipairs(maps) do
    if type(out[name]) == "table" and next(out[name]) == nil then
      out[name] = json.object({})
    end
  end
  for _, name in ipairs(lists) do
    out[name] = json.array(out[name])
  end
  return out
end

-- The skeleton of the call: what is known before it begins.
local function skeleton(bot, query, event, flags, crm)
  local function text(value)
    return type(value) == "string" and value ~= "" and value or nil
  end
  local caller = text(query.caller_id) or text(event.callerId)
  return {
    bot_id = bot._id, bot_version = bot.v, flow = bot.flow,
    direction = event.callDirection == "outgoing" and "outgoing" or "incoming",
    stream_id = text(query.stream_id) or text(event.streamId),
    caller_id = caller, customer_number = caller, did = text(event.did),
    number_rev = calls.reversed(caller),
    campaign_id = flags.campaign_id, campaign_call_id = flags.campaign_call_id,
    campaign_attempt = flags.campaign_attempt, run_number = flags.campaign_run_number,
    skip_post_push = flags.skip_post_push or nil,
    connected_event = next(event) and event or nil, crm_data = crm and next(crm) and crm or nil,
  }
end

---(waits) The configuration of one call, its skeleton durable.
---@param app table
---@param bot_id string
---@param query {caller_id?: string, stream_id?: string, connected_event?: string}
---@param webhook_url string
---@return table? answer, api.error? err
function M.build(app, bot_id, query, webhook_url)
  local flags, event = variables.part(event_of(query.connected_event))
  local bot, err = bots.active(app.store, bot_id)
  if not bot and err.code == "not_found" then
    return nil, errors.new(404, "unknown_bot", "There is no active bot of this id.")
  elseif not bot and err.code == "invalid" then
    return nil, errors.new(503, "bot_invalid", ("The bot is not valid: %s %s."):format(
      err.fields[1].path, err.fields[1].message), { fields = err.fields })
  elseif not bot then
    return nil, errors.of_store(err)
  end
  local now = cxb.time.now()
  local open, why = hours.open(bot.active_hours, bot.timezone, now)
  if not open then
    return nil, errors.new(503, "outside_active_hours", why)
  end
  why = missing_key(bot)
  if why then
    return nil, errors.new(503, "provider_key_missing", why)
  end
  local session_id = flags.campaign_session_id or cxb.crypto.uuid7()
  local call, failed = calls.begin(app.store, session_id, function(found)
    local test = found and found.call_type == "test" and found.test or {}
    for name, value in pairs(test.variables or {}) do
      event[name] = value
    end
    return skeleton(bot, query, event, flags, test.mock_crm or flags.mock_crm)
  end)
  if not call then
    return nil, errors.of_store(failed)
  end
  local vars = variables.all(event, call.crm_data, bot.timezone, now)
  return answer(bot, call, vars, webhook_url)
end

return M
