-- The Agent Desk (api.md §5.17): callers who wait for a person, and who has whom. The store holds
-- the record; every step is an update of the state that was read, so of two who act on one call
-- one wins. What follows a step (room, presence, history, who listens) comes after its update.
local desk_history = require("services.desk.history")
local errors = require("services.web.errors")
local json = require("cxb.json")
local media = require("services.desk.media")
local presence = require("services.desk.presence")
local states = require("services.desk.states")
local system_settings = require("services.system.settings")
local views = require("services.desk.views")

local M = {}

local COLLECTION, TOPIC = "agent_desk_calls", "desk"
local ATTEMPTS, MAX_UNFINISHED, ROOM_CLOSES_MS = 10, 5000, 8000

---(waits) @return table? timers in seconds, table? err
function M.timers(app)
  local settings, err = system_settings.get(app)
  return settings and settings.agent_desk, err
end

---(waits) @return table? call, table? err of the store
function M.get(app, id)
  return app.store:get(COLLECTION, id)
end

---(waits) Calls that are not over.
---@param filter? table
---@return table[]? calls, table? err
function M.unfinished(app, filter)
  local query = { state = { ["in"] = states.unfinished } }
  for name, value in pairs(filter or {}) do
    query[name] = value
  end
  return app.store:find(COLLECTION, query, { sort = { "enqueued_at" }, limit = MAX_UNFINISHED,
    fields = views.light })
end

---(waits) The call an agent has now; nil without an error when it has none.
function M.of_agent(app, agent_id)
  local found, err = M.unfinished(app, { agent_id = agent_id })
  return found and found[1], err
end

-- First those sent back, then by priority, then who waits longest.
local function before(a, b)
  if (a.front or false) ~= (b.front or false) then
    return a.front or false
  elseif not a.front and a.priority ~= b.priority then
    return a.priority > b.priority
  elseif a.waiting_from ~= b.waiting_from then
    return a.waiting_from < b.waiting_from
  end
  return a._id < b._id
end

---(waits) The waiting calls in the order they are taken.
---@return table[]? calls, table? err
function M.queue(app)
  local calls, err = app.store:find(COLLECTION, { state = "waiting" },
    { sort = { "enqueued_at" }, limit = MAX_UNFINISHED, fields = views.light })
  if calls then
    table.sort(calls, before)
  end
  return calls, err
end

---Whether an agent is shown a waiting call.
---@param agent {id: string, languages: string[]}
function M.is_shown(call, agent, now, overflow_ms)
  for _, id in ipairs(call.declined_by or {}) do
    if id == agent.id then
      return false
    end
  end
  if not call.language or now - call.waiting_from >= overflow_ms then
    return true
  end
  local wanted = call.language:lower():match("^%a+")
  for _, language in ipairs(agent.languages or {}) do
    if language:lower():match("^%a+") == wanted then
      return true
    end
  end
  return false
end

local function publish(app, name, data)
  app.events:publish(TOPIC, name, data)
end

-- What a step means to others.
local function tell(app, call, from)
  if call.state == "waiting" then
    publish(app, "call.waiting", views.queued(call, cxb.time.now()))
  elseif from == "waiting" or states.is_finished(call.state) then
    publish(app, "call.removed", { call_id = call._id, state = call.state,
      agent_id = call.agent_id })
  else
    publish(app, "call.updated", views.brief(call))
  end
end

-- Given up by us: the worker that holds the caller says its closing words, then the room ends.
local told_to_end = { timed_out = true, declined = true, force_ended = true }

local function close_room(app, call, reason)
  media.send(app, call, "desk.end", { reason = reason })
  app.cache:call("ZADD", "desk:closing", ("%.0f"):format(cxb.time.now() + ROOM_CLOSES_MS),
    call._id)
end

local chosen_after = {
  join_timeout = "away", wrap_up_timeout = "available", complete = "available",
}

local function follow(app, before_call, call, event)
  tell(app, call, before_call.state)
  local agent = before_call.agent_id
  if agent and event == "agent_lost" then
    presence.leave(app, agent)
  elseif agent and chosen_after[event] then
    presence.set(app, agent, { status = chosen_after[event], since = cxb.time.now() })
  end
  if told_to_end[call.state] or (event == "force_end" and call.state == "wrap_up") then
    close_room(app, call, call.state == "wrap_up" and "force_ended" or call.state)
  elseif call.state == "completed" then
    media.close(app, call)
  end
  if states.is_finished(call.state) then
    local kept, err = desk_history.keep(app, call)
    if not kept then
      cxb.log.error("the desk call is not in the history yet", { error = err.message })
    end
  end
