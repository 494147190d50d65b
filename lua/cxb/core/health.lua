-- GET /health and /health/fleet: exact bytes (core spec §10); checks outside match them as text.
local json = require("cxb.json")

local M = {}

---@param f table the fields by their names, worker_pid as `pid`; total_available is worked out
---@return string
function M.worker(f)
  return ('{"status":"ok","worker_calls":%d,"worker_max":%d,"total_capacity":%d,'
    .. '"total_available":%d,"workers":%d,"worker_id":"%s","worker_pid":%d,"draining":%s,'
    .. '"generation":%d,"reload":"%s","reload_error":%s,"version":"%s"}'):format(
    f.worker_calls, f.worker_max, f.total_capacity, f.total_capacity - f.worker_calls, f.workers,
    f.worker_id, f.pid, tostring(f.draining), f.generation, f.reload,
    json.encode(f.reload_error or ""), f.version)
end

---What the workers of the host add up to. `cap` > 0 limits `available`; a host that drains has
---none.
---@param rows table[] cxb.scoreboard.rows()
---@param cap? integer
---@param draining? boolean the whole host
---@return {calls: integer, max: integer, available: integer}
function M.sums(rows, cap, draining)
  local calls, max, available = 0, 0, 0
  for _, row in ipairs(rows) do
    if row.live then
      calls, max = calls + row.calls, max + row.max
      if not row.draining and row.disk ~= false then
        available = available + math.max(0, row.max - row.calls)
      end
    end
  end
  available = draining and 0 or math.min(available, max)
  if cap and cap > 0 then
    available = math.min(available, cap)
  end
  return { calls = calls, max = max, available = available }
end

---Rows of the scoreboard as the fleet's answer.
---@param rows table[] cxb.scoreboard.rows()
---@param cap? integer
---@param draining? boolean
---@return string
function M.fleet(rows, cap, draining)
  local list = {}
  for i, row in ipairs(rows) do
    list[i] = row.live and ('{"id":"%d","calls":%d,"max":%d,"pid":%d}'):format(row.id, row.calls,
      row.max, row.pid) or ('{"id":"%d","status":"unreachable"}'):format(row.id)
  end
  local sums = M.sums(rows, cap, draining)
  return ('{"status":"ok","fleet_calls":%d,"fleet_max":%d,"fleet_available":%d,"workers":[%s]}')
    :format(sums.calls, sums.max, sums.available, table.concat(list, ","))
end

return M
