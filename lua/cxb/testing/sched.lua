-- Tasks on virtual time: spawn, park, sleep as the host's, but the clock jumps to
-- the next thing due as soon as nobody can run.
local M = {}

-- What a task yields that wants something done outside of virtual time.
local OUTSIDE = {}

---Gives `fake` (a cxb table) tasks, and `clock` (its {ms}) the means to run them.
---@return table sched {run(fn, ...), at(ms, fn), outside(fn)}
function M.install(fake, clock)
  local ready, timers, current = {}, {}, nil

  local function make_ready(task, ...)
    ready[#ready + 1] = { n = select("#", ...) + 1, task, ... }
  end

  local function resume(task, ...)
    if task.dead then
      return
    end
    local before = current
    current = task
    local ok, err, fn = coroutine.resume(task.co, ...)
    current = before
    if ok and err == OUTSIDE then
      make_ready(task, fn())
    end
    if coroutine.status(task.co) == "dead" then
      task.dead, task.ok, task.result = true, ok, err
      task.trace = not ok and (tostring(err) .. "\n" .. debug.traceback(task.co))
      if task.joiner then
        task.joiner:unpark()
      end
    end
  end

  local handle = {}
  handle.__index = handle

  local function spawn(name, fn, ...)
    local task = setmetatable({ name = name, co = coroutine.create(fn) }, handle)
    make_ready(task, ...)
    return task
  end

  local function park(timeout)
    local task = current
    local mine = {}
    task.parked = mine
    if timeout then
      timers[#timers + 1] = { at = clock.ms + timeout, fn = function()
        if task.parked == mine then
          task.parked = nil
          resume(task, nil, "timeout")
        end
      end }
    end
    return coroutine.yield()
  end

  function handle:unpark(...)
    if not self.parked then
      return false
    end
    self.parked = nil
    make_ready(self, ...)
    return true
  end

  function handle:wait(timeout)
    while not self.dead do
      self.joiner = current
      local _, why = park(timeout)
      if why == "timeout" then
        return nil, "timeout"
      end
    end
    if self.ok then
      return self.result
    end
    return nil, "error", self.trace
  end

  function handle:cancel()
    self.dead, self.ok = true, true
  end

  fake.task = {
    spawn = spawn, park = park, tag = function() end, every = function() end,
    self = function()
      return current
    end,
  }
  fake.time.sleep = function(ms)
    park(ms)
    return true
  end

  local sched = {}

  ---Calls fn when `ms` from now have passed.
  function sched.at(ms, fn)
    timers[#timers + 1] = { at = clock.ms + ms, fn = fn }
  end

  ---For a task: fn runs in the host's own task, where it may really wait; its results.
  function sched.outside(fn)
    return coroutine.yield(OUTSIDE, fn)
  end

  ---Runs fn as a task until it ends (an hour of virtual time at most) and returns its result.
  function sched.run(fn, ...)
    local task = spawn("spec", fn, ...)
    local limit = clock.ms + 3600000
    while not task.dead do
      local next_ready = table.remove(ready, 1)
      if next_ready then
        resume(unpack(next_ready, 1, next_ready.n))
      else
        local first = 1
        for i = 2, #timers do
          first = timers[i].at < timers[first].at and i or first
        end
        local timer = table.remove(timers, first)
        assert(timer and timer.at <= limit, "the task waits for something that never comes")
        clock.ms = math.max(clock.ms, timer.at)
        timer.fn()
      end
    end
    assert(task.ok, task.trace)
    return task.result
  end

  return sched
end

return M
