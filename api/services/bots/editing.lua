-- Bots as operators make and change them (api.md §5.4). Each change of the content is a version;
-- its row is written beside the bot, and again before the next change should a crash have kept it
-- out.
local bot_rules = require("services.bots.rules")
local bot_schema = require("schemas.bot")
local bots = require("services.bots")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local system_settings = require("services.system.settings")
local vault = require("services.identity.vault")

local M = {}

---Whose name a version carries.
---@return string
function M.author(ctx)
  local principal = ctx.principal
  return principal.email or principal.name or principal.kind
end

---What of a stored bot is its content: the rest is the platform's.
---@return table
function M.content(doc)
  local out = {}
  for name in pairs(bot_schema.input.properties) do
    if doc[name] ~= json.null then
      out[name] = doc[name]
    end
  end
  return out
end

---(waits) Makes sure that the version a bot has now is on record.
---@return true?, table? err of the store
function M.keep_version(app, doc, by, note)
  local row, err = app.store:insert("bot_versions", {
    bot_id = doc._id, version = bots.version(doc), doc = M.content(doc), by = by, note = note,
  })
  if not row and err.code ~= "duplicate" then
    return nil, err
  end
  return true
end

local function judged(app, fields)
  local wrong = bot_rules.judge(app, fields)
  if not wrong[1] then
    return true
  end
  local err = errors.invalid(wrong)
  for _, field in ipairs(wrong) do
    if field.rule == "url_not_allowed" then
      err.code = "url_not_allowed"
    end
  end
  return nil, err
end

