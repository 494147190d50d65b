-- Campaigns: made, read, changed, copied, removed (api.md §5.10).
local campaign_schema = require("schemas.campaign")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local pipeline = require("services.web.pipeline")
local schema = require("cxb.schema")

local M = {}

local LOG_MAX = 500
local NAMES_MAX = 2000

---The refusal of an action that the state does not allow.
function M.wrong_state(campaign, action)
  return errors.new(409, "invalid_state", ("A campaign that is %s cannot be %s."):format(
    campaign.status, action), { more = { status = campaign.status } })
end

---The refusal while work on the contacts goes on.
function M.busy(campaign)
  local sentence = ("The campaign's %s is not done yet."):format(campaign.job.kind)
  return errors.new(409, "in_progress", sentence,
    { more = { status = campaign.status }, headers = { ["retry-after"] = "2" } })
end

---Whether bot, mode and contacts are settled: it has been started once.
function M.locked(campaign)
  return campaign.started_at ~= nil or campaign.completed_at ~= nil
    or campaign.run_number > 1 or (campaign.restart_history or {})[1] ~= nil
end

function M.identity_locked(what)
  return errors.new(409, "identity_locked",
    ("%s cannot change once the campaign has been started."):format(what))
end

-- Objects that were left out get their fields' defaults, too; null is as good as absent.
local function fill(shape, value)
  for name, property in pairs(shape.properties) do
    if value[name] == json.null then
      value[name] = nil
    end
    if property.type == "object" and property.properties and not property.nullable then
      value[name] = value[name] or {}
      if type(value[name]) == "table" then
        fill(property, value[name])
      end
    end
  end
  return value
end

---A whole configuration out of the fields given.
---@param config table changed in place
---@return table? config, api.error? err with paths under config
function M.complete(config)
  local kept, fields = schema.check(campaign_schema.config, fill(campaign_schema.config, config))
  if not kept then
    for _, field in ipairs(fields) do
      field.path = "config." .. field.path
    end
    return nil, errors.invalid(fields)
  end
  if kept.campaign_mode == "continuous" then
    kept.campaign_mode = "multi_day"
  end
  return kept
end

