-- What workers and carriers deliver about calls (api.md §5.7): the result after each call, the
-- carrier's own record of it, and what happens while it lasts.
local cdr = require("services.results.cdr")
local errors = require("services.web.errors")
local json = require("cxb.json")
local result_body = require("services.results.body")
local results = require("services.results")
local schema = require("cxb.schema")

local LIVE_MAX = 64 * 1024

local live_body = {
  type = "object", additionalProperties = true, required = { "seq", "events" }, properties = {
    seq = { type = "integer", minimum = 0 },
    events = { type = "array", items = { type = "object", additionalProperties = true } },
  },
}

-- Told to whoever watches, kept nowhere. A worker cannot do anything about one that says nothing,
-- so there is no other answer than 204.
local function live(ctx)
  local events, heard = ctx.app.events, ctx.body and schema.check(live_body, ctx.body)
  if events and heard then
    local id = ctx.params.session_id
    local said = { session_id = id, seq = heard.seq, events = heard.events }
    events:publish("call:" .. id, "call.live", said)
    events:publish("calls", "call.live", said)
  end
  return { status = 204 }
end

return {
  {
    verb = "POST", path = "/api/v1/call-results", guard = "secret",
    summary = "The result of a call, kept whatever arrives, however often.",
    output = {
      type = "object",
      properties = {
        status = { type = "string" }, session_id = { type = "string" },
        duplicate = { type = "boolean" },
        warnings = { type = "array", items = { type = "object", additionalProperties = true } },
      },
    },
    input = "object", opaque = result_body.opaque, body_max = 16 * 1024 * 1024,
    handler = function(ctx)
      local kept, err = results.ingest(ctx.app, ctx.raw, ctx.body)
      cxb.metrics.count("cxb_results_ingested_total",
        { outcome = kept and kept.outcome or err.code })
      if not kept then
        return nil, err
      end
      cxb.log.info("result kept", { session_id = kept.session_id, outcome = kept.outcome,
        warnings = #kept.warnings })
      return { body = json.object({
        { "status", "ok" }, { "session_id", kept.session_id }, { "duplicate", kept.duplicate },
        { "warnings", json.array(kept.warnings) },
      }) }
    end,
  },
  {
    verb = "POST", path = "/api/v1/cdr", guard = "secret",
    summary = "The carrier's record of a call, found by its stream.",
    input = "object",
    output = { type = "object", required = { "status" }, properties = {
      status = { type = "string", enum = { "ok", "not_found", "ignored" } },
      stream_id = { type = "string" }, reason = { type = "string" },
    } },
    handler = function(ctx)
      local answer, err = cdr.ingest(ctx.app.store, ctx.body)
      return answer and { body = answer }, err and errors.of_store(err)
    end,
  },
  {
    verb = "POST", path = "/api/v1/calls/{session_id}/live", guard = "secret", status = 204,
    summary = "What happens in a call right now, for whoever watches; nothing is kept.",
    input = "object", body_max = LIVE_MAX, best_effort = true,
    handler = live,
  },
}
