-- Supervisors at the Agent Desk: what they see, how they join a call, how they end one.
local desk = require("services.desk")
local errors = require("services.web.errors")
local json = require("cxb.json")
local media = require("services.desk.media")
local people = require("services.desk.people")
local presence = require("services.desk.presence")
local times = require("cxb.times")
local views = require("services.desk.views")

local M = {}

-- What the token of a mode may do.
local grants = {
  listen = { publish = false, data = false, hidden = true },
  whisper = {},
  barge = { publish = true, data = true },
}

local function by_name(a, b)
  return (a.name or a.agent_id) < (b.name or b.agent_id)
end

---(waits) Agents, their calls, who waits.
---@return table? dashboard, api.error? err
function M.dashboard(app)
  local here, err = people.here(app)
  if not here then
    return nil, err
  end
  local now = cxb.time.now()
  local out = { agents = json.array(), calls = json.array(), waiting = json.array() }
  for _, call in ipairs(here.calls) do
    if call.state == "waiting" then
      out.waiting[#out.waiting + 1] = views.queued(call, now)
    else
      out.calls[#out.calls + 1] = views.brief(call)
    end
  end
  for id, agent in pairs(here.agents) do
    local call = here.with_call[id]
    out.agents[#out.agents + 1] = {
      agent_id = id, name = agent.name, languages = json.array(agent.languages),
      status = presence.status(agent, call, now, here.timers.heartbeat_ttl * 1000),
      since = times.format(presence.since(agent, call)),
      call_id = call and call._id,
    }
  end
  table.sort(out.agents, by_name)
  return out
end

-- (waits) Whether this supervisor is in another call already.
local function elsewhere(app, who, id)
  local calls, err = desk.unfinished(app, { state = { ["in"] = { "assigned", "active" } } })
  if not calls then
    return nil, errors.of_store(err)
  end
  for _, call in ipairs(calls) do
    if call._id ~= id and call.supervisors and call.supervisors[who] then
      return call._id
    end
  end
  return false
end

---(waits) A supervisor joins a call.
---@param mode "listen"|"whisper"|"barge"
---@return table? answer {call, media, media_error?, mode}, api.error? err
function M.join(ctx, id, mode)
  local app, who = ctx.app, ctx.principal
  local other, err = elsewhere(app, who.id, id)
  if other == nil then
    return nil, err
  elseif other then
    return nil, errors.new(409, "already_supervising", "You are in another call.",
      { more = { call_id = other } })
  end
  local call
  call, err = desk.change(app, id, function(found)
    if found.state ~= "assigned" and found.state ~= "active" then
      return nil, errors.new(409, "invalid_state", ("The call is %s."):format(found.state))
    end
    local now = cxb.time.now()
    return { set = { ["supervisors." .. who.id] = { mode = mode, at = now } },
      push = { events = { at = now, type = "supervision", mode = mode, supervisor_id = who.id } } }
  end)
  if not call then
    return nil, err
  end
  local grant = { identity = "supervisor-" .. who.id, name = who.name }
  for name, value in pairs(grants[mode]) do
    grant[name] = value
  end
  local out = { call = views.full(call), mode = mode, agent_identity = "agent-" .. call.agent_id }
  grant.whisper_to = mode == "whisper" and out.agent_identity or nil
  out.media, out.media_error = media.token(app, call, grant)
  ctx.audit = { target = { type = "desk_call", id = id }, changes = {} }
  app.events:publish("desk", "call.updated", views.brief(call))
  return out
end

---(waits) A supervisor has left a room.
function M.left(app, id, user_id)
  return desk.change(app, id, function(call)
    if not call.supervisors or not call.supervisors[user_id] then
      return nil
    end
    return { unset = { "supervisors." .. user_id }, push = { events = { at = cxb.time.now(),
      type = "supervision_ended", supervisor_id = user_id } } }
  end)
end

---(waits) Ends any unfinished call.
---@return table? call, api.error? err
function M.force_end(ctx, id, reason)
  ctx.audit = { target = { type = "desk_call", id = id }, changes = {} }
  local call, err = desk.step(ctx.app, id, "force_end", function()
    return { force_end = { by = ctx.principal.id, reason = reason } }
  end)
  if call or err.code ~= "invalid_state" then
    return call, err
  end
  call = desk.get(ctx.app, id)
  if call and call.state == "wrap_up" then -- the caller has gone, the agent still writes
    media.close(ctx.app, call)
    return call
  end
  return nil, err
end

return M
