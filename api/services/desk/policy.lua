-- What time does to the Agent Desk (api.md §5.17): once a second every unfinished call is looked
-- at, so that no caller waits for ever whoever does nothing. Run by one process.
local desk = require("services.desk")
local media = require("services.desk.media")
local presence = require("services.desk.presence")
local states = require("services.desk.states")

local M = {}

-- Who is here: status by agent id, and who of them is online.
local function look(app, calls, timers, now)
  local agents, err = presence.all(app)
  if not agents then
    return nil, err
  end
  local with_call, ttl_ms = {}, timers.heartbeat_ttl * 1000
  for _, call in ipairs(calls) do
    if call.agent_id then
      with_call[call.agent_id] = call
    end
  end
  local seen = { agents = agents, status = {}, online = {}, with_call = with_call }
  for id, agent in pairs(agents) do
    seen.status[id] = presence.status(agent, with_call[id], now, ttl_ms)
    if presence.is_online(seen.status[id]) then
      seen.online[#seen.online + 1] = id
    end
  end
  return seen
end

-- Notes in the call since when something is so, or that it is not any more.
local function note(app, call, field, is_so, now)
  if is_so == (call[field] ~= nil) then
    return
  end
  local ops = is_so and { set = { [field] = now } } or { unset = { field } }
  local changed = app.store:update("agent_desk_calls", call._id, ops,
    { expect = { state = call.state, agent_id = call.agent_id } })
  if changed then
    call[field], call.v = changed[field], changed.v
  end
end

local function all_declined(call, online)
  local declined = {}
  for _, id in ipairs(call.declined_by or {}) do
    declined[id] = true
  end
  for _, id in ipairs(online) do
    if not declined[id] then
      return false
    end
  end
  return #online > 0
end

-- Whether the agent of a call has lost it: its browser is silent, or it left the room.
local function lost(call, seen, timers, now)
  local agent = seen.agents[call.agent_id]
  return not presence.is_here(agent, now, timers.heartbeat_ttl * 1000) or presence.is_out(call)
end

local function observe(app, call, seen, timers, now)
  if call.state == "waiting" then
    note(app, call, "no_agent_since", #seen.online == 0, now)
    note(app, call, "all_declined_since", all_declined(call, seen.online), now)
  elseif call.agent_id then
    note(app, call, "agent_lost_at", lost(call, seen, timers, now), now)
  end
end

-- Tells who listens about agents whose status is another one than was told.
local function announce(app, seen)
  local counts = {}
  for id, agent in pairs(seen.agents) do
    local status = seen.status[id]
    counts[status] = (counts[status] or 0) + 1
    if agent.shown ~= status then
      app.cache:call("HSET", "desk:agent:" .. id, "shown", status)
      local call = seen.with_call[id]
      app.events:publish("desk", "presence", { agent_id = id, name = agent.name, status = status,
        call_id = call and call._id })
    end
  end
  for _, status in ipairs(M.statuses) do
    cxb.metrics.set("cxb_desk_agents", { state = status }, counts[status] or 0)
  end
end
M.statuses = { "available", "busy", "away", "on_call", "wrap_up", "disconnected", "offline" }

-- Rooms whose callers have been told that nobody comes.
local function close_rooms(app, now)
  local due = app.cache:call("ZRANGEBYSCORE", "desk:closing", "-inf", ("%.0f"):format(now))
  for _, id in ipairs(due or {}) do
    local call = desk.get(app, id)
    if call then
      media.close(app, call)
    end
    app.cache:call("ZREM", "desk:closing", id)
  end
end

-- What was drafted is not what the agent ended the call with: it stays in the call's events.
local more = {
  wrap_up_timeout = { disposition = "WRAP_UP_TIMEOUT" },
  agent_lost = { disposition = "WRAP_UP_TIMEOUT" },
}

local function expire(app, call, event)
  local done, err = desk.step(app, call._id, event, function(now_is)
    if now_is.v ~= call.v then
      return nil, { code = "conflict" } -- somebody was quicker: looked at again in a second
    end
    return states.next(now_is.state, event) == "completed" and more[event] or nil
  end)
  if done then
    cxb.log.info("desk timer", { event = event, state = done.state, call_id = call._id })
  elseif err.code ~= "conflict" and err.code ~= "invalid_state" then
    return nil, err
  end
  return done or call
end

-- What is due of a call, then what is due of what that made of it: who waited too long before an
-- agent did not come is not offered to another one.
local function expire_all(app, call, timers, now, knows_presence)
  local event = states.due(call, timers, now, knows_presence)
  while event do
    local after, err = expire(app, call, event)
    if not after then
      return nil, err
    end
    event = after.v ~= call.v and states.due(after, timers, now, knows_presence)
    call = after
  end
  return true
end

---(waits) One look at everything.
---@return true?, table? err
function M.run(app)
  local timers, err = desk.timers(app)
  local calls
  if timers then
    calls, err = desk.unfinished(app)
  end
  if not calls then
    return nil, err
  end
  local now, waiting = cxb.time.now(), 0
  local seen = look(app, calls, timers, now)
  for _, call in ipairs(calls) do
    waiting = waiting + (call.state == "waiting" and 1 or 0)
    if seen then
      observe(app, call, seen, timers, now)
    end
    local ok, failed = expire_all(app, call, timers, now, seen ~= nil)
    if not ok then
      err = failed
    end
  end
  cxb.metrics.set("cxb_desk_waiting", nil, waiting)
  if seen then
    announce(app, seen)
    close_rooms(app, now)
  end
  return err == nil or nil, err
end

return M
