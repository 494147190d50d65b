-- What is done with a campaign as a whole: start, pause, resume, stop, restart and its way back,
-- delete. Each is one update that expects the state and version that were read; work on the
-- contacts follows in steps (services.campaigns.steps).
local campaign_stats = require("services.campaigns.stats")
local campaign_start = require("services.campaigns.start")
local campaign_steps = require("services.campaigns.steps")
local campaigns = require("services.campaigns")
local errors = require("services.web.errors")
local json = require("cxb.json")
local times = require("cxb.times")

local M = {}

-- Each action as it is tried; M has them again while others write the campaign in between.
local once = {}

-- The campaign, if it is in one of these states and nothing works on its contacts.
local function take(ctx, states, done)
  local campaign, err = campaigns.get(ctx, ctx.params.id)
  if not campaign then
    return nil, err
  end
  if not states[campaign.status] then
    return nil, campaigns.wrong_state(campaign, done)
  elseif campaign.job then
    return nil, campaigns.busy(campaign)
  end
  return campaign
end

local startable = { draft = true, paused = true }

---(waits) draft, paused → running; every reason against it is told at once.
---@param action "start"|"resume"
function once.start(ctx, action)
  local campaign, err = take(ctx, startable, "started")
  if not campaign then
    return nil, err
  end
  local reasons
  reasons, err = campaign_start.reasons(ctx.app, campaign)
  if not reasons then
    return nil, errors.of_store(err)
  elseif reasons[1] then
    return nil, campaign_start.refusal(campaign, reasons)
  end
  local now = cxb.time.now()
  local set = { status = "running", activity_log = campaigns.logged(campaign, ctx, action) }
  if campaign.status == "draft" then
    set.started_at, set.run_started_at = campaign.started_at or now, now
  end
  return campaigns.write(ctx, campaign, { set = set })
end

---(waits) running → paused: nothing new is dialled, calls in progress go on.
function once.pause(ctx)
  local campaign, err = take(ctx, { running = true }, "paused")
  if not campaign then
    return nil, err
  end
  return campaigns.write(ctx, campaign, { set = { status = "paused",
    activity_log = campaigns.logged(campaign, ctx, "pause") } })
end

local function with_job(ctx, campaign, ops)
  local after, err = campaigns.write(ctx, campaign, ops)
  if not after then
    return nil, err
  end
  cxb.fault.pass("campaign_action.written")
  campaign_steps.start(ctx.app, after)
  local fresh
  fresh, err = ctx.app.store:get("campaigns", campaign._id)
  return fresh, err and errors.of_store(err)
end

---(waits) running, paused → completed: waiting contacts and callbacks end, live calls drain.
function once.stop(ctx)
  local campaign, err = take(ctx, { running = true, paused = true }, "stopped")
  if not campaign then
    return nil, err
  end
  return with_job(ctx, campaign, { set = {
    status = "completed", completion_reason = "manual_stop", completed_at = cxb.time.now(),
    job = campaign_steps.job("stop"), activity_log = campaigns.logged(campaign, ctx, "stop"),
  } })
end

local function copy(list)
  local out = json.array()
  for i, item in ipairs(list or {}) do
    out[i] = item
  end
  return out
end

---(waits) completed, failed → draft: the next run gets rows of its own; the earlier ones stay.
---@param scope "all"|"not_connected"|"failed"
function once.restart(ctx, scope)
  local campaign, err = take(ctx, { completed = true, failed = true }, "restarted")
  if not campaign then
    return nil, err
  end
  local stats
  stats, err = campaign_stats.count(ctx.app, campaign)
  if not stats then
    return nil, errors.of_store(err)
  end
  stats.at = nil
  local history = copy(campaign.restart_history)
  history[#history + 1] = {
    run_number = campaign.run_number, scope = scope, status = campaign.status,
    at = times.format(cxb.time.now()), completion_reason = campaign.completion_reason,
    completed_at = campaign.completed_at and times.format(campaign.completed_at), stats = stats,
  }
  return with_job(ctx, campaign, {
    set = {
      status = "draft", run_number = campaign.run_number + 1, restart_history = history,
      job = campaign_steps.job("restart", { scope = scope }),
      activity_log = campaigns.logged(campaign, ctx, "restart", scope),
    },
    unset = { "completed_at", "completion_reason", "live" },
  })
end

---(waits) The way back from a restart that has not been started.
function once.cancel_restart(ctx)
  local campaign, err = take(ctx, { draft = true }, "taken back")
  if not campaign then
    return nil, err
  end
  local history = copy(campaign.restart_history)
  local last = table.remove(history)
  if not last then
    return nil, campaigns.wrong_state(campaign, "taken back")
  end
  local ended = last.completed_at and times.parse(last.completed_at)
  return with_job(ctx, campaign, { set = {
    status = last.status, run_number = last.run_number, restart_history = history,
    completion_reason = last.completion_reason, completed_at = ended,
    job = campaign_steps.job("cancel_restart", { run_number = campaign.run_number }),
    activity_log = campaigns.logged(campaign, ctx, "cancel_restart"),
  } })
end

---(waits) Only a draft that never ran goes; its contacts go with it.
---@return table? campaign that is gone, api.error? err
function once.remove(ctx)
  local campaign, err = take(ctx, { draft = true }, "deleted")
  if not campaign then
    return nil, err
  elseif campaigns.locked(campaign) then
    return nil, campaigns.wrong_state(campaign, "deleted after its first run")
  end
  local after
  after, err = campaigns.write(ctx, campaign, { set = { deleted_at = cxb.time.now(),
    job = campaign_steps.job("delete") } })
  if not after then
    return nil, err
  end
  campaign_steps.start(ctx.app, after)
  return campaign
end

for name, action in pairs(once) do
  M[name] = function(...)
    return campaigns.persistently(action, ...)
  end
end

return M
