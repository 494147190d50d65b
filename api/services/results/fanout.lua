-- What follows from a result (api.md §5.7), as steps that are each at most once in effect: a step
-- that ran already finds what it made, or a state that is not the expected one. `calls.fanout`
-- {pending, at, rev, tries, steps} is written in the same update as the result, so whatever dies in
-- between, the job of that name finds what is left. Only what applies to a call is a step of it:
-- most calls have none, and are written once.
local campaign_results = require("services.campaigns.results")
local crm = require("services.crm")
local desk = require("services.desk")
local dirty_hours = require("services.results.dirty_hours")
local do_not_call = require("services.dnc.of_call")

local M = {}

local STALE_MS, LONGEST_MS, BATCH = 10000, 10 * 60 * 1000, 100

-- In this order. applies(app, call): whether the call has this step; run(app, call) answers true,
-- or nil and an error: then it is done again. `call` is without its bulk fields.
local steps = {
  { name = "campaign", applies = campaign_results.applies, run = campaign_results.apply },
  { name = "dnc", applies = do_not_call.applies, run = do_not_call.of_call },
  { name = "crm", applies = crm.applies, run = crm.enqueue },
  { name = "desk", applies = desk.applies, run = desk.link },
  { name = "stats", applies = dirty_hours.applies, run = dirty_hours.of_call },
}

local function wanted(names)
  local set = {}
  for _, name in ipairs(names or {}) do
    set[name] = true
  end
  return set
end

---(waits) The steps of a result that is about to be merged, for the same update; with those that a
---result before it has left.
---@param call table as it will be
---@param before? table its fanout so far
---@return table? fanout nil: nothing is to be done
function M.begin(app, call, before)
  local left, names = wanted(before and before.pending and before.steps), {}
  for _, step in ipairs(steps) do
    if left[step.name] or step.applies(app, call) then
      names[#names + 1] = step.name
    end
  end
  if not names[1] then
    return nil
  end
  return { pending = true, at = cxb.time.now(), rev = cxb.crypto.hex(cxb.crypto.random(6)),
    tries = 0, steps = names }
end

-- Writes down what is left; false when a later result has begun its own steps meanwhile.
local function settle(app, call, left)
  local fanout, now = call.fanout, cxb.time.now()
  local tries = (fanout.tries or 0) + 1
  local set = { ["fanout.pending"] = #left > 0, ["fanout.steps"] = left, ["fanout.tries"] = tries }
  if #left > 0 then
    local wait = math.min(STALE_MS * 2 ^ (tries - 1), LONGEST_MS)
    set["fanout.at"] = now + wait - STALE_MS
  end
  return app.store:update("calls", call._id, { set = set },
    { expect = { ["fanout.rev"] = fanout.rev, ["fanout.pending"] = true }, fields = {} }) ~= nil
end

local function announce(app, call)
  if app.events then
    app.events:publish("calls", "call.finished", {
      session_id = call._id, status = call.status, bot_id = call.bot_id,
      campaign_id = call.campaign_id, disconnected_by = call.disconnected_by,
      disposition = call.disposition, call_duration_seconds = call.call_duration_seconds,
    })
  end
end

---(waits) Runs the steps of a call that are left.
---@param call table as stored
---@return integer left
function M.run(app, call)
  local todo, left = wanted(call.fanout.steps), {}
  for _, step in ipairs(steps) do
    if todo[step.name] then
      local ok, done, err = xpcall(step.run, debug.traceback, app, call)
      if not ok or not done then
        left[#left + 1] = step.name
        cxb.log.error("a step after a result failed", { step = step.name, session_id = call._id,
          error = not ok and done or err and (err.message or err.code) })
      end
      cxb.fault.pass("fanout." .. step.name)
    end
  end
  if settle(app, call, left) and #left == 0 then
    cxb.fault.pass("fanout.settled")
    announce(app, call)
  end
  if todo.crm then
    crm.wake(app)
  end
  return #left
end

---Begins the steps of a result that has just been kept, beside its answer; without any it is told
---of at once.
function M.start(app, call)
  if not (call.fanout and call.fanout.pending) then
    return announce(app, call)
  end
  cxb.task.spawn("fanout", function()
    cxb.task.tag({ session_id = call._id })
    M.run(app, call)
  end)
end

---(waits) Steps that whoever began them did not finish.
---@return integer? calls, table? err
function M.sweep(app)
  local calls, err = app.store:find("calls",
    { ["fanout.pending"] = true, ["fanout.at"] = { lte = cxb.time.now() - STALE_MS } },
    { sort = { "fanout.at" }, limit = BATCH, bulk = false })
  if not calls then
    return nil, err
  end
  for _, call in ipairs(calls) do
    M.run(app, call)
  end
  return #calls
end

return M