end

local function wrong_state(call)
  return errors.new(409, "invalid_state", ("The call is %s."):format(call.state),
    { more = { status_now = call.state } })
end

---(waits) One step of a call.
---@param id string
---@param event string of desk_states
---@param check? fun(call: table): table?, api.error? what else is set, or a refusal
---@return table? call after, api.error? err
function M.step(app, id, event, check)
  for _ = 1, ATTEMPTS do
    local call, err = M.get(app, id)
    if not call then
      return nil, err.code == "not_found" and errors.not_found("call") or errors.of_store(err)
    end
    local more, refused
    if check then
      more, refused = check(call)
      if refused then
        return nil, refused
      end
    end
    local ops = states.operations(call, event, cxb.time.now(), more)
    if not ops then
      return nil, wrong_state(call)
    end
    local changed
    changed, err = app.store:update(COLLECTION, id, ops, { expect = { v = call.v } })
    if changed then
      follow(app, call, changed, event)
      return changed
    elseif err.code ~= "conflict" then
      return nil, errors.of_store(err)
    end
  end
  return nil, errors.new(409, "conflict", "The call is changed by too many at once.")
end

---(waits) Changes a call without a step; `change(call)` gives {set?, unset?, push?}, or nil and a
---refusal.
---@return table? call after, api.error? err
function M.change(app, id, change)
  for _ = 1, ATTEMPTS do
    local call, err = M.get(app, id)
    if not call then
      return nil, err.code == "not_found" and errors.not_found("call") or errors.of_store(err)
    end
    local ops, refused = change(call)
    if not ops then
      return refused == nil and call or nil, refused
    end
    local changed
    changed, err = app.store:update(COLLECTION, id, ops, { expect = { v = call.v } })
    if changed then
      return changed
    elseif err.code ~= "conflict" then
      return nil, errors.of_store(err)
    end
  end
  return nil, errors.new(409, "conflict", "The call is changed by too many at once.")
end

---(waits) Puts a caller into the queue; the same call_id again finds what became of it.
---@param body table by the route's schema
---@return table? call, boolean|table created_or_err
function M.enqueue(app, body)
  local now = cxb.time.now()
  local doc = {
    _id = body.call_id, session_id = body.session_id, room = body.room, caller = body.caller,
    bot = body.bot, bot_id = body.bot_id, language = body.language,
    priority = body.priority or 50, escalation_reason = body.escalation_reason,
    transcript = json.array(body.transcript), variables = body.variables, context = body.context,
    state = "waiting", enqueued_at = now, waiting_from = now, events = json.array({
      { at = now, type = "enqueued", state = "waiting" } }),
  }
  local call, err = app.store:insert(COLLECTION, doc)
  if call then
    publish(app, "call.waiting", views.queued(call, now))
    return call, true
  elseif err.code ~= "duplicate" then
    return nil, err
  end
  call, err = M.get(app, body.call_id)
  return call, call and false or err
end

---Position of a call in the queue, from 1; nil when it does not wait.
function M.position(queue, id)
  for i, call in ipairs(queue) do
    if call._id == id then
      return i
    end
  end
end

---Whether a bot's call was given to the desk: the step `desk` of the results' fan-out.
function M.applies(_, call)
  return call.transfer_method == "agent_desk"
end

---(waits) The result of the bot's call is known: the desk's record and the history point at it.
---@return true?, table? err
function M.link(app, call)
  local found, err = app.store:find(COLLECTION, { session_id = call._id }, { limit = 20 })
  if not found then
    return nil, err
  end
  for _, handoff in ipairs(found) do
    local ok
    ok, err = app.store:update(COLLECTION, handoff._id, { set = { bot_call = {
      status = call.status, disconnected_by = call.disconnected_by,
      duration_seconds = call.call_duration_seconds, disposition = call.disposition,
    } } })
    if ok and states.is_finished(ok.state) then
      ok, err = desk_history.keep(app, ok)
    end
    if not ok then
      return nil, err
    end
  end
  return true
end

return M
