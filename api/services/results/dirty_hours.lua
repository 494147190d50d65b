-- Hours whose statistics have to be counted anew: a mark an hour in the `stats` job's document. The
-- current hour and the one before need none: that job counts them each time.
local M = {}

local HOUR_MS = 3600000

---The hour a moment belongs to.
---@return number ms
function M.hour(ms)
  return ms - ms % HOUR_MS
end

---(waits)
---@return true?, table? err
function M.mark(store, hour)
  local doc, err = store:upsert("system_runtime", { _id = "stats" },
    { set = { [("state.h%d"):format(hour)] = cxb.time.now() } })
  return doc and true, err
end

---Whether the hour of a call is counted no more by itself.
---@return boolean
function M.applies(_, call)
  return M.hour(call.started_at) < M.hour(cxb.time.now()) - HOUR_MS
end

---(waits)
function M.of_call(app, call)
  return M.mark(app.store, M.hour(call.started_at))
end

return M
