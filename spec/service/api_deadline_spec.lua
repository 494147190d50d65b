-- A request that takes too long, against a real process of the host with the API's pipeline.
local World = require "support.world"
local json = require "cxb.json"

local SERVICE = [[
cxb.metrics.declare({
  { name = "cxb_api_requests_total", type = "counter", help = "h" },
  { name = "cxb_api_request_seconds", type = "histogram", help = "h", buckets = { 1 } },
  { name = "cxb_sse_streams", type = "gauge", help = "h" },
})
local pipeline = require("services.web.pipeline")
local cache = require("cxb.cache").open({ prefix = "deadline:" })
local app = { ready = true, trusted_proxies = {}, streams = {},
  settings = { CXB_RATE_SCALE = 0, CXB_CORS_ORIGINS = {} } }
require("services.system.caches").use(app, cache, cache)
local ended = {}
local function slow(ctx)
  local ok, why = cxb.time.sleep(60000)
  ended[ctx.req.path] = ok and "slept" or why
  return ok and { body = { ok = true } }, { status = 503, code = "store_unavailable" }
end
local function route(path, more)
  local out = { verb = "GET", path = path, guard = "open", handler = slow }
  for name, value in pairs(more) do out[name] = value end
  return out
end
return {
  name = "deadlines", listen = { { addr = "unix:" .. cxb.args[1] } },
  http = pipeline.server(app, {
    route("/slow", { deadline_ms = 200 }),
    route("/quick", { handler = function() return { body = { ok = true } } end }),
    route("/ended", { handler = function() return { body = ended } end }),
  }),
}
]]

describe("a request that takes longer than its route may", function()
  local world = World.new()
  after_each(function() world:close() end)

  it("is cancelled and answered 504, others go on", function()
    local dir = world:folder()
    world:write(dir .. "/service.lua", SERVICE)
    local socket = dir .. "/s.sock"
    world:service(dir .. "/service.lua", { PATH = cxb.process.env("PATH"), CXB_ROOT = cxb.root },
      socket, { socket })
    local function ask(path)
      local answer = assert(cxb.http.request({ url = ("http+unix:%s:%s"):format(socket, path) }))
      return answer.status, json.decode(answer.body)
    end
    local waiting = cxb.task.spawn("slow", ask, "/slow")
    assert.same({ 200, { ok = true } }, { ask("/quick") })
    local status, body = waiting:wait(30000)
    assert.same({ 504, "upstream_timeout" }, { status, body.error })
    assert.same({ ["/slow"] = "cancelled" }, (select(2, ask("/ended"))))
  end)
end)
