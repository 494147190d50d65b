-- GET /api/v1/overview (api.md §5.1).
local call_series = require("services.calls.series")
local overview = require("services.overview")

local count = { type = "integer" }
local moment = { type = "integer", format = "time" }
local ms = { type = "number", nullable = true, description = "ms" }

local span = {
  type = "object", title = "OverviewRange", properties = {
    from = moment, to = moment, campaigns_started = count, campaigns_completed = count,
    desk_calls = count, deliveries = count,
    calls = call_series.schema({
      by_status = { type = "object", additionalProperties = count },
      latency_p50_ms = ms, latency_p95_ms = ms,
    }),
  },
}

return {
  {
    verb = "GET", path = "/api/v1/overview", guard = "admin",
    summary = "How it goes: a range of days, the same range before, and now.",
    query = { type = "object", properties = {
      range = { type = "string", enum = { "today", "7d", "30d" }, default = "today" },
    } },
    output = {
      type = "object", title = "Overview",
      required = { "range", "tz", "now", "current", "previous" },
      properties = {
        range = { type = "string" }, tz = { type = "string" }, current = span, previous = span,
        now = {
          type = "object", properties = {
            campaigns_running = count, desk_waiting = count, desk_active = count,
            outbox_pending = count, outbox_dead = count, calls_live = count,
            fleet = {
              type = "object", nullable = true, properties = {
                hosts = count, capacity = count, active_calls = count, available = count,
              },
            },
          },
        },
      },
    },
    handler = function(ctx)
      local answer, err = overview.get(ctx.app, ctx.query.range)
      return answer and { body = answer }, err
    end,
  },
}
