-- Which flows the fleet is to run: a revision that rises with every change of the published set,
-- the bundle that hosts fetch, and how far a change has come (api.md §5.5).
--
-- The state is one document of `system_runtime`: revision, the set it stands for ("demo:3 mine:1"),
-- and the last roll-out of each flow. A revision follows from the set: a crash between publishing
-- and counting is made good by whoever looks next.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local fleet_hosts = require("services.fleet.hosts")
local json = require("cxb.json")

local M = {}

local MEMORY, ATTEMPTS = "flows", 20
local PATIENCE_MS = 30000
local KEPT_MS = 2000 -- heartbeats ask for the revision all the time

-- (waits) The published flows by name.
local function published(app)
  local out, after = {}, nil
  repeat
    local page, next_or_err = app.store:find("flows", { active_version = { exists = true } },
      { sort = { "name" }, limit = 200, after = after, fields = { "name", "active_version" } })
    if not page then
      return nil, next_or_err
    end
    for _, flow in ipairs(page) do
      out[#out + 1] = flow
    end
    after = next_or_err
  until not after
  return out
end

local function set_of(flows)
  local parts = {}
  for i, flow in ipairs(flows) do
    parts[i] = ("%s:%d"):format(flow.name, flow.active_version)
  end
  return table.concat(parts, " ")
end

local function memory(app)
  local doc, err = app.store:get("system_runtime", MEMORY)
  if not doc and err.code == "not_found" then
    doc, err = app.store:upsert("system_runtime", { _id = MEMORY },
      { on_insert = { state = { revision = 0, set = "" } } })
  end
  return doc, not doc and err or nil
end

local function tell(app, name, data)
  if app.events then
    app.events:publish("flows", name, data)
  end
end

-- Changes the state unless somebody else did; `change` may ask to leave it as it is (false).
local function change_state(app, change)
  for _ = 1, ATTEMPTS do
    local doc, err = memory(app)
    if not doc then
      return nil, err
    end
    local state = doc.state
    state.rollouts = state.rollouts or {}
    local wanted, why = change(state)
    if wanted == nil then
      return nil, why
    elseif not wanted then
      return state
    end
    state.rollouts = next(state.rollouts) and state.rollouts or nil
    local after
    after, err = app.store:update("system_runtime", MEMORY, { set = { state = state } },
      { expect = { v = doc.v } })
    if after then
      app.flows_revision = nil
      return after.state
    elseif err.code ~= "conflict" then
      return nil, err
    end
  end
  return nil, { code = "unavailable", message = "too many change the flows at once" }
end

---(waits) The state, its revision brought up to the published set.
---@param app table
---@param rollout? table of the change that was made: name, version, previous, by
---@return table? state {revision, set, rollouts}, table? err of the store
function M.settle(app, rollout)
  local state, err = change_state(app, function(state)
    local flows, why = published(app)
    if not flows then
      return nil, why
    end
    local set = set_of(flows)
    if set == state.set then
      return false
    end
    state.revision, state.set = state.revision + 1, set
    if rollout then
      rollout.revision, rollout.at = state.revision, cxb.time.now()
      rollout.status = rollout.status or "rolling"
      state.rollouts[rollout.name] = rollout
    end
    return true
  end)
  if state and rollout then
    tell(app, "flows.revision", { revision = state.revision, name = rollout.name,
      version = rollout.version })
  end
  return state, err
end

---(waits) The revision hosts are to run.
---@return integer? revision, table? err of the store
function M.revision(app)
  local kept = app.flows_revision
  if kept and kept.until_ms > cxb.time.mono() then
    return kept.value
  end
  local doc, err = memory(app)
  if not doc then
    return nil, err
  end
  app.flows_revision = { value = doc.state.revision, until_ms = cxb.time.mono() + KEPT_MS }
  return doc.state.revision
end

-- Each heartbeat of a host is answered with the revision it is to run.
fleet_hosts.wants[#fleet_hosts.wants + 1] = function(app, desired)
  desired.flows_revision = M.revision(app) or desired.flows_revision
end

---(waits) What hosts fetch.
---@return {revision: integer, files: table[]}? bundle, table? err of the store
function M.bundle(app)
  local state, err = M.settle(app)
  if not state then
    return nil, err
  end
  local files = json.array()
  for name, version in state.set:gmatch("([%w_]+):(%d+)") do
    local rows
    rows, err = app.store:find("flow_versions", { name = name, version = tonumber(version) },
      { limit = 1 })
    if not rows then
      return nil, err
    elseif rows[1] then
      files[#files + 1] = { path = name .. ".lua", sha256 = rows[1].sha256,
        content = rows[1].source }
    end
  end
  return { revision = state.revision, files = files }
end

---(waits) The workers of hosts that register themselves, and what they run.
---@param revision integer
---@return {total: integer, loaded: integer, failed: table[]}? count, api.error? err
function M.count(app, revision)
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  local out = { total = 0, loaded = 0, failed = json.array() }
  for _, host in ipairs(hosts) do
    local workers = host.source == "registered" and host.info.workers or {}
    for _, worker in ipairs(workers) do
      if worker.state ~= "unreachable" then
        out.total = out.total + 1
        if (worker.flows_revision or 0) >= revision then
          out.loaded = out.loaded + 1
        elseif worker.flows_error then
          out.failed[#out.failed + 1] = { host = host.id, worker = worker.id,
            error = worker.flows_error }
        end
      end
    end
    if #workers > 0 and type(host.info.flows_error) == "string" and out.failed[1] == nil then
      out.failed[1] = { host = host.id, error = host.info.flows_error }
    end
  end
  return out
end

---(waits) How far the last change of a flow has come.
---@return table? answer, api.error? err
function M.progress(app, name)
  local doc, err = memory(app)
  if not doc then
    return nil, errors.of_store(err)
  end
  local rollout = (doc.state.rollouts or {})[name]
  if not rollout then
    return nil, errors.not_found("roll-out of this flow")
  end
  local count
  count, err = M.count(app, rollout.revision)
  if not count then
    return nil, err
  end
  return {
    revision = rollout.revision, version = rollout.version, workers_total = count.total,
    workers_loaded = count.loaded, failed = count.failed, status = rollout.status,
    reason = rollout.reason,
  }
end

---(waits) Notes how a roll-out ended.
---@return true?, table? err
function M.finish(app, name, revision, status, reason)
  local state, err = change_state(app, function(state)
    local rollout = state.rollouts[name]
    if not rollout or rollout.revision ~= revision or rollout.status == status then
      return false
    end
    rollout.status, rollout.reason = status, reason
    return true
  end)
  if state then
    tell(app, "flows.rollout", { name = name, revision = revision, status = status,
      reason = reason })
    return true
  end
  return nil, err
end

-- What becomes of a roll-out under way; nil: nothing yet.
local function verdict(rollout, count, now)
  if count.total > 0 and count.loaded == count.total then
    return "done"
  elseif now - rollout.at < PATIENCE_MS then
    return nil
  elseif count.total == 0 then
    return "no_workers", "no host that takes flows is registered"
  elseif count.loaded == 0 then
    return "failed", count.failed[1] and count.failed[1].error or "no worker has loaded it"
  end
  return "partial", count.failed[1] and count.failed[1].error
end

---(waits) Looks at the roll-outs under way: they are done, partial, or go back by themselves.
---@param ended fun(app: table, rollout: table, status: string, reason?: string): true?, table?
---@return true?, table? err
function M.watch(app, ended)
  local state, err = M.settle(app)
  if not state then
    return nil, err
  end
  for name, rollout in pairs(state.rollouts or {}) do
    if rollout.status == "rolling" then
      local count = M.count(app, rollout.revision)
      local status, reason
      if count then
        status, reason = verdict(rollout, count, cxb.time.now())
      end
      local ok = true
      if status then
        ok, err = ended(app, rollout, status, reason)
        ok = ok and M.finish(app, name, rollout.revision, status, reason)
      end
      if not ok then
        return nil, err
      end
    end
  end
  return true
end

return M
