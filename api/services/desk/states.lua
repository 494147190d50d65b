-- The life of a call at the Agent Desk (api.md §5.17), as tables: which event leads where, what
-- each step writes down, and when an event comes by itself.
local M = {}

M.unfinished = { "waiting", "assigned", "active", "wrap_up" }

-- state → event → state after
local after = {
  waiting = {
    accept = "assigned", customer_left = "abandoned", wait_timeout = "timed_out",
    no_agent = "timed_out", all_declined = "declined", force_end = "force_ended",
  },
  assigned = {
    joined = "active", reject = "waiting", join_timeout = "waiting", agent_lost = "waiting",
    customer_left = "abandoned", force_end = "force_ended",
  },
  active = {
    hangup = "wrap_up", customer_left = "wrap_up", transferred = "wrap_up", force_end = "wrap_up",
    agent_lost = "waiting", requeue = "waiting",
  },
  wrap_up = { complete = "completed", wrap_up_timeout = "completed", agent_lost = "completed" },
}
M.after = after

---@return string? state nil: the event means nothing there
function M.next(state, event)
  return after[state] and after[state][event]
end

---@return boolean
function M.is_finished(state)
  return after[state] == nil
end

local of_agent = {
  "agent_id", "agent_name", "assigned_at", "active_at", "agent_lost_at", "agent_out", "supervisors",
}

-- The agent's part is over; who has been talked to begins a new wait.
local function back(call, set, unset, now, event)
  for _, name in ipairs(of_agent) do
    unset[#unset + 1] = name
  end
  set.front = event ~= "requeue"
  if call.state == "active" then
    set.waiting_from = now
    set.handle_ms = (call.handle_ms or 0) + now - call.active_at
  end
end

local entered = {
  assigned = function(call, set, unset, now)
    set.assigned_at = now
    set.wait_ms = call.wait_ms or now - call.enqueued_at
    for _, name in ipairs({ "front", "no_agent_since", "all_declined_since" }) do
      unset[#unset + 1] = name
    end
  end,
  active = function(call, set, unset, now)
    set.active_at = now
    set.first_active_at = call.first_active_at or now
    unset[#unset + 1] = "agent_lost_at"
  end,
  waiting = back,
  wrap_up = function(call, set, _, now, event)
    set.wrap_up_at, set.end_reason = now, event
    set.handle_ms = (call.handle_ms or 0) + now - call.active_at
  end,
  completed = function(call, set, _, now)
    set.completed_at, set.wrap_up_ms = now, now - call.wrap_up_at
  end,
}

local function over(call, set, _, now, event)
  set.completed_at, set.end_reason = now, event
  set.wait_ms = call.wait_ms or now - call.enqueued_at
end
for _, state in ipairs({ "abandoned", "timed_out", "declined", "force_ended" }) do
  entered[state] = over
end

---What an event makes of a call.
---@param call table as stored
---@param event string
---@param now number
---@param more? table what else is set
---@return {set: table, unset: string[], push: table}? ops nil: not in this state
function M.operations(call, event, now, more)
  local state = M.next(call.state, event)
  if not state then
    return nil
  end
  local set, unset = { state = state }, {}
  entered[state](call, set, unset, now, event)
  for name, value in pairs(more or {}) do
    set[name] = value
  end
  local replaced = set.disposition and set.disposition ~= call.disposition
  return { set = set, unset = unset,
    push = { events = { at = now, type = event, state = state, agent_id = call.agent_id,
      drafted = replaced and call.disposition or nil } } }
end

-- The timers: in which state, since when, how long (a name of settings `agent_desk`), then what.
-- Those of the agents' presence stand still while it is not known.
local timers = {
  { state = "waiting", since = "waiting_from", after = "wait_timeout", event = "wait_timeout" },
  { state = "waiting", since = "no_agent_since", after = "no_agent_timeout", event = "no_agent",
    when = "presence" },
  { state = "waiting", since = "all_declined_since", after = "decline_grace",
    event = "all_declined", when = "presence" },
  { state = "assigned", since = "assigned_at", after = "join_timeout", event = "join_timeout" },
  { state = "assigned", since = "agent_lost_at", after = "disconnect_grace", event = "agent_lost",
    when = "presence" },
  { state = "active", since = "agent_lost_at", after = "disconnect_grace", event = "agent_lost",
    when = "presence" },
  { state = "wrap_up", since = "wrap_up_at", after = "wrap_up", event = "wrap_up_timeout",
    more = "wrap_up_more_ms" },
  { state = "wrap_up", since = "agent_lost_at", after = "disconnect_grace", event = "agent_lost",
    when = "presence" },
}

---The event whose time has come for a call.
---@param settings table the timers in seconds
---@param knows_presence boolean
---@return string? event
function M.due(call, settings, now, knows_presence)
  for _, timer in ipairs(timers) do
    local since = call.state == timer.state and call[timer.since]
    if since and (knows_presence or timer.when ~= "presence") then
      local long = settings[timer.after] * 1000 + (timer.more and call[timer.more] or 0)
      if now - since >= long then
        return timer.event
      end
    end
  end
end

return M
