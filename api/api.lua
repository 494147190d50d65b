-- The API, the control plane: `cxbrt api.lua`. It owns durable business state and never touches
-- live audio. Routes are declarations (routes/), rules live in services/, shapes in schemas/.
local config = require("cxb.config")
local settings = config.load(require("schemas.settings"))
if not settings then
  return 0 -- --help-config has printed the variables
end
local App = require("services.system.app")
local bot_cache = require("services.bots.cache")
local first_admin = require("services.identity.first_admin")
local caches = require("services.system.caches")
local Jobs = require("services.system.jobs")
local local_operator = require("services.identity.local_operator")
local pipeline = require("services.web.pipeline")
local start = require("services.system.start")
local system_settings = require("services.system.settings")
local sse = require("services.web.sse")

-- Half of LuaJIT's own 200, at which the requests that a collection of garbage goes along with take
-- more than twice as long, and those behind them wait.
collectgarbage("setstepmul", 100)

local address = App.address(settings.CXB_API_LISTEN)
if not address then
  config.refuse(("CXB_API_LISTEN: %q is not valid, expected HOST:PORT, HOST being an IP address or "
    .. "localhost, or unix:PATH"):format(settings.CXB_API_LISTEN))
end

local fits, why_not = caches.check(settings)
if not fits then
  config.refuse(why_not)
end

cxb.log.context({ service = "api" })
cxb.log.level(settings.CXB_LOG_LEVEL)
cxb.metrics.declare({
  { name = "cxb_api_requests_total", type = "counter", help = "Answered requests." },
  { name = "cxb_api_request_seconds", type = "histogram", help = "Time to answer.",
    buckets = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 } },
  { name = "cxb_store_op_seconds", type = "histogram", help = "Time of a store operation.",
    buckets = { 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5 } },
  { name = "cxb_results_ingested_total", type = "counter",
    help = "Results by what became of them." },
  { name = "cxb_rate_limited_total", type = "counter", help = "Requests refused as too many." },
  { name = "cxb_desk_waiting", type = "gauge", help = "Callers who wait for an agent." },
  { name = "cxb_desk_agents", type = "gauge", help = "Agents by their status." },
  { name = "cxb_sse_streams", type = "gauge", help = "Streams of live events." },
  { name = "cxb_build_info", type = "gauge", help = "1, the version as a label." },
})
cxb.metrics.set("cxb_build_info", { version = cxb.version }, 1)

if settings.CXB_DEV and settings.CXB_CRASH_AT then
  cxb.fault.arm(settings.CXB_CRASH_AT)
end

local app = App.new(settings)
local serve = pipeline.server(app, pipeline.routes())
app.jobs = Jobs.new(app, Jobs.load())
local control = settings.CXB_RUN_DIR .. "/ctl"
if cxb.mode == "run" and cxb.generation == 1 then
  cxb.fs.mkdir(control, 488)
end

return {
  name = "api",
  listen = {
    { addr = address, variable = "CXB_API_LISTEN" },
    { addr = "unix:" .. control .. "/api.sock", control = true, variable = "CXB_RUN_DIR" },
  },
  http = function(req)
    serve(req)
  end,
  large_heads = { "/api/v1/config/" }, -- what a carrier sent along travels there
  control = { request = local_operator.verb(serve) },
  memory_mb = 512, -- a result of 16 MiB is held several times over while it is read and written
  -- A later generation opens the store before it takes work; `--check` opens nothing.
  selftest = function()
    if cxb.mode == "run" and cxb.generation > 1 then
      return app:boot()
    end
    return true
  end,
  start = function()
    start.run(app)
  end,
  active = function()
    if not start.wait(app) then
      return
    end
    local offered, why = first_admin.offer(app)
    if not offered then
      cxb.log.error("no setup token can be made", { error = why })
    end
    cxb.log.info("ready", { listen = settings.CXB_API_LISTEN, store = app.store.kind })
    system_settings.follow(app)
    bot_cache.follow(app)
    app.jobs:start()
  end,
  retire = function()
    sse.end_all(app, "reload")
    app.cache.events:close()
    app.jobs:stop()
  end,
  drain = function()
    sse.end_all(app, "shutdown")
  end,
  stop = function()
    app.jobs:stop()
  end,
}
