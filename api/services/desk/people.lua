-- What people do at the Agent Desk: their status, and the calls they take.
local desk = require("services.desk")
local errors = require("services.web.errors")
local media = require("services.desk.media")
local presence = require("services.desk.presence")
local states = require("services.desk.states")
local views = require("services.desk.views")

local M = {}

local ACCEPTING_MS = 5000

local function unavailable(err)
  if err.status then
    return err
  end
  return errors.new(503, "cache_unavailable", "Presence cannot be read at the moment.")
end

---(waits) Who is at the desk, what they are in, and when what is due of it.
---@return {timers: table, calls: table[], agents: table, with_call: table}? here tables by id
---@return api.error? err
function M.here(app)
  local timers, err = desk.timers(app)
  local calls
  if timers then
    calls, err = desk.unfinished(app)
  end
  if not calls then
    return nil, errors.of_store(err)
  end
  local agents
  agents, err = presence.all(app)
  if not agents then
    return nil, unavailable(err)
  end
  local with_call = {}
  for _, call in ipairs(calls) do
    with_call[call.agent_id or ""] = call
  end
  return { timers = timers, calls = calls, agents = agents, with_call = with_call }
end

---(waits) A person as the desk knows it: {id, name, languages}.
function M.agent(ctx)
  local who = ctx.principal
  local user, err = ctx.app.store:get("users", who.id)
  if not user then
    return nil, errors.of_store(err)
  end
  return { id = who.id, name = user.name, languages = user.agent_languages or {} }
end

---(waits) Status, call and presence of an agent.
---@return {status: string, call?: table, agent?: table, timers: table}? me, api.error? err
function M.look(app, id)
  local timers, err = desk.timers(app)
  if not timers then
    return nil, errors.of_store(err)
  end
  local call
  call, err = desk.of_agent(app, id)
  if err then
    return nil, errors.of_store(err)
  end
  local agent
  agent, err = presence.get(app, id)
  if agent == nil then
    return nil, unavailable(err)
  end
  return {
    status = presence.status(agent, call, cxb.time.now(), timers.heartbeat_ttl * 1000),
    call = call, agent = agent, timers = timers,
  }
end

local locked = { on_call = true, wrap_up = true, disconnected = true }

---(waits) An agent chooses its status.
function M.choose(ctx, status)
  local me, err = M.look(ctx.app, ctx.principal.id)
  if not me then
    return nil, err
  elseif locked[me.status] then
    return nil, errors.new(409, "status_locked", ("The status is %s until the call is over.")
      :format(me.status), { more = { status_now = me.status } })
  end
  local agent
  agent, err = M.agent(ctx)
  if not agent then
    return nil, err
  end
  local ok
  ok, err = presence.beat(ctx.app, agent, status)
  if not ok then
    return nil, unavailable(err)
  end
  ctx.app.events:publish("desk", "presence", { agent_id = agent.id, name = agent.name,
    status = status })
  return { status = status }
end

