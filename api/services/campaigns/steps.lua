-- Work on all contacts of a campaign, in small steps that may be done twice: `campaigns.job` {kind,
-- until, …} is written in the same update as what makes it necessary, and goes when all is done.
-- Whoever works renews `until`; the job campaign_steps takes over what a crash has left.
local campaign_stats = require("services.campaigns.stats")
local states = require("cxb.campaign.states")

local M = {}

local BATCH, LEASE_MS = 100, 30000
M.LEASE_MS = LEASE_MS
M.NO_UPLOAD = "upl_api" -- of contacts of a campaign that was never given a list

local function waiting_ids(app, campaign, status)
  local docs, err = app.store:find("campaign_calls",
    { campaign_id = campaign._id, status = status },
    { fields = {}, limit = BATCH, sort = { "next_retry_at" } })
  if not docs then
    return nil, err
  end
  local ids = {}
  for i, doc in ipairs(docs) do
    ids[i] = doc._id
  end
  return ids
end

-- Removes what matches, a batch at a time, in the order of an index.
local function remove(app, collection, filter, sort, beat)
  while beat() do
    local docs, err = app.store:find(collection, filter,
      { fields = {}, limit = BATCH * 5, sort = sort })
    if not docs then
      return nil, err
    elseif #docs == 0 then
      return true
    end
    local ids = {}
    for i, doc in ipairs(docs) do
      ids[i] = doc._id
    end
    local removed
    removed, err = app.store:delete_many(collection, { _id = { ["in"] = ids } })
    if not removed then
      return nil, err
    end
  end
  return nil, { code = "lost", message = "another process works on it" }
end

local kinds = {}

local by_number, by_line = { "upload_id", "phone_number" }, { "upload_id", "line" }

-- Contacts and refused rows of an upload, or of all those before one.
local function remove_upload(app, campaign, upload_id, beat)
  local ok, err = remove(app, "campaign_calls",
    { campaign_id = campaign._id, run_number = 1, upload_id = upload_id }, by_number, beat)
  if not ok then
    return nil, err
  end
  return remove(app, "campaign_upload_rejects",
    { campaign_id = campaign._id, upload_id = upload_id }, by_line, beat)
end

-- A list that was being loaded when its process died: the former one stays.
function kinds.upload(app, campaign, beat)
  return remove_upload(app, campaign, campaign.job.upload_id, beat)
end

-- Former lists, after the campaign points to a new one; ids sort by their time.
function kinds.purge(app, campaign, beat)
  return remove_upload(app, campaign, { lt = campaign.upload.id }, beat)
end

local function stop_batch(app, campaign, status, set)
  local ids, err = waiting_ids(app, campaign, status)
  if not ids then
    return nil, err
  elseif #ids == 0 then
    return 0
  end
  local ok
  ok, err = app.store:update_many("campaign_calls",
    { _id = { ["in"] = ids }, status = status }, { set = set })
  return ok and #ids, err
end

-- Waiting contacts wait no more; callbacks are cancelled.
function kinds.stop(app, campaign, beat)
  for _, status in ipairs(states.waiting) do
    states.check(status, "manual_stopped", "A")
    local set = { status = "manual_stopped", completed_at = cxb.time.now() }
    if status == "callback_scheduled" then
      set["callback.status"], set["callback.active"] = "cancelled", false
    end
    repeat
      local n, err = stop_batch(app, campaign, status, set)
      if not n then
        return nil, err
      elseif not beat() then
        return nil, { code = "lost", message = "another process works on it" }
      end
    until n == 0
  end
  return true
end

local chosen = {
  all = function(contact)
    return contact.status ~= "dnc"
  end,
  not_connected = function(contact)
    return contact.status ~= "dnc" and not (contact.status == "completed"
      and (contact.last_outcome or "conversation") == "conversation")
  end,
  failed = function(contact)
    return contact.status == "exhausted" or contact.status == "abandoned"
  end,
}

M.scopes = { "all", "not_connected", "failed" }

local function fresh_row(campaign, contact)
  return {
    campaign_id = campaign._id, upload_id = contact.upload_id, run_number = campaign.run_number,
    phone_number = contact.phone_number, variables = contact.variables,
    timezone = contact.timezone, zone_key = contact.zone_key, external_id = contact.external_id,
    status = "pending", attempts_made = 0, attempt_seq = 0,
  }
end

---The upload that all contacts of a run belong to.
---@return string
function M.upload_of(campaign)
  return campaign.upload and campaign.upload.id or M.NO_UPLOAD
end

