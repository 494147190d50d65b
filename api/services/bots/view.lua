-- A bot as people see it: secrets masked, beside it who uses it and what is doubtful.
local json = require("cxb.json")
local policy = require("cxb.policy")
local provider_keys = require("services.runtime_config.provider_keys")
local bot_schema = require("schemas.bot")
local bots = require("services.bots")
local crm_body = require("services.crm.body")
local system_settings = require("services.system.settings")
local tz = require("cxb.tz")
local vault = require("services.identity.vault")

local M = {}

local spaces = { call = true, crm = true, system = true, policy = true, result = true,
  analysis = true, qc = true, args = true }
local clock = { current_date = true, current_time = true, current_datetime = true,
  timezone = true }
local texts = {
  "system_prompt", "opening_message", "voicemail_message", "pre_transfer_message",
  "post_call_analysis_prompt", "qc_prompt", "apology_message", "timeout_message",
}

local function masked(app, sealed)
  return system_settings.mask(vault.open(app, sealed) or "unknown")
end

---The stored bot with its defaults, without anything secret.
---@return table
function M.shown(app, doc)
  local bot = bots.complete(doc) or doc
  bot.id, bot.version = doc._id, bots.version(doc)
  bot.widget_api_key = bot.widget_api_key and masked(app, bot.widget_api_key) or json.null
  local push = bot.post_call_push
  if type(push) == "table" and type(push.signing_secrets) == "table" then
    local out = json.array()
    for i, secret in ipairs(push.signing_secrets) do
      out[i] = masked(app, secret)
    end
    push.signing_secrets = out
  end
  return bot
end

-- Names of a text that no call can have.
local function strange_names(bot, text)
  local kind, known = policy.kind_of(bot.conversation_policy), {}
  for _, fact in ipairs(kind and kind.facts or {}) do
    known[fact.name], known[fact.name .. "_words"], known[fact.name .. "_words_hi"] = true, true,
      true
  end
  local out, seen = {}, {}
  for name in text:gmatch("{{%s*([%w_.%-]+)%s*}}") do
    local space, rest = name:match("^([^.]+)%.(.+)$")
    local strange = space and (not spaces[space] or (space == "system" and not clock[rest])
      or (space == "policy" and not known[rest])
      or (space == "result" and not crm_body.result_names[rest]))
    if strange and not seen[name] then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  return out
end

