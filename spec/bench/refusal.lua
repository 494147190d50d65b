-- How long a start request takes to be refused while every worker has a call: at the worker, and
-- through the front, which asks them all.

local CoreHost = require("support.core_host")
local World = require("support.world")
local front_of = require("support.front")
local procs = require("support.procs")

local WORKERS, ASKED = 16, 500
local PATHS = { "/livekit/dialout", "/attach", "/livekit/widget" }

local world = World.new()
local host = CoreHost.new(world, { workers = WORKERS })
local front = front_of.start(world, { workers = WORKERS, started = 0, dir = host.dir })
local calls = {}
for n = 1, WORKERS do
  host:start(n)
  calls[n] = assert(host:call(n))
end

local function times(base)
  local list = {}
  for i = 1, ASKED do
    local began = cxb.time.mono()
    local answer = assert(cxb.http.request({ method = "POST", url = base .. PATHS[i % #PATHS + 1],
      body = "{}", headers = { ["x-cxb-core-secret"] = CoreHost.SECRET } }))
    list[i] = cxb.time.mono() - began
    assert(answer.status == 429 and answer.body:find("at_capacity", 1, true), answer.body)
  end
  return list
end

for _, place in ipairs({
  { "at the worker", "http+unix:" .. host:socket(1) .. ":", "aim 2, limit 5" },
  { ("through the front, %d workers"):format(WORKERS), front.url, "aim 20, limit 100" },
}) do
  times(place[2]) -- connections and caches
  local list = times(place[2])
  print(("= refusal %s: p50 %.2f, p99 %.2f ms (%s)"):format(place[1], procs.quantile(list, 0.5),
    procs.quantile(list, 0.99), place[3]))
end
for _, d in ipairs(calls) do d:hangup() end
world:close()
return 0
