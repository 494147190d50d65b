-- What all of `make up` costs, idle and with one call: memory and CPU.
--   build/cxbrt spec/bench/up.lua

local audio = require("cxbctl.audio")
local caller = require("cxbctl.caller")
local platform = require("support.platform")
local procs = require("support.procs")
local support = require("support.world")
local voices = require("support.voices")

local WORKERS = 4
local world = support.new()
local function say(form, ...) cxb.process.print(form:format(...) .. "\n") end

-- A hum and a pause, by turns of half a second.
local function hum(seconds, rate)
  local out = {}
  for n = 0, seconds * rate - 1 do
    local loud = n % rate < rate / 2 and 1 or 0
    local v = math.floor(4000 * math.sin(2 * math.pi * 220 * n / rate) * loud) % 65536
    out[#out + 1] = string.char(v % 256, math.floor(v / 256))
  end
  return table.concat(out)
end

local function memory(pids)
  return procs.sum(pids, procs.pss_kb) / 1024
end

-- Until it changes no more.
local function settled(pids)
  local before = memory(pids)
  support.wait_until("memory at rest", function()
    cxb.time.sleep(500)
    local now = memory(pids)
    local still = math.abs(now - before) < 1
    before = now
    return still
  end, 20000)
  return before
end

local function cpu_percent(pids, seconds)
  local before = procs.sum(pids, procs.cpu_ms)
  cxb.time.sleep(seconds * 1000)
  return (procs.sum(pids, procs.cpu_ms) - before) / (seconds * 10)
end

local function busy(site)
  local fleet = support.get_json(site.url .. "/health/fleet")
  return fleet and fleet.fleet_calls or 0
end

-- One call while the whole is watched: memory near its end, CPU over ten seconds of it.
local function with_call(site, pids, what, bot, pcm)
  local one = caller.new({ transport = "cxb", bot = bot, url = (site.url:gsub("^http", "ws")),
    lines = { { pcm = pcm, name = what } }, patience_ms = bot == "echo" and 500 or nil })
  local handle = cxb.task.spawn("call", function() return one:run(40000) end)
  support.wait_until("the call", function() return busy(site) == 1 end, 20000)
  local percent = cpu_percent(pids, 10)
  say("= one call (%s): %.0f MiB PSS, %.1f %% of one core (aim: 1 vCPU, 1 GB)", what, memory(pids),
    percent)
  handle:wait(60000)
end

local ok, why = xpcall(function()
  local site = platform.up(world, { workers = WORKERS })
  local pids = procs.tree(site.process.pid)
  local idle = settled(pids)
  say("%d workers, %d processes:", WORKERS, #pids)
  for name, pid in pairs(site:pids()) do
    say("  %-8s %6.1f MiB", name, memory(procs.tree(pid)))
  end
  say("= idle, %d workers: %.0f MiB PSS, %.1f %% of one core", WORKERS, idle, cpu_percent(pids, 10))
  local rate = caller.rate("cxb")
  with_call(site, pids, "echo", "echo", hum(14, rate))
  local question = voices.say("rms", "What are your opening hours?", site.dir .. "/question.wav")
  with_call(site, pids, "demo, speech both ways", "demo", assert(audio.read_wav(question, rate)))
  say("  speech after a call %.1f MiB", procs.pss_kb(site:pids().speech) / 1024)
  site.process:stop(30000)
end, debug.traceback)
world:close()
if not ok then
  io.stderr:write(tostring(why), "\n")
  return 1
end
return 0
