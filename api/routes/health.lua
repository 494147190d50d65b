-- GET /health, /health/live, /health/ready, /metrics (api.md §5.1).
local json = require("cxb.json")

local function state(ctx, healthy)
  local app, reload, why = ctx.app, cxb.process.reload_state()
  return json.object({
    { "status", healthy and "ok" or "degraded" },
    { "version", cxb.version },
    { "generation", cxb.generation },
    { "reload", reload },
    { "reload_error", why ~= "" and why or nil },
    { "uptime_seconds", math.floor((cxb.time.mono() - app.started_at) / 1000) },
    { "store", { kind = app.store and app.store.kind or "sqlite", ok = healthy } },
    { "cache", { kind = "memory", ok = true } },
  })
end

local function retry(healthy)
  return not healthy and { ["retry-after"] = "2" } or nil
end

return {
  {
    verb = "GET", path = "/health", guard = "open", early = true,
    handler = function(ctx)
      local healthy = ctx.app:healthy()
      return {
        status = healthy and 200 or 503, body = state(ctx, healthy), headers = retry(healthy),
      }
    end,
  },
  {
    verb = "GET", path = "/health/live", guard = "open", early = true,
    handler = function()
      return { body = { status = "ok" } }
    end,
  },
  {
    verb = "GET", path = "/health/ready", guard = "open", early = true,
    handler = function(ctx)
      local ready = ctx.app:healthy() and not cxb.slot.state().draining
      return { status = ready and 200 or 503, body = { status = ready and "ok" or "not_ready" },
        headers = retry(ready) }
    end,
  },
  {
    verb = "GET", path = "/metrics", guard = "near", early = true,
    handler = function()
      return { body = cxb.metrics.render("worker"),
        headers = { ["content-type"] = "text/plain; version=0.0.4" } }
    end,
  },
}
