-- Counts of a campaign's contacts by state, for the run that is on.
local errors = require("services.web.errors")
local states = require("cxb.campaign.states")

local M = {}

local FRESH_MS = 3000

---(waits) Counts them.
---@return table? stats {total, waiting, active, finished, by_status, attempts_made, at}, table? err
function M.count(app, campaign)
  local groups, err = app.store:group("campaign_calls",
    { campaign_id = campaign._id, run_number = campaign.run_number }, { "status" })
  if not groups then
    return nil, err
  end
  local stats = { total = 0, waiting = 0, active = 0, finished = 0, by_status = {},
    at = cxb.time.now() }
  for _, group in ipairs(groups) do
    local status = group.by.status
    local kind = states.kind[status]
    stats.by_status[status] = group.count
    stats.total = stats.total + group.count
    local sum = kind == "terminal" and "finished" or kind
    if sum then
      stats[sum] = stats[sum] + group.count
    end
  end
  return stats
end

---(waits) Counts of a few seconds ago, or fresh ones, which are then kept with the campaign.
---@return table? stats, api.error? err
function M.of(app, campaign)
  local kept = campaign.stats
  if kept and kept.at and kept.at > cxb.time.now() - FRESH_MS then
    return kept
  end
  local stats, err = M.count(app, campaign)
  return stats, err and errors.of_store(err)
end

---(waits) Writes fresh counts into the campaign.
---@return table? campaign, table? err
function M.refresh(app, campaign)
  local stats, err = M.count(app, campaign)
  if not stats then
    return nil, err
  end
  return app.store:update("campaigns", campaign._id, { set = { stats = stats } },
    { expect = { run_number = campaign.run_number } })
end

return M
