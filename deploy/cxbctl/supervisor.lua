-- Children that are kept alive: started again 200 ms after they ended, then later and later, until
-- they have been up for ten seconds. Each is a session of its own, so that a Ctrl-C in the terminal
-- reaches cxbctl only, which then stops them in order.

local logs = require("cxbctl.logs")
local pids = require("cxbctl.pids")

local M = {}
local supervisor = {}
supervisor.__index = supervisor

local FIRST_MS, LAST_MS, STEADY_MS = 200, 5000, 10000
local NEVER_AGAIN = 78 -- the service says that a restart will not help

---@param opts table log_dir, on_line(name, line), on_change(), private?(name, line): whether a line
---is kept from log and view
function M.new(opts)
  return setmetatable({ opts = opts, children = {}, order = {} }, supervisor)
end

-- Everything the child writes goes to its log file and to the view, until both pipes end.
local function follow(self, child, log)
  while true do
    local line = child.process:line()
    if not line then return end
    if not (self.opts.private and self.opts.private(child.name, line)) then
      log:write(line)
      child.last = line
      self.opts.on_line(child.name, line)
    end
  end
end

local function run_once(self, child, log)
  local service = child.service
  local process, code, message = cxb.process.spawn({
    args = service.args, env = service.env, capture = true, detached = true,
  })
  if not process then return ("could not start: %s"):format(message or code) end
  child.process, child.pid, child.started = process, process.pid, pids.started(process.pid)
  child.state, child.since = "running", cxb.time.mono()
  self.opts.on_change()
  local reader = cxb.task.spawn(child.name .. " log", follow, self, child, log)
  local exit_code, signal = process:wait()
  reader:wait(1000)
  child.pid, child.process = nil, nil
  child.exit_code = signal == 0 and exit_code or nil
  return child.exit_code and ("ended with %d"):format(exit_code)
    or ("ended by signal %s"):format(tostring(signal))
end

local function supervise(self, child, log)
  local pause = FIRST_MS
  repeat
    local why = run_once(self, child, log)
    if child.stopping then break end
    if child.exit_code == NEVER_AGAIN then
      child.state = "failed"
      self.opts.on_line(child.name, ("%s %s; it will not be started again"):format(child.name, why))
      self.opts.on_change()
      log:close()
      return
    end
    if child.since and cxb.time.mono() - child.since > STEADY_MS then pause = FIRST_MS end
    child.restarts, child.state = child.restarts + 1, "restarting"
    self.opts.on_change()
    if child.exit_code ~= 0 or not child.since then
      self.opts.on_line(child.name, ("%s %s; again in %d ms"):format(child.name, why, pause))
    end
    cxb.time.sleep(pause)
    pause = math.min(LAST_MS, pause * 2)
  until child.stopping
  child.state = "stopped"
  log:close()
  self.opts.on_change()
end

---Starts a service and keeps it.
---@param service {name: string, args: string[], env: table<string, string>}
---@return true?, string? why
function supervisor:add(service)
  local log, why = logs.open(("%s/%s.log"):format(self.opts.log_dir, service.name))
  if not log then return nil, why end
  local child = { name = service.name, service = service, restarts = 0, state = "starting" }
  self.children[service.name] = child
  self.order[#self.order + 1] = child
  cxb.task.spawn(service.name, supervise, self, child, log)
  return true
end

---(waits) Until the service is ready, or has ended, or the time is over in which it neither is
---ready nor says that it works on it.
---@param interrupted? fun(): boolean gives up at once
---@return true?, string? why
function supervisor:wait_ready(name, timeout_ms, interrupted)
  local child, deadline = self.children[name], cxb.time.mono() + timeout_ms
  local why = "did not answer"
  while cxb.time.mono() < deadline do
    if interrupted and interrupted() then return nil, "was interrupted" end
    if child.restarts > 0 or child.state == "failed" or child.state == "stopped" then
      return nil, ("ended at its start: %s"):format(child.last or "it wrote nothing")
    end
    if child.pid then
      local ready, reason, working = child.service.ready()
      if ready then return true end
      if working == true then deadline = cxb.time.mono() + timeout_ms end
      why = reason or why
    end
    cxb.time.sleep(20)
  end
  return nil, ("was not ready after %d s: %s"):format(timeout_ms / 1000, why)
end

---Signals the named children and marks them as not to be started again.
function supervisor:signal(match, signal)
  for _, child in ipairs(self.order) do
    if child.name:match(match) then
      child.stopping = true
      if child.process then child.process:kill(signal) end
    end
  end
end

---(waits) Until the named children have ended; true when they have.
---@param interrupted? fun(): boolean gives up at once
function supervisor:wait_stopped(match, timeout_ms, interrupted)
  local deadline = cxb.time.mono() + timeout_ms
  repeat
    local alive = false
    for _, child in ipairs(self.order) do
      if child.name:match(match) and child.state ~= "stopped" and child.state ~= "failed" then
        alive = true
      end
    end
    if not alive then return true end
    cxb.time.sleep(20)
  until cxb.time.mono() >= deadline or (interrupted and interrupted())
  return false
end

---@return table[] {name, pid, started, state, restarts}
function supervisor:records()
  local out = {}
  for i, child in ipairs(self.order) do
    out[i] = { name = child.name, pid = child.pid, started = child.pid and child.started,
      state = child.state, restarts = child.restarts }
  end
  return out
end

return M