-- A push as it is stored, its signing secrets sealed; one that comes back masked stays. The push
-- that was given is left as it is: a change that meets another is made again of it.
local function with_sealed_secrets(app, push, before)
  if type(push) ~= "table" or type(push.signing_secrets) ~= "table" then
    return push
  end
  local old, sealed = type(before) == "table" and before.signing_secrets or {}, json.array()
  local by_mask = {}
  for _, secret in ipairs(type(old) == "table" and old or {}) do
    by_mask[system_settings.mask(vault.open(app, secret) or "")] = secret
  end
  for _, secret in ipairs(push.signing_secrets) do
    sealed[#sealed + 1] = by_mask[secret] or vault.seal(app, secret)
  end
  local stored = {}
  for name, value in pairs(push) do
    stored[name] = value
  end
  stored.signing_secrets = sealed
  return stored
end

---(waits)
---@return table? bot, api.error? err
function M.create(ctx, fields)
  local app = ctx.app
  local ok, err = judged(app, fields)
  if not ok then
    return nil, err
  end
  fields.post_call_push = with_sealed_secrets(app, fields.post_call_push)
  fields.version = 1
  local bot
  bot, err = app.store:insert("bots", fields)
  if bot then
    ok, err = M.keep_version(app, bot, M.author(ctx))
  end
  if not bot or not ok then
    return nil, errors.of_store(err)
  end
  return bot
end

-- Whether a bot has already what the operations would make of it.
local function is_done(doc, ops)
  for name, value in pairs(ops.set) do
    if doc[name] == nil or json.encode({ value }, true) ~= json.encode({ doc[name] }, true) then
      return false
    end
  end
  for _, name in ipairs(ops.unset) do
    if doc[name] ~= nil then
      return false
    end
  end
  return true
end

-- Changes the content by operations that `decide` makes of the stored bot; false: there are none.
local function change(ctx, id, note, decide, shown)
  local app, by = ctx.app, M.author(ctx)
  local after, before = documents.change(ctx, "bots", id, "bot", function(doc)
    local ok, err = M.keep_version(app, doc, "system")
    if not ok then
      return nil, errors.of_store(err)
    end
    local ops, refused = decide(doc)
    if not ops then
      return ops, refused
    end
    ops.set.version = bots.version(doc) + 1
    ops.unset[#ops.unset + 1] = doc.seed and "seed" or nil
    return ops
  end, shown)
  if not after then
    return nil, before
  end
  local ok, err = M.keep_version(app, after, by, note)
  if not ok then
    return nil, errors.of_store(err)
  end
  return after, before
end

---(waits) Changes the fields of a checked patch; who sends what is there already makes no version.
---@return table? after, table|api.error before_or_err
function M.patch(ctx, id, patch, shown)
  local ok, err = judged(ctx.app, patch)
  if not ok then
    return nil, err
  end
  return change(ctx, id, nil, function(doc)
    local ops = documents.operations(patch, bot_schema.input)
    ops.set.post_call_push = with_sealed_secrets(ctx.app, ops.set.post_call_push,
      doc.post_call_push)
    return not is_done(doc, ops) and ops
  end, shown)
end

---(waits)
---@return table? row, api.error? err
function M.version_of(app, id, version)
  local rows, err = app.store:find("bot_versions", { bot_id = id, version = version },
    { limit = 1 })
  if not rows then
    return nil, errors.of_store(err)
  elseif not rows[1] then
    return nil, errors.not_found("version of this bot")
  end
  return rows[1]
end

---(waits) The content of an earlier version becomes that of a new one.
---@return table? after, table|api.error before_or_err
function M.rollback(ctx, id, version, shown)
  local row, err = M.version_of(ctx.app, id, version)
  if not row then
    return nil, err
  end
  return change(ctx, id, ("version %d again"):format(version), function(doc)
    local ops = { set = {}, unset = {} }
    for name, value in pairs(row.doc) do
      ops.set[name] = value
    end
    for name in pairs(M.content(doc)) do
      if row.doc[name] == nil then
        ops.unset[#ops.unset + 1] = name
      end
    end
    return ops
  end, shown)
end

---(waits) A bot with the content of another; what belongs to calls, numbers and caches stays.
---@return table? bot, api.error? err
function M.clone(ctx, id, name)
  local found, err = documents.get(ctx, "bots", id, "bot")
  if not found then
    return nil, err
  end
  local fields = M.content(found)
  fields.name = name or documents.name_of_copy(found.name)
  fields.version = 1
  local bot
  bot, err = ctx.app.store:insert("bots", fields)
  local ok = bot
  if bot then
    ok, err = M.keep_version(ctx.app, bot, M.author(ctx), "copy of " .. id)
  end
  if not ok then
    return nil, errors.of_store(err)
  end
  return bot
end

-- Who needs the bot: campaigns that are not over, and numbers.
local function users_of(app, id)
  local campaigns, dids, err
  campaigns, err = app.store:find("campaigns",
    { bot_id = id, status = { ["in"] = { "draft", "running", "paused" } } },
    { limit = 100, fields = { "name", "status" } })
  if campaigns then
    dids, err = app.store:find("did_index", { bot_id = id }, { limit = 100 })
  end
  if not dids then
    return nil, errors.of_store(err)
  end
  local out = { campaigns = json.array(), dids = json.array() }
  for i, campaign in ipairs(campaigns) do
    out.campaigns[i] = { id = campaign._id, name = campaign.name, status = campaign.status }
  end
  for i, did in ipairs(dids) do
    out.dids[i] = { number = did._id, owner = did.owner, owner_id = did.owner_id }
  end
  return out
end

---(waits) Hides a bot: calls keep its name.
---@return table? bot, api.error? err 409 bot_in_use
function M.remove(ctx, id)
  local used, err = users_of(ctx.app, id)
  if not used then
    return nil, err
  end
  local after, before = documents.change(ctx, "bots", id, "bot", function()
    if used.campaigns[1] or used.dids[1] then
      return nil, errors.new(409, "bot_in_use", "Campaigns or numbers use this bot.",
        { more = used })
    end
    return { set = { deleted_at = cxb.time.now(), is_active = false },
      unset = { "widget_api_key" } }
  end)
  return after and before, not after and before or nil
end

return M
