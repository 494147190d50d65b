-- Calls that are on now: list, listening in, hanging up (api.md §5.8).
local call_live = require("services.calls.live")
local call_view = require("services.calls.view")
local shapes = require("schemas.call")

-- (waits) The call of the path, named in the audit.
local function call_of(ctx)
  local call, err = call_view.get(ctx, ctx.params.id)
  if call then
    ctx.audit = { target = { type = "call", id = call._id } }
  end
  return call, err
end

return {
  {
    verb = "GET", path = "/api/v1/calls/live", guard = { "admin", "key" }, scope = "calls:read",
    summary = "Calls that are on now, newest first, at most 500.",
    output = {
      type = "object", required = { "items", "total" }, properties = {
        items = { type = "array", items = shapes.live }, total = { type = "integer" },
      },
    },
    handler = function(ctx)
      local answer, err = call_live.list(ctx.app, ctx.principal)
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "POST", path = "/api/v1/calls/{id}/listen", guard = "admin", limit = "test",
    audit = "call.listen",
    summary = "What a browser listens in on a call with; nobody hears who listens.",
    output = {
      type = "object", title = "ListenIn", required = { "mode" }, properties = {
        mode = { type = "string", enum = { "ws", "livekit" } },
        url = { type = "string", description = "mode ws: add ?ticket=" },
        ticket = { type = "string" }, expires_at = { type = "integer", format = "time" },
        server_url = { type = "string" }, token = { type = "string" },
      },
    },
    errors = { "not_live" },
    handler = function(ctx)
      local call, err = call_of(ctx)
      local answer
      if call then
        answer, err = call_live.listen(ctx.app, call, ctx.principal)
      end
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "POST", path = "/api/v1/calls/{id}/hangup", guard = "admin", audit = "call.hangup",
    summary = "Asks the call's host to end it.", status = 202,
    output = { type = "object", properties = { session_id = { type = "string" } } },
    errors = { "not_live", "upstream_failed" },
    handler = function(ctx)
      local call, err = call_of(ctx)
      local ok
      if call then
        ok, err = call_live.hang_up(ctx.app, call, ctx.request_id)
      end
      return ok and { body = { session_id = call._id } }, err
    end,
  },
}
