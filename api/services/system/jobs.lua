-- Background work (api.md §6). Every file of api/jobs/ is one job:
--   {name = "sweep", every_ms = 300000, run = function(app) … end}
-- run may answer nil, err or raise: that is logged and counted, and it runs again at its next time.
-- A job runs in one process at a time: the one that holds its document in `locks` by a lease of
-- 15 s, renewed every 5 s while the process lives. `everywhere = true`: in every process, which
-- then share the work by leases of their own. `system_runtime` remembers the last success, so a
-- restart neither repeats nor skips the day's work.
local M = {}
M.__index = M

local LEASE_MS, RENEW_MS = 15000, 5000
local REMEMBER_MS = 60000 -- the least between two notes of a frequent job's success
local SLACK_MS = 200 -- timers are not exact; a job is not put off by a whole period for that

local metrics = {
  { name = "cxb_job_last_success_timestamp_seconds", type = "gauge",
    help = "When a job last did its work." },
  { name = "cxb_job_failures_total", type = "counter", help = "Runs of a job that failed." },
}

---(waits) The jobs there are, by name.
---@return table[]
function M.load(folder)
  cxb.metrics.declare(metrics)
  local names = assert(cxb.fs.list(folder or cxb.root .. "/api/jobs"))
  table.sort(names)
  local list = {}
  for _, file in ipairs(names) do
    local name = file:match("^([%w_]+)%.lua$")
    if name then
      local job = require("jobs." .. name)
      if type(job.name) ~= "string" or type(job.every_ms) ~= "number" or not job.run then
        error(("api/jobs/%s: a job has name, every_ms and run"):format(file))
      end
      list[#list + 1] = job
    end
  end
  return list
end

---@param app table
---@param list table[] as load() gives them
function M.new(app, list)
  local self = setmetatable({ app = app, states = {}, stopped = false }, M)
  self.owner = ("%d-%d-%s"):format(cxb.process.pid, cxb.generation,
    cxb.crypto.hex(cxb.crypto.random(4)))
  for i, job in ipairs(list) do
    self.states[i] = { job = job }
    self.states[job.name] = self.states[i]
  end
  return self
end

-- When this job is due, from what was remembered of it.
local function read_memory(self, state)
  local memory, err = self.app.store:get("system_runtime", state.job.name)
  if not memory and err.code ~= "not_found" then
    return nil, err
  end
  local last = memory and memory.last_run_at
  state.remembered = last
  state.due = last and math.min(last + state.job.every_ms, cxb.time.now() + state.job.every_ms)
    or cxb.time.now()
  if last then
    cxb.metrics.set("cxb_job_last_success_timestamp_seconds", { job = state.job.name }, last / 1000)
  end
  return true
end

local function keep(self, state, now)
  local kept, err = self.app.store:update("locks", state.job.name,
    { set = { ["lease.until"] = now + LEASE_MS } },
    { expect = { ["lease.token"] = state.token } })
  if kept then
    state.until_ms = now + LEASE_MS
  elseif err.code ~= "unavailable" or now >= state.until_ms then
    state.token = nil -- while the store is away the lease still runs
  end
  return state.token ~= nil
end

local function take(self, state, now)
  local store, name = self.app.store, state.job.name
  if not state.made then
    state.made = store:upsert("locks", { _id = name }, { on_insert = {} }) ~= nil
  end
  local taken = store:lease("locks", { _id = name }, { owner = self.owner, ttl_ms = LEASE_MS })
  if not taken or not taken[1] then
    return false
  end
  state.token, state.until_ms = taken[1].lease.token, now + LEASE_MS
  return read_memory(self, state)
end

-- Whether the lock is ours: takes or renews it.
local function hold(self, state)
  local now = cxb.time.now()
  if not state.token then
    return take(self, state, now)
  end
  return now < state.until_ms - (LEASE_MS - RENEW_MS) or keep(self, state, now)
end

local function release(self, state)
  if state.token then
    self.app.store:update("locks", state.job.name, { set = { ["lease.until"] = 0 } },
      { expect = { ["lease.token"] = state.token } })
    state.token = nil
  end
end

local function succeeded(self, state, at)
  local name = state.job.name
  cxb.metrics.set("cxb_job_last_success_timestamp_seconds", { job = name }, at / 1000)
  local rare = state.job.every_ms >= REMEMBER_MS
  if rare or not state.remembered or at - state.remembered >= REMEMBER_MS then
    state.remembered = at
    self.app.store:upsert("system_runtime", { _id = name }, { set = { last_run_at = at } })
  end
end

local function work(self, state)
  local job, from = state.job, cxb.time.now()
  local ok, value, err = xpcall(job.run, debug.traceback, self.app)
  state.due = from + job.every_ms
  if ok and (value ~= nil or err == nil) then
    return succeeded(self, state, from)
  end
  local why = not ok and value or type(err) == "table" and (err.message or err.code) or err
  cxb.metrics.count("cxb_job_failures_total", { job = job.name })
  cxb.log.error("job failed", { job = job.name, error = tostring(why) })
end

---(waits) One look at a job: its lock, then its work when that is due.
---@param name string
---@param now? boolean due or not
function M:tick(name, now)
  local state = self.states[name]
  if self.stopped or not (state.job.everywhere or hold(self, state)) then
    return
  end
  if state.busy then
    state.again = state.again or now
    return
  end
  if not now and state.due and cxb.time.now() + SLACK_MS < state.due then
    return
  end
  state.busy = true
  repeat
    state.again = false
    work(self, state)
  until not state.again or self.stopped
  state.busy = false
  if self.stopped then
    release(self, state)
  end
end

---(waits) Keeps the lock of a job that runs long.
function M:renew(name)
  local state = self.states[name]
  if state.busy and state.token then
    hold(self, state)
  end
end

---Something happened that a job waits for: it runs soon, in this process if it may.
function M:wake(name)
  local state = self.states[name]
  if state and not self.stopped and not state.woken then
    state.woken = true
    cxb.task.spawn(name, function()
      state.woken = false
      self:tick(name, true)
    end)
  end
end

---(waits) Begins; until stop().
function M:start()
  for _, state in ipairs(self.states) do
    local name = state.job.name
    cxb.task.every(math.min(state.job.every_ms, RENEW_MS), name, function()
      self:tick(name)
    end)
    if not state.job.everywhere then
      cxb.task.every(RENEW_MS, name .. " lock", function()
        self:renew(name)
      end)
    end
  end
end

---(waits) No job begins any more; locks are let go, that of a running job when it has ended.
function M:stop()
  self.stopped = true
  for _, state in ipairs(self.states) do
    if not state.busy then
      release(self, state)
    end
  end
end

return M
