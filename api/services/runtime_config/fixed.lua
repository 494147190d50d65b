-- The part of a configuration that is the same for every call of a bot as it stands, made once.
local bots = require("services.bots")
local errors = require("services.web.errors")
local json = require("cxb.json")
local prompts = require("services.runtime_config.prompts")
local provider_keys = require("services.runtime_config.provider_keys")
local system_settings = require("services.system.settings")

local M = {}

-- Passed on as the bot has them.
local copied = {
  "timezone", "flow", "flow_settings", "re_engagement", "min_words_interruption",
  "max_call_duration_seconds", "max_silence_seconds", "tools", "conversation_policy",
  "transfer_numbers", "transfer_targets", "auto_dispositions", "knowledge_enabled",
  "knowledge_kb_ids", "knowledge_top_k", "knowledge_score_threshold", "knowledge_strict",
  "knowledge_trigger_instructions", "knowledge_fallback_message", "vad", "turn", "agent_desk",
  "recording_enabled",
}
local maps = { "flow_settings", "transfer_numbers" }
local lists = { "tools", "transfer_targets", "knowledge_kb_ids" }

local function fields_of(bot, stages)
  local out = { bot_id = bot._id, bot_version = bots.version(bot) }
  for _, name in ipairs(copied) do
    out[name] = bot[name]
  end
  for _, source in ipairs({ prompts.fixed(bot), stages }) do
    for name, value in pairs(source) do
      out[name] = value
    end
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

-- By bot; the settings' keys are in it, so it is of these settings only.
local kept = setmetatable({}, { __mode = "k" })

---(waits)
---@param bot table complete, not changed from now on
---@return {text: string, warnings: table[]}? fixed the text is a JSON object, api.error? err
function M.of(app, bot)
  local settings, err = system_settings.get(app)
  if not settings then
    return nil, errors.of_store(err)
  end
  local found = kept[bot]
  if not found or found.settings ~= settings then
    local stages, warnings = provider_keys.stages_of(settings, bot)
    if not stages then
      return nil, warnings
    end
    found = { settings = settings, warnings = warnings,
      text = json.encode(fields_of(bot, stages)) }
    kept[bot] = found
  end
  return found
end

return M
