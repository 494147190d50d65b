-- Deliveries to a bot's CRM (api.md §5.19): one row a call, made by the fan-out of its result and
-- sent by crm_outbox.lua until it is acknowledged or given up.
local errors = require("services.web.errors")
local url = require("cxb.url")

local M = {}

M.KIND = "post_call"

---The push of a bot, when it has one that is on.
---@return table?
function M.push_of(bot)
  local push = bot and bot.post_call_push
  if type(push) == "table" and push.enabled and type(push.url) == "string" then
    return push
  end
end

---There is something to send.
function M.wake(app)
  if app.jobs then
    app.jobs:wake("crm_outbox")
  end
end

-- (waits) The push of a call's bot; false: it has none. nil, err: the store is away.
local function push_for(app, call)
  if call.skip_post_push or call.call_type ~= "bot" or call.redacted_at or not call.bot_id then
    return false
  end
  local bots, err = app.store:find("bots", { _id = call.bot_id },
    { limit = 1, fields = { "post_call_push" } })
  return bots and (M.push_of(bots[1]) or false), err
end

---(waits) Whether a call may have to be told of.
---@return boolean
function M.applies(app, call)
  return push_for(app, call) ~= false
end

---(waits) The row of a call that is over, if its bot wants one; made once, whatever comes again.
---@return true?, table? err
function M.enqueue(app, call)
  local push, err = push_for(app, call)
  if not push then
    return push == false or nil, err
  end
  local now = cxb.time.now()
  local row
  row, err = app.store:upsert("crm_deliveries", { session_id = call._id, kind = M.KIND }, {
    on_insert = {
      bot_id = call.bot_id, url = push.url, host = url.origin(push.url) or push.url,
      state = "pending", attempts = 0, next_at = now, since = now, log = {},
    },
  })
  return row and true, err
end

-- What is set when a row is to be sent again from the beginning.
local function again()
  local now = cxb.time.now()
  return { set = { state = "pending", attempts = 0, next_at = now, since = now } }
end

---(waits) Sends a row again: one that is dead, delivered or waiting.
---@return table? row, api.error? err
function M.replay(app, id)
  local row, err = app.store:get("crm_deliveries", id)
  if row then
    row, err = app.store:update("crm_deliveries", id, again(), { expect = { v = row.v,
      state = { ["in"] = { "pending", "delivered", "dead" } } } })
  end
  if row then
    M.wake(app)
    return row
  elseif err.code == "not_found" then
    return nil, errors.not_found("delivery")
  elseif err.code == "conflict" then
    return nil, errors.new(409, "invalid_state", "The delivery is being sent right now.",
      { more = { status = "sending" } })
  end
  return nil, errors.of_store(err)
end

---(waits) Sends all rows of a filter again, 10,000 at most.
---@return integer? n, table? err
function M.replay_all(app, filter, max)
  local n = 0
  while n < max do
    local rows, err = app.store:find("crm_deliveries", filter,
      { sort = { "created_at" }, limit = math.min(500, max - n), fields = { "state" } })
    if not rows then
      return nil, err
    elseif #rows == 0 then
      break
    end
    local moved = 0
    for _, row in ipairs(rows) do
      local done = app.store:update("crm_deliveries", row._id, again(), { expect = { v = row.v } })
      moved = moved + (done and 1 or 0)
    end
    n = n + moved
    if moved == 0 or #rows < 500 then
      break
    end
  end
  M.wake(app)
  return n
end

---(waits) Removes a dead row.
---@return true?, api.error? err
function M.remove(app, id)
  local row, err = app.store:get("crm_deliveries", id)
  if not row then
    return nil, err.code == "not_found" and errors.not_found("delivery") or errors.of_store(err)
  elseif row.state ~= "dead" then
    return nil, errors.new(409, "invalid_state", "Only a dead delivery can be deleted.",
      { more = { status = row.state } })
  end
  local gone
  gone, err = app.store:delete("crm_deliveries", id, { expect = { v = row.v } })
  return gone and true, err and errors.of_store(err)
end

return M
