-- GET /api/v1/calls/stats (api.md §5.8).
local call_filter = require("services.calls.filter")
local call_series = require("services.calls.series")
local errors = require("services.web.errors")
local system_settings = require("services.system.settings")

local WEEK_MS = 7 * 86400000

local id = { type = "string", format = "id" }
local time = { type = "string", format = "time" }
local moment = { type = "integer", format = "time" }

return {
  {
    verb = "GET", path = "/api/v1/calls/stats", guard = { "admin", "key" }, scope = "calls:read",
    summary = "How many calls there were, in all and over time.",
    query = { type = "object", properties = {
      from = time, to = time, bot_id = id, campaign_id = id,
      bucket = { type = "string", enum = { "hour", "day" }, default = "day" },
      group_by = {
        type = "string", enum = { "status", "bot", "campaign", "disposition" }, default = "status",
      },
      tz = {
        type = "string", format = "zone", description = "default: the display zone of the settings",
      },
    } },
    output = {
      type = "object", title = "CallStats",
      required = { "from", "to", "bucket", "tz", "group_by", "totals", "groups", "series" },
      properties = {
        from = moment, to = moment, bucket = { type = "string" }, tz = { type = "string" },
        group_by = { type = "string" }, totals = call_series.schema(),
        groups = { type = "array", items = call_series.schema({
          key = { type = "string" }, name = { type = "string", nullable = true },
        }) },
        series = { type = "array", items = call_series.schema({
          at = moment,
          groups = {
            type = "object", additionalProperties = { type = "integer" },
            description = "calls by the key of their group",
          },
        }) },
      },
    },
    handler = function(ctx)
      local asked = ctx.query
      local settings, err = system_settings.get(ctx.app)
      if not settings then
        return nil, errors.of_store(err)
      end
      local to = asked.to or cxb.time.now()
      local query = {
        from = asked.from or to - WEEK_MS, to = to, bucket = asked.bucket,
        group_by = asked.group_by, tz = asked.tz or settings.display_timezone or "UTC",
        filter = {
          bot_id = call_filter.bots_of(ctx.principal, asked.bot_id),
          campaign_id = asked.campaign_id,
        },
      }
      local answer
      answer, err = call_series.of(ctx.app, query)
      if not answer then
        return nil, err
      end
      for _, name in ipairs({ "from", "to", "bucket", "tz", "group_by" }) do
        answer[name] = query[name]
      end
      return { body = answer }
    end,
  },
}
