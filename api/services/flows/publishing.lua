-- Flows on their way to calls: published, taken back, removed (api.md §5.5).
local audit = require("services.identity.audit")
local bot_editing = require("services.bots.editing")
local editing = require("services.flows.editing")
local errors = require("services.web.errors")
local flow_check = require("services.flows.check")
local flow_rollout = require("services.flows.rollout")
local flows = require("services.flows")
local json = require("cxb.json")
local ranks = require("services.identity.ranks")
local system_settings = require("services.system.settings")

local M = {}

-- Flow code sees the keys of a call's providers: who may publish is a setting.
local function may_publish(ctx)
  local settings, err = system_settings.get(ctx.app)
  if not settings then
    return nil, errors.of_store(err)
  end
  local role = settings.limits.flow_publish_role
  if ctx.principal.rank < ranks.of(role) then
    return nil, errors.new(403, "forbidden", ("Publishing flows is for %s."):format(role))
  end
  return true
end

local function next_version(app, name)
  local rows, err = app.store:find("flow_versions", { name = name },
    { sort = { "-version" }, limit = 1, fields = { "version" } })
  if not rows then
    return nil, err
  end
  return (rows[1] and rows[1].version or 0) + 1
end

-- (waits) A source on record as the next version.
local function record(ctx, name, source, note)
  local app, err = ctx.app, nil
  for _ = 1, 10 do
    local version, row
    version, err = next_version(app, name)
    if version then
      row, err = app.store:insert("flow_versions", { name = name, version = version,
        source = source, sha256 = cxb.crypto.hex(cxb.crypto.sha256(source)),
        by = bot_editing.author(ctx), note = note, status = "published" })
    end
    if row then
      return row
    elseif err.code ~= "duplicate" then
      break
    end
  end
  return nil, errors.of_store(err)
end

local function mark(app, name, version, status)
  local row = version and version > 0 and flows.version(app, name, version)
  if row and row._id then
    app.store:update("flow_versions", row._id, { set = { status = status } })
  end
end

-- (waits) Steps of one change; each may be repeated: the version on record, the flow that names it,
-- the revision that hosts follow.
local function put_out(ctx, flow, source, note, keep_draft)
  local app = ctx.app
  local row, err = record(ctx, flow.name, source, note)
  if not row then
    return nil, err
  end
  local after
  after, err = app.store:update("flows", flow._id, { set = { active_version = row.version },
    unset = not keep_draft and { "draft" } or nil }, { expect = { v = flow.v } })
  if not after then
    mark(app, flow.name, row.version, "superseded")
    if err.code == "conflict" then
      return editing.conflict("The flow was changed meanwhile.", editing.shown(flow.name, flow))
    end
    return nil, errors.of_store(err)
  end
  mark(app, flow.name, flow.active_version, "superseded")
  local state
  state, err = flow_rollout.settle(app, { name = flow.name, version = row.version,
    previous = flow.active_version, by = bot_editing.author(ctx) })
  if not state then
    return nil, errors.of_store(err)
  end
  ctx.audit = { target = { type = "flow", id = flow._id, name = flow.name },
    changes = audit.changes({ active_version = flow.active_version or 0 },
      { active_version = row.version }) }
  return { version = row.version, revision = state.revision }
end

local function checked(app, name, source)
  local verdict, why = flow_check.run(app, name, source)
  if not verdict then
    return nil, errors.new(503, "check_unavailable", "The flow cannot be checked: " .. why .. ".")
  elseif not verdict.ok then
    return nil, errors.new(422, "flow_invalid", "The flow has mistakes.",
      { more = { diagnostics = verdict.diagnostics } })
  end
  return true
end

---(waits) The draft becomes what calls run.
---@return {version: integer, revision: integer}? answer, api.error? err
function M.publish(ctx, name, body)
  local ok, err = may_publish(ctx)
  if not ok then
    return nil, err
  end
  local flow, original = editing.find(ctx.app, name)
  if not flow then
    if type(original) ~= "string" then
      return nil, original
    end
    flow = {}
  end
  if not flow.draft then
    return nil, errors.new(409, "invalid_state", "There is no draft to publish.",
      { more = { status = "no_draft" } })
  end
  local active = flow.active_version or 0
  if body.expected_version and body.expected_version ~= active
    or flow.draft.base_version ~= active then
    return editing.conflict(("Version %d is published."):format(active), editing.shown(name, flow))
  end
  ok, err = checked(ctx.app, name, flow.draft.source)
  if not ok then
    return nil, err
  end
  return put_out(ctx, flow, flow.draft.source, body.note)
end

---(waits) The source of an earlier version, published as a new one.
---@return {version: integer, revision: integer}? answer, api.error? err
function M.rollback(ctx, name, version)
  local ok, err = may_publish(ctx)
  if not ok then
    return nil, err
  end
  local flow
  flow, err = editing.stored(ctx.app, name)
  if not flow then
    return nil, err
  end
  local row
  row, err = flows.version(ctx.app, name, version)
  if not row then
    return nil, err.code == "not_found" and errors.not_found("version of this flow")
      or errors.of_store(err)
  end
  ok, err = checked(ctx.app, name, row.source)
  if not ok then
    return nil, err
  end
  return put_out(ctx, flow, row.source, ("version %d again"):format(version), true)
end

---(waits) How a roll-out ended: one that no worker loaded goes back, its source a draft again.
---@return true?, table? err of the store
function M.ended(app, rollout, status)
  local name = rollout.name
  if status == "partial" or status == "failed" then
    mark(app, name, rollout.version, status)
  end
  if status ~= "failed" then
    return true
  end
  local flow, err = flows.stored(app, name)
  if not flow or flow.active_version ~= rollout.version then
    return err == nil or nil, err -- somebody went on already
  end
  local row = flows.version(app, name, rollout.version)
  local ops = { set = {}, unset = {} }
  if rollout.previous then
    ops.set.active_version = rollout.previous
    mark(app, name, rollout.previous, "published")
  else
    ops.unset[1] = "active_version"
  end
  if row and not flow.draft then
    ops.set.draft = { source = row.source, base_version = rollout.previous or 0, by = rollout.by,
      at = cxb.time.now() }
  end
  local after
  after, err = app.store:update("flows", flow._id, ops, { expect = { v = flow.v } })
  if not after then
    return err.code == "conflict" or nil, err
  end
  local state
  state, err = flow_rollout.settle(app)
  cxb.log.warn("a flow went back", { flow = name, version = rollout.version })
  return state and true, err
end

---(waits) Removes a flow that nobody uses; of a shipped one the edited copy, so that the original
---counts again.
---@return true?, api.error? err 409 flow_in_use
function M.remove(ctx, name)
  local app = ctx.app
  local ok, err = may_publish(ctx)
  if not ok then
    return nil, err
  end
  local flow, original = editing.find(app, name)
  if not flow then
    return nil, type(original) == "string"
      and errors.new(409, "invalid_state", "A shipped flow stays.",
        { more = { status = "shipped" } }) or original
  end
  local users
  users, err = flows.bots(app)
  if not users then
    return nil, errors.of_store(err)
  elseif users[name] and not flows.original(name) then
    return nil, errors.new(409, "flow_in_use", "Bots use this flow.",
      { more = { bots = json.array(users[name]) } })
  end
  ok, err = app.store:delete("flows", flow._id)
  if ok then
    ok, err = app.store:delete_many("flow_versions", { name = name })
  end
  if ok then
    ok, err = flow_rollout.settle(app)
  end
  if not ok then
    return nil, errors.of_store(err)
  end
  ctx.audit = { target = { type = "flow", id = flow._id, name = name } }
  return true
end

return M
