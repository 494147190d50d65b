-- How long a new generation takes: SIGHUP until the worker says that it serves, idle and with a call.
--   build/cxbrt spec/bench/reload.lua

local caller = require("cxbctl.caller")
local procs = require("support.procs")
local support = require("support.world")

local times = 30
local world = support.new()
local function say(form, ...) cxb.process.print(form:format(...) .. "\n") end

local function start_worker()
  local dir = world:folder()
  local process = world:start({ support.program, "core.lua" }, { CXB_RUN_DIR = dir,
    CXB_STATE_DIR = dir, CXB_LISTEN = "unix:" .. dir .. "/core-1.sock", CXBCORE_WORKERS = "1",
    CXB_WORKER_ID = "1", CXB_DEV = "1", CXB_LOG_LEVEL = "warn" })
  local worker = { dir = dir, process = process, socket = dir .. "/core-1.sock:" }
  support.wait_until("the worker", function()
    return support.get_json("http+unix:" .. worker.socket .. "/health")
  end, 20000)
  return worker
end

local function health(worker)
  return assert(support.get_json("http+unix:" .. worker.socket .. "/health"))
end

-- The worker is asked again and again, so it works a little more than it would.
local function reload(worker)
  local before = health(worker).generation
  local began = cxb.time.mono()
  cxb.process.kill(worker.process.pid, "HUP")
  while health(worker).generation == before do
    assert(cxb.time.mono() - began < 20000, "no new generation")
    cxb.time.sleep(1)
  end
  return cxb.time.mono() - began
end

local function measure(worker, what)
  local took, cpu = {}, procs.cpu_ms(worker.process.pid)
  for i = 1, times do
    took[i] = reload(worker)
  end
  cpu = (procs.cpu_ms(worker.process.pid) - cpu) / times
  say("= HUP to new generation, %s: p50 %.0f ms, p95 %.0f ms of %d (aim ≤ 50); %.0f ms of CPU", what,
    procs.quantile(took, 0.5), procs.quantile(took, 0.95), times, cpu)
end

local ok, why = xpcall(function()
  local worker = start_worker()
  measure(worker, "idle")
  local rate = caller.rate("twilio")
  local call = caller.new({ transport = "twilio", bot = "echo", url = "ws+unix:" .. worker.socket,
    lines = { { pcm = ("\0"):rep(rate * 2 * 20), name = "silence" } }, patience_ms = 500 })
  local handle = cxb.task.spawn("call", function() return call:run(60000) end)
  support.wait_until("the call", function() return health(worker).worker_calls == 1 end, 20000)
  measure(worker, "in a call")
  handle:wait(60000)
  worker.process:stop(30000)
end, debug.traceback)
world:close()
if not ok then
  io.stderr:write(tostring(why), "\n")
  return 1
end
return 0
