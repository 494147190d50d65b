-- Work that somebody waits for in another task: when it fails by a mistake, the waiter is told
-- before the error goes on to the log.

---(waits) Calls fn(...); should it raise, on_error() first and then the error again.
---@param on_error fun(message: string)
---@param fn function
return function(on_error, fn, ...)
  local args, n = { ... }, select("#", ...)
  local ok, message = xpcall(function()
    return fn(unpack(args, 1, n))
  end, function(err)
    return debug.traceback(tostring(err), 2)
  end)
  if not ok then
    on_error(message)
    error(message, 0)
  end
end
