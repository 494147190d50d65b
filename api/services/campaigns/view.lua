-- A campaign as the wire has it.
local campaign_start = require("services.campaigns.start")
local campaign_stats = require("services.campaigns.stats")
local campaigns = require("services.campaigns")
local errors = require("services.web.errors")
local json = require("cxb.json")

local M = {}

---One row of the list.
function M.row(campaign)
  local shown = {}
  for name, value in pairs(campaign) do
    shown[name] = value
  end
  shown.id, shown._id, shown.lease = campaign._id, nil, nil
  shown.job = campaign.job and campaign.job.kind or json.null
  shown.identity_locked = campaigns.locked(campaign)
  shown.live = campaign.live or json.null
  shown.upload = campaign.upload or json.null
  shown.number_pool = json.array(campaign.number_pool or {})
  return shown
end

---(waits) All of it: counts of now, and what is wrong with it.
---@return table? shown, api.error? err
function M.detail(app, campaign)
  local shown = M.row(campaign)
  local stats, refused = campaign_stats.of(app, campaign)
  if not stats then
    return nil, refused
  end
  local problems, err = campaign_start.problems(app, campaign)
  if not problems then
    return nil, errors.of_store(err)
  end
  shown.stats, shown.problems = stats, problems
  shown.activity_log = json.array(campaign.activity_log or {})
  shown.restart_history = json.array(campaign.restart_history or {})
  return shown
end

return M
