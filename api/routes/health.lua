-- GET /health, /health/live, /health/ready, /metrics (api.md §5.1).
local json = require("cxb.json")
local open_store = require("services.system.open_store")

local function state(ctx, healthy)
  local app, reload, why = ctx.app, cxb.process.reload_state()
  return json.object({
    { "status", healthy and "ok" or "degraded" },
    { "version", cxb.version },
    { "generation", cxb.generation },
    { "reload", reload },
    { "reload_error", why ~= "" and why or nil },
    { "uptime_seconds", math.floor((cxb.time.mono() - app.started_at) / 1000) },
    { "store", { kind = open_store.kind(app.settings), ok = healthy } },
    { "cache", { kind = app.cache and app.cache.kind or "memory",
      ok = app.cache ~= nil and app.cache:healthy() } },
  })
end

-- Why no work is taken; nil when it is.
local function why_not(app)
  local upgrade = app:upgrade()
  if upgrade then
    return "store_upgrading", ("The store is brought up to date: %s, for %d s so far."):format(
      upgrade.collection, upgrade.ms / 1000)
  elseif not app:healthy() then
    return "store_unavailable", "The store cannot be reached."
  elseif cxb.slot.state().draining then
    return "draining", "The process is about to end."
  end
end

local function retry(healthy)
  return not healthy and { ["retry-after"] = "2" } or nil
end

local kind = {
  type = "object", properties = { kind = { type = "string" }, ok = { type = "boolean" } },
}
local ready = {
  type = "object", properties = {
    status = { type = "string", enum = { "ok", "not_ready" } },
    reason = { type = "string", enum = { "store_upgrading", "store_unavailable", "draining" } },
    message = { type = "string" },
  },
}
local short = { type = "object", properties = { status = { type = "string" } } }

return {
  {
    verb = "GET", path = "/health", guard = "open", early = true,
    summary = "Whether the API can work; 503 while its store is away.",
    output = {
      type = "object", title = "Health",
      properties = {
        status = { type = "string", enum = { "ok", "degraded" } }, version = { type = "string" },
        generation = { type = "integer" }, reload = { type = "string" },
        reload_error = { type = "string" }, uptime_seconds = { type = "integer" },
        store = kind, cache = kind,
      },
    },
    handler = function(ctx)
      local healthy = ctx.app:healthy()
      return {
        status = healthy and 200 or 503, body = state(ctx, healthy), headers = retry(healthy),
      }
    end,
  },
  {
    verb = "GET", path = "/health/live", guard = "open", early = true,
    summary = "Whether the process answers.", output = short,
    handler = function()
      return { body = { status = "ok" } }
    end,
  },
  {
    verb = "GET", path = "/health/ready", guard = "open", early = true,
    summary = "Whether it takes work; 503 while degraded or draining.", output = ready,
    handler = function(ctx)
      local reason, message = why_not(ctx.app)
      return { status = reason and 503 or 200, headers = retry(not reason),
        body = { status = reason and "not_ready" or "ok", reason = reason, message = message } }
    end,
  },
  {
    verb = "GET", path = "/metrics", guard = "near", early = true,
    summary = "Figures for Prometheus.", media = "text/plain",
    handler = function()
      return { body = cxb.metrics.render("worker"),
        headers = { ["content-type"] = "text/plain; version=0.0.4" } }
    end,
  },
}
