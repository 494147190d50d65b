-- How a stream of live events goes on and ends by itself, against the pipeline in a process of its
-- own whose times are short.
local World = require "support.world"
local json = require "cxb.json"

local SERVICE = [[
cxb.metrics.declare({
  { name = "cxb_api_requests_total", type = "counter", help = "h" },
  { name = "cxb_api_request_seconds", type = "histogram", help = "h", buckets = { 1 } },
  { name = "cxb_sse_streams", type = "gauge", help = "h" },
})
local guards = require("services.identity.guards")
local pipeline = require("services.web.pipeline")
local sse = require("services.web.sse")
local times = require("cxb.json").decode(cxb.args[2])
for name, value in pairs(times) do sse.times[name] = value end
local cache = require("cxb.cache").open({ prefix = "life:" })
local app = { ready = true, trusted_proxies = {}, streams = {},
  settings = { CXB_RATE_SCALE = 0, CXB_CORS_ORIGINS = {} } }
require("services.system.caches").use(app, cache, cache)
local rank, overtaken = 2, false
local script = cache.script
function cache.script(self, name, ...)
  if overtaken and name == "busy" then
    overtaken = false
    sse.end_all(app, "reload")
  end
  return script(self, name, ...)
end
guards.flip = function()
  return rank and { kind = "user", id = "u", rank = rank }, { status = 401, code = "gone" }
end
local function get(path, guard, handler)
  return { verb = "GET", path = path, guard = guard, handler = handler }
end
return {
  name = "streams", listen = { { addr = "unix:" .. cxb.args[1] } },
  http = pipeline.server(app, {
    get("/stream", "flip", function(ctx)
      return ctx:sse({ "calls" }, { authorise = function(who) return who.rank >= 2 end })
    end),
    get("/overtake", "open", function()
      overtaken = true
      return { body = {} }
    end),
    get("/rank/{rank}", "open", function(ctx)
      rank = tonumber(ctx.params.rank)
      return { body = {} }
    end),
  }),
}
]]

describe("a stream of live events", function()
  local world, socket
  before_each(function() world = World.new() end)
  after_each(function() world:close() end)

  local function start(times)
    local dir = world:folder()
    world:write(dir .. "/service.lua", SERVICE)
    socket = dir .. "/s.sock"
    world:service(dir .. "/service.lua", { PATH = cxb.process.env("PATH"), CXB_ROOT = cxb.root },
      socket, { socket, json.encode(times) })
  end

  -- The text of the stream so far, and its status once it ended.
  local function read()
    local page = { text = "" }
    page.task = cxb.task.spawn("page", function()
      local answer = cxb.http.request({ url = ("http+unix:%s:/stream"):format(socket),
        timeout_ms = 120000, on_data = function(piece) page.text = page.text .. piece end })
      page.ended, page.status = true, answer and answer.status
    end)
    World.wait_until("the stream", function() return page.text:find("snapshot", 1, true) end)
    return page
  end

  local function set_rank(rank)
    assert(cxb.http.request({ url = ("http+unix:%s:/rank/%s"):format(socket, rank) }))
  end

  it("pings while nothing happens, and ends when its time is over", function()
    start({ ping = 20 })
    local page = read()
    World.wait_until("pings", function()
      return select(2, page.text:gsub(": ping\n\n", "")) >= 2
    end)
    assert.is_nil(page.ended)
    page.task:cancel()
    start({ life = 100 })
    page = read()
    World.wait_until("the end", function() return page.ended end)
    assert.equal(200, page.status)
    assert.truthy(page.text:match('event: bye\ndata: {"reason":"time"}\n\n$'))
  end)

  it("ends for who may not read it any more: another role, or no session", function()
    start({ check = 50 })
    for _, rank in ipairs({ 1, "none" }) do
      local page = read()
      set_rank(rank)
      World.wait_until("the end", function() return page.ended end)
      assert.truthy(page.text:match('event: bye\ndata: {"reason":"forbidden"}\n\n$'))
      set_rank(2)
    end
  end)

  it("that a reload overtakes as it begins is refused, so that it keeps no old generation", function()
    start({})
    assert(cxb.http.request({ url = ("http+unix:%s:/overtake"):format(socket) }))
    for _ = 1, 2 do
      local answer = assert(cxb.http.request({ url = ("http+unix:%s:/stream"):format(socket) }))
      assert.equal(503, answer.status)
      assert.equal("1", answer.headers["retry-after"])
      assert.matches("shutting_down", answer.body, 1, true)
    end
  end)

  it("goes on for who may", function()
    start({ check = 10, ping = 30 })
    local page = read()
    World.wait_until("some looks", function()
      return select(2, page.text:gsub(": ping", "")) >= 10
    end)
    assert.is_nil(page.ended)
    page.task:cancel()
  end)
end)
