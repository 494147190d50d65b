-- The keys of a bot's providers: they are in the settings of the deployment, never in a bot.
local errors = require("services.web.errors")
local json = require("cxb.json")
local system_settings = require("services.system.settings")

local M = {}

-- Work without a key.
local keyless = { embedded = true, rules = true, none = true }
-- Several wires, one account.
local accounts = { deepgram_flux = "deepgram" }

---@param keys table<string, string>
---@param choice table a provider of a stage, or one that takes over
---@return string? key
---@return boolean missing a paid provider has none; a server of one's own may do without
function M.of(keys, choice)
  local provider = choice.provider
  local key = keys[provider] or keys[accounts[provider] or ""]
  local own = (choice.base_url or "") ~= "" or (choice.url or "") ~= ""
  return key, not key and not keyless[provider] and not own
end

-- A copy of a stage with its keys; those that take over and have none are left out.
local function with_keys(keys, name, stage, warnings)
  local out = {}
  for field, value in pairs(stage) do
    out[field] = value
  end
  local missing
  out.api_key, missing = M.of(keys, stage)
  if missing then
    return nil, ("no key for %s provider %s"):format(name, tostring(stage.provider))
  end
  local fallback = json.array()
  for _, choice in ipairs(type(stage.fallback) == "table" and stage.fallback or {}) do
    local twin = {}
    for field, value in pairs(choice) do
      twin[field] = value
    end
    twin.api_key, missing = M.of(keys, choice)
    if missing then
      warnings[#warnings + 1] = { code = "provider_key_missing",
        message = ("No key for %s provider %s, which would take over."):format(name,
          tostring(choice.provider)) }
    else
      fallback[#fallback + 1] = twin
    end
  end
  out.fallback = fallback
  return out
end

---The stages of a bot with the keys of these settings.
---@return {stt: table, llm: table, tts: table}? stages, table[]|api.error warnings_or_err
function M.stages_of(settings, bot)
  local out, warnings = {}, {}
  for _, name in ipairs({ "stt", "llm", "tts" }) do
    local stage, why = with_keys(settings.api_keys, name, bot[name], warnings)
    if not stage then
      return nil, errors.new(503, "provider_key_missing", why)
    end
    out[name] = stage
  end
  return out, warnings
end

---(waits) The same by the settings that count now.
---@return {stt: table, llm: table, tts: table}? stages, table[]|api.error warnings_or_err
function M.stages(app, bot)
  local settings, err = system_settings.get(app)
  if not settings then
    return nil, errors.of_store(err)
  end
  return M.stages_of(settings, bot)
end

---(waits) The stages whose provider has no key.
---@return {path: string, provider: string}[]? list, table? err of the store
function M.missing(app, bot)
  local settings, err = system_settings.get(app)
  if not settings then
    return nil, err
  end
  local out = {}
  for _, name in ipairs({ "stt", "llm", "tts" }) do
    local stage = bot[name]
    for i, choice in ipairs({ stage, unpack(stage.fallback or {}) }) do
      if select(2, M.of(settings.api_keys, choice)) then
        out[#out + 1] = { provider = choice.provider,
          path = i == 1 and name or ("%s.fallback[%d]"):format(name, i - 2) }
      end
    end
  end
  return out
end

return M
