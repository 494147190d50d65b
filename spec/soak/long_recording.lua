-- One long call, recorded: flat memory, a file that is whole, served byte-exact by ranges.
--   cxbrt spec/soak/long_recording.lua MINUTES      (60: the hour of the acceptance list)
-- Prints the worker's memory once a minute; exit 1 when it grows, or the recording is wrong.

package.path = cxb.root .. "/spec/?.lua;" .. package.path

local json = require("cjson.safe")
local CoreHost = require("support.core_host")
local World = require("support.world")
local fault_call = require("soak.fault_call")
local verify = require("soak.fault_verify")

local minutes = tonumber(cxb.args[1])
if not minutes then
  io.stderr:write("usage: cxbrt spec/soak/long_recording.lua MINUTES\n")
  return 2
end

local GROWTH_KB, TOLERANCE_MS = 2048, 200

local function rss_kb(pid)
  for line in io.lines("/proc/" .. pid .. "/status") do
    local kb = line:match("^VmRSS:%s+(%d+)")
    if kb then return tonumber(kb) end
  end
end

local function say(text, ...)
  cxb.process.print("# " .. text:format(...) .. "\n")
end

-- (waits) Pieces of the file as the worker serves them are the file's own bytes.
local function ranges_exact(host, key, path)
  local file = assert(io.open(path, "rb"))
  local size = file:seek("end")
  for _, name in ipairs({ key, (key:gsub("^recordings/", "")), (key:match("[^/]*$")) }) do
    for _, at in ipairs({ 0, math.floor(size / 2), size - 1000 }) do
      local answer = assert(cxb.http.request({
        url = "http+unix:" .. host:socket(1) .. ":/recordings/" .. name,
        headers = { range = ("bytes=%d-%d"):format(at, at + 999),
          ["x-cxb-core-secret"] = CoreHost.SECRET } }))
      file:seek("set", at)
      if answer.status ~= 206 or answer.body ~= file:read(1000) then return false end
    end
  end
  file:close()
  return true
end

local world = World.new()
local ok, code = pcall(function()
  local host = CoreHost.new(world, { env = { CXB_LOG_LEVEL = "error" } })
  host:start(1)
  local caller = cxb.task.spawn("call", fault_call.run, host:socket(1), "echo", "long",
    minutes * 60000, true)
  cxb.time.sleep(30000)
  local first = rss_kb(host.workers[1].pid)
  local most = first
  for minute = 1, minutes - 1 do
    cxb.time.sleep(60000)
    local kb = rss_kb(host.workers[1].pid)
    most = math.max(most, kb)
    say("minute %d: %d KiB", minute, kb)
  end
  caller:wait()
  local result = json.decode(host:delivery(1, 60000).body)
  local path = host.state .. "/" .. result.recording_key
  local ms = assert(verify.playable_ms(path))
  local short = result.call_duration_seconds * 1000 - ms
  local exact = ranges_exact(host, result.recording_key, path)
  say("%.1f s recorded of %.1f s; memory %d KiB, at most %d KiB; ranges %s", ms / 1000,
    result.call_duration_seconds, first, most, exact and "exact" or "WRONG")
  local whole = math.abs(short) <= TOLERANCE_MS
    and result.call_duration_seconds >= minutes * 60 - 1
  return most - first <= GROWTH_KB and whole and exact and 0 or 1
end)
if not ok then say("FAILED: %s", tostring(code)) end
world:close()
return ok and code or 1
