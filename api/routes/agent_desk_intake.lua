-- The Agent Desk for our own services (api.md §5.17). What they send is taken if it can be: unknown
-- fields are left out, what comes again changes nothing.
local intake = require("services.desk.intake")
local shape = require("schemas.desk")

local BASE = "/api/v1/agent-desk"
local TRANSCRIPT_MAX = 16 * 1024 * 1024

local taken = {
  type = "object", title = "DeskTaken", required = { "status" },
  properties = { status = { type = "string" }, state = { type = "string" },
    duplicate = { type = "boolean" } },
}

local function message(path, summary, fn, body_max)
  return {
    verb = "POST", path = BASE .. "/calls/{id}/" .. path, guard = "secret", summary = summary,
    params = shape.params, input = "object", optional = true, body_max = body_max, output = taken,
    handler = function(ctx)
      local answer, err = fn(ctx)
      return answer and { body = answer }, err
    end,
  }
end

return {
  {
    verb = "POST", path = BASE .. "/enqueue", guard = "secret", input = "object",
    summary = "Puts a caller into the queue; the same call_id again has the same answer.",
    body_max = TRANSCRIPT_MAX,
    output = {
      type = "object", title = "DeskQueued", required = { "status", "call_id" },
      properties = { status = { type = "string", enum = { "queued", "ended" } },
        call_id = { type = "string" }, position = { type = "integer" } },
    },
    handler = function(ctx)
      local answer, err = intake.enqueue(ctx.app, ctx.body)
      return answer and { body = answer }, err
    end,
  },
  message("customer-disconnected", "The caller has gone.", intake.customer_disconnected),
  message("events", "Something happened to the call.", intake.event),
  message("transcript", "Lines of the conversation with the agent.", intake.transcript,
    TRANSCRIPT_MAX),
  message("recording", "Where the recording of the agent's part is.", intake.recording),
}
