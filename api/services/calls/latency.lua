-- How quickly a bot answered, as a small number calls can be counted by: 50 ms to a bucket.
local M = {}

local WIDTH_MS, LAST = 50, 200 -- the last holds everything from 10 s on

---@param latency? table of a result: p50_ms, total_avg_response_ms
---@return integer? bucket
function M.bucket(latency)
  local ms = latency and (latency.p50_ms or latency.total_avg_response_ms)
  if type(ms) ~= "number" or ms < 0 then
    return nil
  end
  return math.min(math.floor(ms / WIDTH_MS), LAST)
end

---The middle of a bucket, for percentiles of many calls.
---@return number ms
function M.middle(bucket)
  return (bucket + 0.5) * WIDTH_MS
end

return M
