-- POST /api/v1/call-results: what a worker delivers after each call (api.md §5.7).
local json = require("cxb.json")
local results = require("services.results")

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
    input = "object", body_max = 16 * 1024 * 1024,
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
}
