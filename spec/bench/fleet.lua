-- What GET /health/fleet costs a worker while the host's other 63 workers are busy, against
-- GET /health of the same worker in the same run.

local support = require("support.world")
local procs = require("support.procs")

local WORKERS, ASKED = 64, 2000

-- A row of the scoreboard whose slot is taken.
local BUSY = [[
local id = tonumber(cxb.args[1])
return { name = "busy", listen = { { addr = ("unix:%s/busy-%%d.sock"):format(id) } },
  guard = { { prefix = "/call", upgrade = false } },
  start = function() assert(cxb.scoreboard.attach("%s/scoreboard", id, %d)) end,
  http = function(req) req:respond(200, "{}") cxb.time.sleep(600000) end }
]]

local world = support.new()
local dir = world:folder()
world:write(dir .. "/busy.lua", BUSY:format(dir, dir, WORKERS))
for id = 2, WORKERS do
  world:start({ support.program, dir .. "/busy.lua", tostring(id) })
end
for id = 2, WORKERS do
  local socket = ("%s/busy-%d.sock"):format(dir, id)
  support.wait_until("worker " .. id, function() return support.accepts(socket) end, 60000)
  assert(cxb.http.request({ url = "http+unix:" .. socket .. ":/call", method = "POST" }))
end
local socket = dir .. "/core-1.sock"
world:service("core.lua", { CXB_DEV = "1", CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
  CXB_LISTEN = "unix:" .. socket, CXBCORE_WORKERS = tostring(WORKERS) }, socket)

local function times(path)
  local list, body = {}, nil
  for i = 1, ASKED do
    local began = cxb.time.mono()
    body = assert(cxb.http.request({ url = "http+unix:" .. socket .. ":" .. path })).body
    list[i] = cxb.time.mono() - began
  end
  return list, body
end

times("/health") -- connections and caches
local plain = times("/health")
local fleet, body = times("/health/fleet")
assert(body:find('"fleet_calls":63,"fleet_max":64,"fleet_available":1', 1, true), body)
local p50, p99 = procs.quantile(fleet, 0.5), procs.quantile(fleet, 0.99)
local base = procs.quantile(plain, 0.5)
print(("GET /health         p50 %.3f ms, p99 %.3f ms"):format(base, procs.quantile(plain, 0.99)))
print(("GET /health/fleet   p50 %.3f ms, p99 %.3f ms, %d bytes"):format(p50, p99, #body))
print(("= /health/fleet with 63 busy workers, request and answer: %.2f ms, %.2f ms beside /health (aim 0.2, limit 1)")
  :format(p50, p50 - base))
for _, p in ipairs(world.running) do p:kill("KILL") end -- their calls would be waited for
world:close()
return 0
