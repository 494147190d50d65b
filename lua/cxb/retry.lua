-- Tries again what may succeed later.
local M = {}

---(waits) Calls fn until its first result is not nil, at most #delays + 1 times, sleeping between.
---@param delays number[] milliseconds before the second, third, … attempt
---@param fn fun(attempt: integer): any, string?, string?
---@param again? fun(code: string?): boolean whether this failure is worth another attempt
function M.call(delays, fn, again)
  for attempt = 1, #delays + 1 do
    local value, code, message = fn(attempt)
    if value ~= nil then
      return value, code, message
    end
    if attempt > #delays or (again and not again(code)) then
      return nil, code, message
    end
    if not cxb.time.sleep(delays[attempt]) and cxb.task.self == nil then
      return nil, "cancelled"
    end
  end
end

return M
