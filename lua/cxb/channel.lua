-- A queue between tasks: any task pushes, one task pops (and waits).
local M = {}
M.__index = M

---@param limit? integer oldest entries are dropped above it (1000)
function M.new(limit)
  return setmetatable({ first = 1, last = 0, limit = limit or 1000, dropped = 0 }, M)
end

function M:push(value)
  self.last = self.last + 1
  self[self.last] = value
  if self.last - self.first >= self.limit then
    self[self.first] = nil
    self.first = self.first + 1
    self.dropped = self.dropped + 1
  end
  local waiter = self.waiter
  if waiter then
    self.waiter = nil
    waiter:unpark(true)
  end
end

---@return any value nil when empty
function M:try_pop()
  if self.first > self.last then
    return nil
  end
  local value = self[self.first]
  self[self.first] = nil
  self.first = self.first + 1
  return value
end

---(waits) The oldest value, or nil, "timeout" | "cancelled".
---@param timeout_ms? number nil: for ever
function M:pop(timeout_ms)
  local deadline = timeout_ms and cxb.time.mono() + timeout_ms
  while self.first > self.last do
    local left = deadline and deadline - cxb.time.mono()
    if left and left <= 0 then
      return nil, "timeout"
    end
    self.waiter = cxb.task.self()
    local ok, why = cxb.task.park(left)
    self.waiter = nil
    if not ok and why == "cancelled" then
      return nil, "cancelled"
    end
  end
  return self:try_pop()
end

function M:clear()
  for i = self.first, self.last do
    self[i] = nil
  end
  self.first, self.last = 1, 0
end

function M:size()
  return self.last - self.first + 1
end

return M
