-- The outboxes this process holds: its own, and those of lost workers it looks after.
local outgoing = require("cxb.core.outgoing")

local M = {}

---Outboxes this process holds, by the worker whose they are: its own and those it looks after.
---@type table<integer, cxb.outbox.box>
M.boxes = {}

---The outbox of this worker.
---@type cxb.outbox.box?
M.box = nil

function M.path(c, worker)
  return ("%s/outbox-%d.db"):format(c.CXB_STATE_DIR, worker)
end

---(waits) Workers that have an outbox on this host, living or not.
---@return integer[]
function M.all(c)
  local list = {}
  for _, name in ipairs(cxb.fs.list(c.CXB_STATE_DIR) or {}) do
    list[#list + 1] = tonumber(name:match("^outbox%-(%d+)%.db$"))
  end
  return list
end

---(waits) Opens the outbox of a worker.
---@param c table settings
---@param worker integer
---@param adopted? boolean its process is gone
---@return cxb.outbox.box?, string? code "busy": another process holds it, string? message
function M.open(c, worker, adopted)
  local path = M.path(c, worker)
  local box, code, message = cxb.outbox.open(path, {
    retain_days = 7, adopted = adopted, s3 = c.s3,
    keep_files_ms = c.CXB_KEEP_RECORDINGS_HOURS * 3600000,
    headers = function(row)
      return outgoing.delivery(c, row)
    end,
  })
  if not box then
    return nil, code, ("outbox %s: %s"):format(path, message or code)
  end
  M.boxes[worker] = box
  M.box = worker == c.worker and box or M.box
  return box
end

---The outboxes this process holds now: a list, for whoever waits while he walks over it.
---@return {worker: integer, box: cxb.outbox.box}[]
function M.held()
  local list = {}
  for worker, box in pairs(M.boxes) do
    list[#list + 1] = { worker = worker, box = box }
  end
  table.sort(list, function(a, b)
    return a.worker < b.worker
  end)
  return list
end

---Counts of all outboxes this process holds.
---@return table as box:stats()
function M.stats()
  local sum = { analysis = 0, ready = 0, sending = 0, dead = 0, oldest_age_seconds = 0 }
  for _, box in pairs(M.boxes) do
    for name, value in pairs(box:stats()) do
      sum[name] = name == "oldest_age_seconds" and math.max(sum[name], value) or sum[name] + value
    end
  end
  return sum
end

---(waits ≤ ms) Tries what is due once more, before the process ends.
function M.flush(ms)
  local tasks = {}
  for i, held in ipairs(M.held()) do
    tasks[i] = cxb.task.spawn("flush " .. held.worker, function()
      held.box:flush(ms)
    end)
  end
  for _, task in ipairs(tasks) do
    task:wait()
  end
end

---(waits) Rows of all outboxes this process holds; an id is "<worker>-<row>".
---@param state? string
---@param limit integer
---@return table[]
function M.list(state, limit)
  local items = {}
  for _, held in ipairs(M.held()) do
    local rows = limit > #items and held.box:list(state, limit - #items)
    for _, item in ipairs(rows or {}) do
      item.id = ("%d-%d"):format(held.worker, item.id)
      items[#items + 1] = item
    end
  end
  return items
end

return M