local function warn(list, code, path, message)
  list[#list + 1] = { code = code, path = path, message = message }
end

local function warn_of_texts(list, bot)
  for _, field in ipairs(texts) do
    for _, name in ipairs(strange_names(bot, type(bot[field]) == "string" and bot[field] or "")) do
      warn(list, "unknown_variable", field, ("No call has {{%s}}."):format(name))
    end
  end
  local parts = type(bot.prompt_parts) == "table" and bot.prompt_parts or {}
  local static = parts.static_system_prompt or ""
  if parts.mode == "direct" and parts.cache_enabled and static:find("{{", 1, true) then
    warn(list, "static_variable", "prompt_parts.static_system_prompt",
      "Nothing is filled into a prompt that is kept.")
  end
  local empty = parts.mode == "direct" and static or bot.system_prompt or ""
  if bot.flow == "assistant" and not empty:find("%S") and not policy.kind_of(
    bot.conversation_policy) then
    warn(list, "empty_prompt", "system_prompt", "The model is told nothing.")
  end
end

-- All texts of a value, one after the other.
local function texts_of(value)
  if type(value) ~= "table" then
    return type(value) == "string" and value or ""
  end
  local out = {}
  for _, item in pairs(value) do
    out[#out + 1] = texts_of(item)
  end
  return table.concat(out, "\n")
end

-- What the receiver of a push would get nothing of.
local function warn_of_push(list, bot)
  local push = bot.post_call_push
  if type(push) ~= "table" or not push.enabled then
    return
  end
  local mapper = push.key_mapper
  if not mapper or mapper == json.null or type(mapper) == "table" and not next(mapper) then
    warn(list, "empty_push", "post_call_push.key_mapper", "The CRM is sent an empty object.")
  end
  local names = strange_names(bot, texts_of(mapper))
  table.sort(names) -- a mapper has no order of its own
  for _, name in ipairs(names) do
    warn(list, "unknown_variable", "post_call_push.key_mapper",
      ("No call has {{%s}}."):format(name))
  end
end

-- Rules are a file: without one the first turn fails and ends the call.
local function warn_of_rules(list, bot)
  local llm = type(bot.llm) == "table" and bot.llm or {}
  local named = (llm.model or "") ~= "" or type(llm.extra) == "table" and llm.extra.rules
  if bot.flow == "assistant" and llm.provider == "rules" and not named then
    warn(list, "no_rules", "llm.model", "It names no file of rules; calls end at the first turn.")
  end
end

---(waits) What is doubtful about a bot, though it may be saved.
---@param bot table complete
---@return table[] warnings {code, path, message}
function M.warnings(app, bot)
  local list = json.array()
  for _, missing in ipairs(provider_keys.missing(app, bot) or {}) do
    warn(list, "provider_key_missing", missing.path,
      ("There is no key for %s in the settings."):format(missing.provider))
  end
  warn_of_texts(list, bot)
  warn_of_rules(list, bot)
  if not tz.known(bot.timezone) then
    warn(list, "unknown_timezone", "timezone", "This zone is not known; UTC counts instead.")
  end
  warn_of_push(list, bot)
  local given = bot.conversation_policy
  if type(given) == "table" and given.enabled ~= false and not policy.kinds[given.type] then
    warn(list, "unknown_policy", "conversation_policy.type",
      "This policy type is not known; the prompt is used as it is.")
  end
  return list
end

local function add_to(map, id, item)
  if map[id] then
    map[id][#map[id] + 1] = item
  end
end

-- (waits) For each bot its running campaigns and its numbers.
local function used_by(app, ids)
  local campaigns, dids = {}, {}
  for _, id in ipairs(ids) do
    campaigns[id], dids[id] = json.array(), json.array()
  end
  local found, err = app.store:find("campaigns",
    { bot_id = { ["in"] = ids }, status = "running" },
    { limit = 1000, fields = { "name", "bot_id" } })
  if not found then
    return nil, err
  end
  for _, campaign in ipairs(found) do
    add_to(campaigns, campaign.bot_id, { id = campaign._id, name = campaign.name })
  end
  found, err = app.store:find("did_index", { bot_id = { ["in"] = ids } }, { limit = 1000 })
  if not found then
    return nil, err
  end
  for _, did in ipairs(found) do
    add_to(dids, did.bot_id, { number = did._id, owner = did.owner, owner_id = did.owner_id,
      did_id = did.did_id })
  end
  return campaigns, dids
end

---(waits) Stored bots in full, as an answer shows them.
---@param docs table[]
---@return table[]? shown, table? err of the store
function M.all(app, docs)
  local ids = {}
  for i, doc in ipairs(docs) do
    ids[i] = doc._id
  end
  local campaigns, dids = used_by(app, ids)
  if not campaigns then
    return nil, dids
  end
  local out = json.array()
  for i, doc in ipairs(docs) do
    local bot = M.shown(app, doc)
    bot.running_campaigns, bot.dids = campaigns[bot.id], dids[bot.id]
    bot.warnings = M.warnings(app, bot)
    out[i] = bot
  end
  return out
end

---(waits) One of them.
---@return table? shown, table? err of the store
function M.one(app, doc)
  local list, err = M.all(app, { doc })
  return list and list[1], err
end

M.output = bot_schema.output

---A row of a list: no texts.
local row = { type = "object", title = "BotRow", properties = {} }
for _, name in ipairs({ "id", "v", "version", "name", "description", "flow", "is_active",
  "timezone", "stt", "llm", "tts", "running_campaigns", "dids", "warnings", "updated_at" }) do
  row.properties[name] = bot_schema.output.properties[name]
end
M.row = row

return M
