-- GET /api/v1/config/{bot_id}: what a call worker needs for one call (api.md §5.6).
local pipeline = require("services.web.pipeline")
local runtime_config = require("services.runtime_config")

return {
  {
    verb = "GET", path = "/api/v1/config/{bot_id}", guard = "secret", url_max = 32768,
    summary = "What a call worker needs for one call.",
    output = { type = "object", additionalProperties = true },
    errors = { "unknown_bot", "outside_active_hours", "provider_key_missing" },
    query = {
      type = "object",
      additionalProperties = true,
      properties = {
        caller_id = { type = "string", maxLength = 256 },
        stream_id = { type = "string", maxLength = 256 },
        connected_event = { type = "string" },
      },
    },
    handler = function(ctx)
      local answer, err = runtime_config.build(ctx.app, ctx.params.bot_id, ctx.query,
        pipeline.internal_base(ctx) .. "/api/v1/call-results")
      return answer and { body = answer }, err
    end,
  },
}
