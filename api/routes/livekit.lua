-- LiveKit's webhook and the website widget (api.md §5.14).
local errors = require("services.web.errors")
local webhook = require("services.livekit.webhook")
local widget = require("services.livekit.widget")
require("services.desk.whisper") -- hears of tracks

local BODY_MAX = 1024 * 1024

return {
  {
    verb = "POST", path = "/api/v1/livekit/webhook", guard = "open",
    summary = "LiveKit tells what happens in its rooms; signed with its secret.",
    output = { type = "object", properties = { ok = { type = "boolean" } } },
    handler = function(ctx)
      local raw, code = ctx.req:body(BODY_MAX)
      if not raw then
        return nil, code == "too_large" and errors.new(413, "body_too_large", "At most 1 MiB.",
          { headers = { connection = "close" } })
          or errors.new(408, "request_timeout", "The body did not arrive.")
      end
      local event, err = webhook.read(ctx.app, ctx.req.headers.authorization, raw)
      if not event then
        return nil, err
      end
      local done
      done, err = webhook.take(ctx.app, event, ctx.request_id)
      return done and { body = { ok = true } }, err
    end,
  },
  {
    verb = "POST", path = "/api/v1/widget/token", guard = "open", limit = "widget", cors = "*",
    status = 201,
    summary = "A visitor's way into a room with a bot.",
    input = {
      type = "object", required = { "bot_id", "api_key" },
      properties = { bot_id = { type = "string", format = "id" },
        api_key = { type = "string", minLength = 1, maxLength = 128 } },
    },
    output = { type = "object", properties = { server_url = { type = "string" },
      participant_token = { type = "string" } } },
    errors = { "origin_not_allowed", "dispatch_failed", "livekit_unavailable" },
    example = { bot_id = "demo", api_key = "wk_example" },
    handler = function(ctx)
      local answer, err = widget.token(ctx)
      return answer and { body = answer }, err
    end,
  },
}
