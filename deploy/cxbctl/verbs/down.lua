-- cxbctl down: stops what `cxbctl up` started here, also when that process itself is gone.

local paths = require("cxbctl.paths")
local pids = require("cxbctl.pids")

local M = {
  summary = "stop what `cxbctl up` started here",
  example = "cxbctl down --now",
  options = { { name = "now", help = "do not wait for calls to end" } },
}

local DRAIN_MS, NOW_MS = 25000, 5000

local function signal(records, name)
  for _, record in ipairs(records) do
    if pids.alive(record) then cxb.process.kill(record.pid, name) end
  end
end

local function with_pid(list)
  local out = {}
  for _, record in ipairs(list) do
    if record.pid then out[#out + 1] = record end
  end
  return out
end

local function remove_sockets(run_dir)
  for _, dir in ipairs({ run_dir .. "/ctl", run_dir }) do
    for _, name in ipairs(cxb.fs.list(dir) or {}) do
      if name:match("%.sock$") then cxb.fs.remove(dir .. "/" .. name) end
    end
  end
  cxb.fs.remove(paths.up_file(run_dir))
end

function M.run(options, _, out)
  local run_dir = paths.run_dir()
  local up = paths.read_up(run_dir)
  if not up then
    if out.json then out:object({ ok = true, stopped = 0 }) end
    out:say("nothing runs in " .. run_dir)
    return 0
  end
  local services = with_pid(up.services)
  local left
  if pids.alive(up) then
    cxb.process.kill(up.pid, "TERM")
    if options.now then cxb.process.kill(up.pid, "TERM") end
    left = pids.wait_gone({ up }, DRAIN_MS)
  else
    signal(services, "TERM")
    if options.now then signal(services, "TERM") end
    left = pids.wait_gone(services, options.now and NOW_MS or DRAIN_MS)
    signal(left, "KILL")
    left = pids.wait_gone(left, NOW_MS)
    remove_sockets(run_dir)
  end
  if #left > 0 then
    out:fail(("%d processes still live"):format(#left), "cxbctl down --now")
    return 3
  end
  if out.json then out:object({ ok = true, stopped = #services }) end
  out:say(("stopped %d processes"):format(#services))
  return 0
end

return M