-- Rows of the next run, copied from the one before; one that is there already is left alone.
function kinds.restart(app, campaign, beat)
  local pick, after = chosen[campaign.job.scope], nil
  repeat
    local contacts, next_or_err = app.store:find("campaign_calls",
      { campaign_id = campaign._id, run_number = campaign.run_number - 1,
        upload_id = M.upload_of(campaign) },
      { limit = BATCH, after = after, sort = { "phone_number" } })
    if not contacts then
      return nil, next_or_err
    end
    local rows = {}
    for _, contact in ipairs(contacts) do
      rows[#rows + 1] = pick(contact) and fresh_row(campaign, contact) or nil
    end
    local ok, err = app.store:insert_many("campaign_calls", rows)
    if not ok then
      return nil, err
    elseif not beat() then
      return nil, { code = "lost", message = "another process works on it" }
    end
    after = next_or_err
  until not after
  return true
end

function kinds.cancel_restart(app, campaign, beat)
  return remove(app, "campaign_calls",
    { campaign_id = campaign._id, run_number = campaign.job.run_number }, by_number, beat)
end

function kinds.delete(app, campaign, beat)
  for collection, sort in pairs({
    campaign_calls = { "status", "next_retry_at" }, campaign_upload_rejects = by_line,
  }) do
    local ok, err = remove(app, collection, { campaign_id = campaign._id }, sort, beat)
    if not ok then
      return nil, err
    end
  end
  return app.store:delete("campaigns", campaign._id)
end

---The job to write into a campaign, held by us from now on.
---@param kind string
---@param more? table
function M.job(kind, more)
  local job = { kind = kind, token = cxb.crypto.hex(cxb.crypto.random(8)),
    ["until"] = cxb.time.now() + LEASE_MS }
  for name, value in pairs(more or {}) do
    job[name] = value
  end
  return job
end

---A function that keeps a job ours; it answers false when it is not any more.
---@return fun(): boolean
function M.keeper(app, id, token)
  local due = cxb.time.now() + LEASE_MS / 3
  return function()
    if cxb.time.now() < due then
      return true
    end
    due = cxb.time.now() + LEASE_MS / 3
    local _, err = app.store:update("campaigns", id,
      { set = { ["job.until"] = cxb.time.now() + LEASE_MS } },
      { expect = { ["job.token"] = token } })
    return not err or err.code == "unavailable"
  end
end

---(waits) Does the job of a campaign that is ours.
---@return true?, table? err
function M.run(app, campaign)
  local job = campaign.job
  local ok, err = kinds[job.kind](app, campaign, M.keeper(app, campaign._id, job.token))
  if not ok then
    return nil, err
  elseif job.kind == "delete" then
    return true
  end
  -- Whoever sees that it is done sees what it has made of the contacts.
  local stats = campaign_stats.count(app, campaign)
  ok, err = app.store:update("campaigns", campaign._id,
    { set = { stats = stats }, unset = { "job" } }, { expect = { ["job.token"] = job.token } })
  return ok and true, err
end

---Does it beside the request, which waits a while for it.
---@param wait_ms? integer
function M.start(app, campaign, wait_ms)
  local task = cxb.task.spawn("campaign " .. campaign.job.kind, function()
    local ok, err = M.run(app, campaign)
    if not ok then
      cxb.log.error("work on a campaign is not done yet", { campaign_id = campaign._id,
        kind = campaign.job.kind, error = err.message or err.code })
    end
  end)
  if type(task) == "table" or type(task) == "userdata" then
    task:wait(wait_ms or 10000)
  end
end

---(waits) Takes over jobs that nobody works on.
---@return true?, table? err
function M.sweep(app)
  local found, err = app.store:find("campaigns", { ["job.until"] = { lt = cxb.time.now() } },
    { limit = 20, sort = { "job.until" } })
  if not found then
    return nil, err
  end
  for _, campaign in ipairs(found) do
    local token = cxb.crypto.hex(cxb.crypto.random(8))
    local ours = app.store:update("campaigns", campaign._id,
      { set = { ["job.until"] = cxb.time.now() + LEASE_MS, ["job.token"] = token } },
      { expect = { ["job.token"] = campaign.job.token } })
    local ok, why = true, nil
    if ours then
      ok, why = M.run(app, ours)
    end
    err = err or (not ok and why) or nil
  end
  return not err or nil, err
end

---(waits) Fresh counts of what runs.
function M.count_running(app)
  local found, err = app.store:find("campaigns", { status = { ["in"] = { "running", "paused" } },
    any_of = { { ["stats.at"] = { lt = cxb.time.now() - 15000 } },
      { ["stats.at"] = { exists = false } } } }, { limit = 4 })
  for _, campaign in ipairs(found or {}) do
    local ok, why = campaign_stats.refresh(app, campaign)
    err = err or (not ok and why.code ~= "conflict" and why) or nil
  end
  return found and not err or nil, err
end

return M
