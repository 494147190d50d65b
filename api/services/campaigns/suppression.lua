-- Numbers that came on the do-not-call list after an upload: the waiting contacts of campaigns that
-- are not over end as `dnc` (dialler.md §3.2, row 19). One that is being dialled meanwhile meets
-- the Dialler's gate, which asks the list itself; so does one that a crash between the list and
-- this leaves waiting.
local campaign_steps = require("services.campaigns.steps")
local states = require("cxb.campaign.states")

local M = {}

local BATCH, WAIT_MS = 200, 10000
local unfinished = { ["in"] = { "draft", "running", "paused" } }
local waiting, called_back = { ["in"] = {} }, "callback_scheduled"
for _, status in ipairs(states.waiting) do
  states.check(status, "dnc", "A")
  if status ~= called_back then
    table.insert(waiting["in"], status)
  end
end

---(waits) Campaigns whose contacts are dialled, or will be when they start or go on.
---@param scope string "global" or the id of a campaign
---@return table[]? campaigns, table? err
function M.campaigns(app, scope)
  local out, after = {}, nil
  repeat
    local found, next_or_err = app.store:find("campaigns",
      { _id = scope ~= "global" and scope or nil, status = unfinished },
      { fields = { "run_number", "upload" }, limit = BATCH, after = after })
    if not found then
      return nil, next_or_err
    end
    for _, campaign in ipairs(found) do
      out[#out + 1] = campaign
    end
    after = next_or_err
  until not after
  return out
end

-- (waits) Those of some contacts that wait.
local function finish(app, filter)
  local set = { status = "dnc", last_outcome = "dnc", completed_at = cxb.time.now() }
  filter.status = waiting
  local ok, err = app.store:update_many("campaign_calls", filter, { set = set })
  if ok then
    filter.status = called_back
    set["callback.status"], set["callback.active"] = "cancelled", false
    ok, err = app.store:update_many("campaign_calls", filter, { set = set })
  end
  return ok, err
end

-- A campaign's contacts of its run, in the order of their index.
local function contacts_of(campaign, number)
  return {
    campaign_id = campaign._id, run_number = campaign.run_number,
    upload_id = campaign_steps.upload_of(campaign), phone_number = number,
  }
end

local function finish_prefix(app, campaign, prefix)
  local after
  repeat
    local found, next_or_err = app.store:find("campaign_calls",
      contacts_of(campaign, { prefix = prefix }),
      { fields = { "status" }, sort = { "phone_number" }, limit = BATCH, after = after })
    local ids = {}
    for _, contact in ipairs(found or {}) do
      if states.kind[contact.status] == "waiting" then
        ids[#ids + 1] = contact._id
      end
    end
    local ok, err = found, next_or_err
    if ids[1] then
      ok, err = finish(app, { _id = { ["in"] = ids } })
    end
    if not ok then
      return nil, err
    end
    after = next_or_err
  until not after
  return true
end

-- A prefix may be many contacts: the request waits a while for them, not to their end.
local function finish_prefixes(app, campaigns, prefixes)
  local task = cxb.task.spawn("suppression", function()
    for _, campaign in ipairs(campaigns) do
      for _, prefix in ipairs(prefixes) do
        local ok, err = finish_prefix(app, campaign, prefix)
        if not ok then
          cxb.log.error("contacts under a prefix of the list still wait", { prefix = prefix,
            campaign_id = campaign._id, error = err.message or err.code })
        end
      end
    end
  end)
  if type(task) == "table" or type(task) == "userdata" then
    task:wait(WAIT_MS)
  end
end

---(waits) Ends the waiting contacts of numbers that stand on the list.
---@param campaigns table[] by campaigns()
---@param numbers string[] as the list has them
---@return true?, table? err
function M.apply(app, campaigns, numbers)
  local exact, prefixes = {}, {}
  for _, number in ipairs(campaigns[1] and numbers or {}) do
    local prefix = number:match("^(.*)%*$")
    table.insert(prefix and prefixes or exact, prefix or number)
  end
  local ok, err = true, nil
  for _, campaign in ipairs(campaigns) do
    for i = 1, #exact, BATCH do
      if ok then
        ok, err = finish(app, contacts_of(campaign,
          { ["in"] = { unpack(exact, i, math.min(i + BATCH - 1, #exact)) } }))
      end
    end
  end
  if ok and prefixes[1] then
    finish_prefixes(app, campaigns, prefixes)
  end
  return ok and true or nil, err
end

return M