---Adds to the log of what was done; the last 500 stay.
---@return table[]
function M.logged(campaign, ctx, action, detail)
  local log = {}
  local old = campaign.activity_log or {}
  for i = math.max(1, #old - LOG_MAX + 2), #old do
    log[#log + 1] = old[i]
  end
  local who = ctx.principal or {}
  log[#log + 1] = { action = action, by = who.email or who.name or who.kind,
    at = require("cxb.times").format(cxb.time.now()), detail = detail }
  return json.array(log)
end

---(waits) A campaign that is there, and that a key may reach.
---@return table? campaign, api.error? err
function M.get(ctx, id)
  local campaign, err = documents.get(ctx, "campaigns", id, "campaign")
  if not campaign then
    return nil, err
  end
  local bots = ctx.principal and ctx.principal.kind == "key" and ctx.principal.bot_ids or {}
  local reachable = not bots[1]
  for _, bot_id in ipairs(bots) do
    reachable = reachable or bot_id == campaign.bot_id
  end
  if not reachable then
    return nil, errors.not_found("campaign")
  end
  return campaign
end

-- The Dialler writes into a running campaign at every tick.
local WRITES = 10

---(waits) Does what reads and writes a campaign again while others write it in between.
---@param fn fun(...): table?, api.error?
---@return table? result, api.error? err
function M.persistently(fn, ...)
  local result, err
  for _ = 1, WRITES do
    result, err = fn(...)
    if result or err.code ~= "conflict" then
      break
    end
  end
  return result, err
end

---(waits) Writes a change if the campaign is still the one that was read.
---@return table? campaign, api.error? err
function M.write(ctx, campaign, ops)
  local after, err = ctx.app.store:update("campaigns", campaign._id, ops,
    { expect = { status = campaign.status, v = campaign.v } })
  if after then
    M.announce(ctx.app, after)
    return after
  end
  return nil, errors.of_store(err)
end

---Tells who watches.
function M.announce(app, campaign)
  if app.events then
    app.events:publish("campaign:" .. campaign._id, "campaign", {
      id = campaign._id, status = campaign.status, run_number = campaign.run_number,
      stats = campaign.stats,
    })
  end
end

local function bot_exists(ctx, bot_id)
  local bot, err = ctx.app.store:get("bots", bot_id)
  if not bot and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  elseif not bot or bot.deleted_at then
    return nil, errors.invalid({ { path = "bot_id", rule = "exists",
      message = "is not the id of a bot" } })
  end
  return true
end

---(waits) Makes a campaign.
---@param fields table checked by schemas.campaign.input
---@return table? campaign, api.error? err
function M.create(ctx, fields, action)
  local config, err = M.complete(fields.config or {})
  if not config then
    return nil, err
  end
  local ok
  ok, err = bot_exists(ctx, fields.bot_id)
  if not ok then
    return nil, err
  end
  local description = fields.description
  local doc = {
    name = fields.name, description = description ~= json.null and description or nil,
    bot_id = fields.bot_id, number_pool = json.array(fields.number_pool or {}), config = config,
    config_url = pipeline.internal_base(ctx) .. "/api/v1/config", status = "draft", run_number = 1,
    restart_history = json.array(), stats = { total = 0 },
  }
  doc.activity_log = M.logged(doc, ctx, action or "create")
  local campaign
  campaign, err = ctx.app.store:insert("campaigns", doc)
  return campaign, err and errors.of_store(err)
end

local function merged(old, patch)
  local out = {}
  for name, value in pairs(old) do
    out[name] = value
  end
  for name, value in pairs(patch) do
    local inner = type(value) == "table" and not json.is_array(value) and value ~= json.null
    if inner and type(out[name]) == "table" and not json.is_array(out[name]) then
      out[name] = merged(out[name], value)
    else
      out[name] = value
    end
  end
  return out
end

local function changes_of(ctx, campaign, patch)
  if campaign.status ~= "draft" and campaign.status ~= "paused" then
    return nil, errors.new(409, "not_editable", "Only a draft or paused campaign can be changed.",
      { more = { status = campaign.status } })
  end
  local ops = documents.operations(patch, campaign_schema.input)
  ops.set.config = nil
  if patch.config then
    local given = patch.config == json.null and {} or merged(campaign.config, patch.config)
    local config, err = M.complete(given)
    if not config then
      return nil, err
    elseif M.locked(campaign) and config.campaign_mode ~= campaign.config.campaign_mode then
      return nil, M.identity_locked("The mode")
    end
    ops.set.config = config
  end
  if patch.bot_id and patch.bot_id ~= campaign.bot_id then
    if M.locked(campaign) then
      return nil, M.identity_locked("The bot")
    end
    local ok, err = bot_exists(ctx, patch.bot_id)
    if not ok then
      return nil, err
    end
  end
  ops.set.activity_log = M.logged(campaign, ctx, "update")
  return ops
end

---(waits) Changes the fields given.
---@return table? after, table|api.error before_or_err
function M.patch(ctx, id, patch, shown)
  return documents.change(ctx, "campaigns", id, "campaign", function(campaign)
    return changes_of(ctx, campaign, patch)
  end, shown)
end

---(waits) A new draft with the set-up of this one, without its contacts.
function M.clone(ctx, id, name)
  local campaign, err = M.get(ctx, id)
  if not campaign then
    return nil, err
  end
  return M.create(ctx, {
    name = name or documents.name_of_copy(campaign.name), description = campaign.description,
    bot_id = campaign.bot_id, number_pool = campaign.number_pool,
    config = merged(campaign.config, {}),
  }, "clone")
end

---(waits) The filter of a list: by status, by words of the name.
---@return table? filter, api.error? err
function M.filter(ctx, query)
  local filter = { deleted_at = { exists = false }, status = query.status }
  if (query.q or "") == "" then
    return filter
  end
  local wanted, ids = query.q:lower(), {}
  local found, err = ctx.app.store:find("campaigns", filter,
    { fields = { "name" }, limit = NAMES_MAX, sort = { "-_id" } })
  if not found then
    return nil, errors.of_store(err)
  end
  for _, campaign in ipairs(found) do
    if campaign.name:lower():find(wanted, 1, true) then
      ids[#ids + 1] = campaign._id
    end
  end
  filter._id = { ["in"] = ids }
  return filter
end

return M