---(waits) A sign of life of an agent's browser; `in_room`: it is in the room of its call.
---@param body {status?: string, in_room?: boolean}
function M.beat(ctx, body)
  local app = ctx.app
  local agent, err = M.agent(ctx)
  if not agent then
    return nil, err
  end
  local known
  known, err = presence.get(app, agent.id)
  if known == nil then
    return nil, unavailable(err)
  end
  local chosen = (not known or not known.status) and (body.status or "away") or nil
  local ok
  ok, err = presence.beat(app, agent, chosen)
  if not ok then
    return nil, unavailable(err)
  end
  local me
  me, err = M.look(app, agent.id)
  if not me then
    return nil, err
  end
  if body.in_room and me.call then
    M.out_of_room(app, me.call._id, agent.id, false)
    M.in_room(app, me.call._id, agent.id)
  end
  local queue = desk.queue(app) or {}
  return { status = me.status, call_id = me.call and me.call._id, queue_waiting = #queue }
end

---(waits) The browser of an agent goes.
function M.leave(ctx)
  local ok, err = presence.leave(ctx.app, ctx.principal.id)
  if not ok then
    return nil, unavailable(err)
  end
  local me
  me, err = M.look(ctx.app, ctx.principal.id)
  if not me then
    return nil, err
  end
  return { status = me.status, call_id = me.call and me.call._id }
end

---(waits) The agent of a call is in its room.
function M.in_room(app, id, agent_id)
  return desk.step(app, id, "joined", function(call)
    if call.agent_id ~= agent_id then
      return nil, errors.new(409, "invalid_state", "The call is somebody else's.")
    end
    return {}
  end)
end

---(waits) The agent of a call left its room, or came back to it.
function M.out_of_room(app, id, agent_id, out)
  return desk.change(app, id, function(call)
    if call.agent_id ~= agent_id or (call.agent_out or false) == out then
      return nil
    end
    return out and { set = { agent_out = true } } or { unset = { "agent_out" } }
  end)
end

---A call with what its agent's browser needs.
function M.with_media(app, call, agent, wrap_up_ms)
  local out = { call = views.full(call, wrap_up_ms) }
  out.media, out.media_error = media.token(app, call,
    { identity = "agent-" .. agent.id, name = agent.name })
  return out
end

local function take(ctx, agent, id)
  local app = ctx.app
  local call, err = desk.step(app, id, "accept", function(found)
    if found.state ~= "waiting" then
      return nil, errors.new(409, "already_taken", ("The call is %s."):format(found.state),
        { more = { status_now = found.state } })
    end
    return { agent_id = agent.id, agent_name = agent.name }
  end)
  if call and not media.configured(app) then -- there is no room to join
    call, err = M.in_room(app, id, agent.id)
  end
  return call, err
end

---(waits) An agent takes a waiting call; of several, the first.
function M.accept(ctx, id)
  local app = ctx.app
  local me, err = M.look(app, ctx.principal.id)
  if not me then
    return nil, err
  elseif me.call then
    return nil, errors.new(409, "already_on_call", "You have a call already.",
      { more = { call_id = me.call._id } })
  elseif me.status ~= "available" then
    return nil, errors.new(409, "not_available", ("Your status is %s."):format(me.status),
      { more = { status_now = me.status } })
  end
  local agent
  agent, err = M.agent(ctx)
  if not agent then
    return nil, err
  end
  local lock = "desk:accepting:" .. agent.id -- two tabs of one agent
  local mine
  mine, err = app.cache:add(lock, "1", ACCEPTING_MS)
  if mine == nil then
    return nil, unavailable(err)
  elseif not mine then
    return nil, errors.new(409, "already_on_call", "You are taking a call already.")
  end
  local call
  call, err = take(ctx, agent, id)
  app.cache:del(lock)
  if not call then
    return nil, err
  end
  return M.with_media(app, call, agent)
end

---(waits) The call `id` if this person has it.
---@return table? call, api.error? err
function M.own(ctx, id)
  local call, err = desk.get(ctx.app, id)
  if not call and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  elseif not call or call.agent_id ~= ctx.principal.id then
    return nil, errors.not_found("call")
  end
  return call
end

---A check for desk.step(): the call is this person's.
function M.mine(ctx, more)
  return function(call)
    if call.agent_id ~= ctx.principal.id then
      return nil, errors.not_found("call")
    end
    return more and more(call) or {}
  end
end

---(waits) A waiting call is not for this agent; others still see it.
function M.decline(ctx, id)
  local me = ctx.principal.id
  return desk.change(ctx.app, id, function(call)
    if call.state ~= "waiting" then
      return nil, errors.new(409, "invalid_state", ("The call is %s."):format(call.state))
    end
    for _, other in ipairs(call.declined_by or {}) do
      if other == me then
        return nil
      end
    end
    return { push = { declined_by = me,
      events = { at = cxb.time.now(), type = "decline", state = "waiting", agent_id = me } } }
  end)
end

---(waits) An assigned call goes back to the front of the queue.
function M.reject(ctx, id)
  local call, err = desk.step(ctx.app, id, "reject", M.mine(ctx))
  if call then
    desk.change(ctx.app, id, function()
      return { push = { declined_by = ctx.principal.id } }
    end)
  end
  return call, err
end

---(waits) The caller's leg goes, the agent writes its notes.
function M.hang_up(ctx, id)
  local call, err = desk.step(ctx.app, id, "hangup", M.mine(ctx))
  if call then
    media.remove_caller(ctx.app, call)
  end
  return call, err
end

---(waits) The agent has done with a call.
---@param body {disposition: string, sub_disposition?: string, notes?: string, callback_at?: number}
function M.finish(ctx, id, body)
  local call, err = M.own(ctx, id)
  if not call then
    return nil, err
  end
  if states.next(call.state, "hangup") then
    call, err = M.hang_up(ctx, id)
    if not call and err.code ~= "invalid_state" then
      return nil, err
    end
  end
  return desk.step(ctx.app, id, "complete", M.mine(ctx, function(found)
    return { disposition = body.disposition, sub_disposition = body.sub_disposition,
      notes = body.notes or found.notes, callback_at = body.callback_at }
  end))
end

return M
