-- The Agent Desk for supervisors (api.md §5.17).
local desk_metrics = require("services.desk.metrics")
local shape = require("schemas.desk")
local supervision = require("services.desk.supervision")
local views = require("services.desk.views")

local BASE = "/api/v1/agent-desk"

local joined = {
  type = "object", title = "DeskSupervision", required = { "call", "media", "mode" },
  properties = {
    call = shape.full, media = shape.media, media_error = { type = "string" },
    mode = { type = "string", enum = { "listen", "whisper", "barge" } },
    agent_identity = { type = "string",
      description = "whisper: give this participant alone permission for the track, then publish" },
  },
}

local function join(path, mode, summary)
  return {
    verb = "POST", path = BASE .. "/supervisor/calls/{id}/" .. path, guard = "sup",
    audit = "desk." .. mode, limit = "test", summary = summary, params = shape.params,
    output = joined, errors = { "already_supervising", "invalid_state" },
    handler = function(ctx)
      local answer, err = supervision.join(ctx, ctx.params.id, mode)
      return answer and { body = answer }, err
    end,
  }
end

return {
  {
    verb = "GET", path = BASE .. "/supervisor/dashboard", guard = "sup", output = shape.dashboard,
    summary = "Agents, their calls and who waits.",
    handler = function(ctx)
      local answer, err = supervision.dashboard(ctx.app)
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "GET", path = BASE .. "/supervisor/stream", guard = "sup", media = "text/event-stream",
    summary = "The dashboard as live events.",
    handler = function(ctx)
      return ctx:sse({ "desk" }, { snapshot = function()
        return (supervision.dashboard(ctx.app))
      end })
    end,
  },
  join("listen", "listen", "Hears a call without being seen."),
  join("whisper", "whisper", "Speaks to the agent alone."),
  join("barge-in", "barge", "Joins a call."),
  {
    verb = "POST", path = BASE .. "/supervisor/calls/{id}/force-end", guard = "sup",
    audit = "desk.force_end", summary = "Ends a call, whatever its state.", params = shape.params,
    output = shape.full, errors = { "invalid_state" }, optional = true,
    input = { type = "object", title = "DeskForceEnd",
      properties = { reason = { type = "string", minLength = 1, maxLength = 500 } } },
    handler = function(ctx)
      local call, err = supervision.force_end(ctx, ctx.params.id, ctx.body.reason)
      return call and { body = views.full(call) }, err
    end,
  },
  {
    verb = "GET", path = BASE .. "/metrics", guard = "sup", output = desk_metrics.shape,
    summary = "Figures of the desk over a range of days.", query = desk_metrics.query,
    handler = function(ctx)
      local answer, err = desk_metrics.all(ctx)
      return answer and { body = answer }, err
    end,
  },
}
