-- What workers cost: memory idle and with a live call, spawn to ready, /health/fleet with every
-- worker busy.
--   build/cxbrt spec/bench/memory.lua

local caller = require("cxbctl.caller")
local platform = require("support.platform")
local procs = require("support.procs")
local support = require("support.world")

local WORKERS = 8
local world = support.new()
local function say(form, ...) cxb.process.print(form:format(...) .. "\n") end

-- Two seconds of a hum and a pause: enough for VAD, recorder and pacer to be at work.
local function hum(seconds, rate)
  local out = {}
  for n = 0, seconds * rate - 1 do
    local v = math.floor(4000 * math.sin(2 * math.pi * 220 * n / rate) * (n % rate < rate / 2 and 1 or 0))
    v = v < 0 and v + 65536 or v
    out[#out + 1] = string.char(v % 256, math.floor(v / 256))
  end
  return table.concat(out)
end

local function settled_pss(pids)
  local before = procs.sum(pids, procs.pss_kb)
  support.wait_until("memory at rest", function()
    cxb.time.sleep(500)
    local now = procs.sum(pids, procs.pss_kb)
    local still = math.abs(now - before) < 64 * #pids
    before = now
    return still
  end, 20000)
  return before
end

local function call_on(site, n, seconds)
  local rate = caller.rate("twilio")
  local one = caller.new({ transport = "twilio", bot = "echo",
    url = ("ws+unix:%s/run/core-%d.sock:"):format(site.dir, n),
    lines = { { pcm = hum(seconds, rate), name = "hum" } }, patience_ms = 1500 })
  return cxb.task.spawn("call " .. n, function() return one:run((seconds + 10) * 1000) end)
end

local function fleet_latency(url)
  local times = {}
  for n = 1, 200 do
    local began = cxb.time.mono()
    assert(cxb.http.request({ url = url }))
    times[n] = cxb.time.mono() - began
  end
  return procs.quantile(times, 0.5), procs.quantile(times, 0.99)
end

local function busy(site)
  local fleet = support.get_json(site.url .. "/health/fleet")
  return fleet and fleet.fleet_calls or 0
end

local function eight_workers()
  local site = platform.up(world, { workers = WORKERS })
  local workers, pids = {}, site:pids()
  for n = 1, WORKERS do workers[n] = pids["core-" .. n] end
  local idle = settled_pss(workers)
  say("= idle worker, %d side by side: %.1f MiB PSS (aim ≤ 6)", WORKERS, idle / WORKERS / 1024)

  local socket = "http+unix:" .. site.dir .. "/run/core-1.sock:"
  local health = fleet_latency(socket .. "/health")
  local calls = {}
  for n = 1, WORKERS do calls[n] = call_on(site, n, 20) end
  support.wait_until("every worker busy", function() return busy(site) == WORKERS end, 20000)
  local p50, p99 = fleet_latency(socket .. "/health/fleet")
  say("= /health/fleet, %d busy workers, new connection each: p50 %.2f ms, p99 %.2f ms (aim ≤ 1); "
    .. "/health idle p50 %.2f ms", WORKERS, p50, p99, health)
  local live = procs.sum(workers, procs.pss_kb)
  say("= added by a live call: %.2f MiB PSS (aim ≤ 3)", (live - idle) / WORKERS / 1024)
  for _, handle in ipairs(calls) do handle:wait(60000) end
  site.process:stop(30000)
end

local function spawn_to_ready()
  local times, cpu = {}, 0
  for n = 1, 20 do
    local dir = world:folder()
    local env = { CXB_RUN_DIR = dir, CXB_STATE_DIR = dir, CXB_LISTEN = "unix:" .. dir .. "/core-1.sock",
      CXBCORE_WORKERS = "1", CXB_WORKER_ID = "1", CXB_DEV = "1",
      CXBCORE_SECRET = ("s"):rep(32), CXB_API_CONFIG_URL = "http://127.0.0.1:9/api/v1/config" }
    local began = cxb.time.mono()
    local p = world:start({ support.program, "core.lua" }, env)
    local answer
    repeat
      answer = cxb.http.request({ url = "http+unix:" .. dir .. "/core-1.sock:/health" })
      if not answer then cxb.time.sleep(1) end
    until answer or p.ended
    assert(answer, p:output())
    times[n] = cxb.time.mono() - began
    cpu = cpu + procs.cpu_ms(p.pid)
    p:stop()
  end
  say("= spawn to ready: p50 %.1f ms, max %.1f ms (aim ≤ 50); %.0f ms of CPU",
    procs.quantile(times, 0.5), procs.quantile(times, 1), cpu / #times)
end

local ok, why = xpcall(function()
  spawn_to_ready()
  eight_workers()
end, debug.traceback)
world:close()
if not ok then
  io.stderr:write(tostring(why), "\n")
  return 1
end
return 0
