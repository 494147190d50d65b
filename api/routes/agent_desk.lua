-- The Agent Desk for agents: the queue, their calls, their status (api.md §5.17).
local desk = require("services.desk")
local desk_metrics = require("services.desk.metrics")
local errors = require("services.web.errors")
local json = require("cxb.json")
local people = require("services.desk.people")
local presence = require("services.desk.presence")
local shape = require("schemas.desk")
local transfer = require("services.desk.transfer")
local views = require("services.desk.views")

local BASE = "/api/v1/agent-desk"

local text = { type = "string", minLength = 1, maxLength = 200 }
local notes = { type = "string", maxLength = 4000 }
local chosen = { type = "string", enum = { "available", "away", "busy" } }
local state = {
  type = "object", title = "DeskState", required = { "state", "v" },
  properties = { state = { type = "string" }, v = { type = "integer" } },
}

local function answer(body, err)
  return body and { body = body }, err
end

-- (waits) The waiting calls this person is shown.
local function queue_of(ctx)
  local app, now = ctx.app, cxb.time.now()
  local timers, err = desk.timers(app)
  local calls
  if timers then
    calls, err = desk.queue(app)
  end
  if not calls then
    return nil, errors.of_store(err)
  end
  local agent
  if ctx.principal.rank == 0 then
    agent, err = people.agent(ctx)
    if not agent then
      return nil, err
    end
  end
  local items = json.array()
  for i, call in ipairs(calls) do
    if not agent or desk.is_shown(call, agent, now, timers.language_overflow * 1000) then
      items[#items + 1] = views.queued(call, now, i)
    end
  end
  return { items = items }
end

-- (waits) A record this person may see: agents their own calls only.
local function seen(ctx, waiting_too)
  local call, err = desk.get(ctx.app, ctx.params.id)
  if not call and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  local mine = call and (ctx.principal.rank > 0 or call.agent_id == ctx.principal.id
    or (waiting_too and call.state == "waiting"))
  if not mine then
    return nil, errors.not_found("call")
  end
  return call
end

local function full(ctx, call, err)
  if not call then
    return nil, err
  end
  local timers = desk.timers(ctx.app)
  return { body = views.full(call, timers and timers.wrap_up * 1000) }
end

local function stepped(verb_path, summary, fn, more)
  local route = {
    verb = "POST", path = BASE .. "/calls/{id}/" .. verb_path, guard = "agent", audit = false,
    summary = summary, params = shape.params, output = shape.full, errors = { "invalid_state" },
    handler = function(ctx)
      return full(ctx, fn(ctx, ctx.params.id, ctx.body))
    end,
  }
  for name, value in pairs(more or {}) do
    route[name] = value
  end
  return route
end

return {
  {
    verb = "GET", path = BASE .. "/queue", guard = "any", output = shape.queue,
    summary = "The waiting calls in the order they are taken.",
    handler = function(ctx)
      return answer(queue_of(ctx))
    end,
  },
  {
    verb = "GET", path = BASE .. "/queue/stream", guard = "any", media = "text/event-stream",
    summary = "The queue as live events: snapshot, call.waiting, call.updated, call.removed.",
    handler = function(ctx)
      return ctx:sse({ "desk" }, { snapshot = function()
        return (queue_of(ctx))
      end })
    end,
  },
  {
    verb = "POST", path = BASE .. "/calls/{id}/accept", guard = "agent", params = shape.params,
    summary = "Takes a waiting call; the first one who does has it.", output = shape.with_media,
    errors = { "already_taken", "not_available", "already_on_call" }, audit = false,
    handler = function(ctx)
      return answer(people.accept(ctx, ctx.params.id))
    end,
  },
  stepped("decline", "Hides a waiting call from this agent; others still see it.", people.decline),
  stepped("reject", "Gives an assigned call back to the front of the queue.", people.reject),
  stepped("hangup", "Ends the caller's leg; the agent goes on to wrap-up.", people.hang_up),
  stepped("end", "Closes the call with its disposition.", people.finish, {
    input = {
      type = "object", title = "DeskEnd", required = { "disposition" },
      properties = { disposition = text, sub_disposition = text, notes = notes,
        callback_at = { type = "string", format = "time" } },
    },
  }),
  stepped("transfer", "Sends the caller on to a number, or back to the queue.", transfer.run, {
    input = {
      type = "object", title = "DeskTransfer", required = { "kind" },
      properties = {
        kind = { type = "string", enum = { "sip", "queue" } }, number = text,
        target_id = { type = "string", minLength = 1, maxLength = 128 }, note = notes,
      },
    },
    errors = { "invalid_state", "upstream_failed", "bad_target" },
  }),
  {
    verb = "PUT", path = BASE .. "/calls/{id}/wrap-up", guard = "agent", audit = false,
    summary = "Keeps a draft of the wrap-up; extend adds 60 s, three times at most.",
    params = shape.params, output = shape.full, errors = { "invalid_state", "extensions_used" },
    versioned = false,
    input = {
      type = "object", title = "DeskWrapUp",
      properties = { disposition = text, sub_disposition = text, notes = notes,
        extend = { type = "boolean" } },
    },
    handler = function(ctx)
      return full(ctx, transfer.wrap_up(ctx, ctx.params.id, ctx.body))
    end,
  },
  {
    verb = "GET", path = BASE .. "/calls/current", guard = "any", output = shape.with_media,
    summary = "Your unfinished call with fresh media; 204 when there is none.",
    handler = function(ctx)
      local call, err = desk.of_agent(ctx.app, ctx.principal.id)
      if err then
        return nil, errors.of_store(err)
      elseif not call then
        return { status = 204 }
      end
      call, err = desk.get(ctx.app, call._id)
      local timers = desk.timers(ctx.app)
      if not call or not timers then
        return nil, errors.of_store(err)
      end
      return { body = people.with_media(ctx.app, call, ctx.principal, timers.wrap_up * 1000) }
    end,
  },
  {
    verb = "GET", path = BASE .. "/calls/{id}/state", guard = "any", output = state,
    summary = "Where a call is.", params = shape.params,
    handler = function(ctx)
      local call, err = seen(ctx, true)
      return answer(call and { state = call.state, v = call.v }, err)
    end,
  },
  {
    verb = "GET", path = BASE .. "/calls/{id}", guard = "any", output = shape.full,
    summary = "The record of a call; agents see their own.", params = shape.params,
    handler = function(ctx)
      return full(ctx, seen(ctx))
    end,
  },
  {
    verb = "GET", path = BASE .. "/status", guard = "agent", output = shape.presence,
    summary = "Your status.",
    handler = function(ctx)
      local me, err = people.look(ctx.app, ctx.principal.id)
      return answer(me and { status = me.status, call_id = me.call and me.call._id,
        since = presence.since(me.agent, me.call) }, err)
    end,
  },
  {
    verb = "POST", path = BASE .. "/status", guard = "agent", output = shape.presence,
    summary = "Chooses your status.", errors = { "status_locked" }, audit = false,
    input = { type = "object", title = "DeskStatus", required = { "status" },
      properties = { status = chosen } },
    handler = function(ctx)
      return answer(people.choose(ctx, ctx.body.status))
    end,
  },
  {
    verb = "POST", path = BASE .. "/status/heartbeat", guard = "agent", output = shape.presence,
    summary = "A sign of life, each 15 s.", optional = true, audit = false,
    input = { type = "object", title = "DeskHeartbeat",
      properties = { status = chosen, in_room = { type = "boolean" } } },
    handler = function(ctx)
      return answer(people.beat(ctx, ctx.body))
    end,
  },
  {
    verb = "POST", path = BASE .. "/status/offline", guard = "agent", output = shape.presence,
    summary = "The page goes away.", audit = false,
    handler = function(ctx)
      return answer(people.leave(ctx))
    end,
  },
  {
    verb = "GET", path = BASE .. "/me/metrics", guard = "agent", output = desk_metrics.own_shape,
    summary = "Your own figures of a range of days.", query = desk_metrics.query,
    handler = function(ctx)
      return answer(desk_metrics.own(ctx))
    end,
  },
}
