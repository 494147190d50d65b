-- Processes by id, told apart from a later one of the same id by their start time.

local M = {}

---Start time in clock ticks since boot; nil when there is no such process (or it is a zombie).
---@param pid integer
---@return string?
function M.started(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if not file then return nil end
  local text = file:read("*a") or ""
  file:close()
  local state, rest = text:match("^%d+ %(.*%) (%a) (.*)$")
  if not state or state == "Z" or state == "X" then return nil end
  local n = 3
  for field in rest:gmatch("%S+") do
    n = n + 1
    if n == 22 then return field end
  end
end

---Whether the process that was recorded still lives.
---@param record {pid: integer, started: string}
function M.alive(record)
  return record.pid ~= nil and M.started(record.pid) == record.started
end

---(waits) Until none of the records lives, or the time is over.
---@return table[] those that still live
function M.wait_gone(records, timeout_ms)
  local deadline = cxb.time.mono() + timeout_ms
  while true do
    local left = {}
    for _, record in ipairs(records) do
      if M.alive(record) then left[#left + 1] = record end
    end
    if #left == 0 or cxb.time.mono() >= deadline then return left end
    cxb.time.sleep(20)
  end
end

return M
