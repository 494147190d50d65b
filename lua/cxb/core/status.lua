-- What the service manager shows of a worker (STATUS=): "call 2m13s, generation 4, outbox 0".
local M = {}

---@param seconds number
---@return string "40s", "2m13s", "1h02m"
function M.duration(seconds)
  local s = math.max(0, math.floor(seconds))
  if s < 60 then
    return ("%ds"):format(s)
  elseif s < 3600 then
    return ("%dm%02ds"):format(math.floor(s / 60), s % 60)
  end
  return ("%dh%02dm"):format(math.floor(s / 3600), math.floor(s / 60) % 60)
end

---@class cxb.core.status
---@field draining boolean
---@field call_seconds? number of the call that runs
---@field reload_error? string
---@field generation integer
---@field outbox integer rows not yet delivered

---@param f cxb.core.status
---@return string one line
function M.line(f)
  local parts = {}
  if f.draining then
    parts[#parts + 1] = "draining"
  end
  if f.call_seconds then
    parts[#parts + 1] = "call " .. M.duration(f.call_seconds)
  elseif not f.draining then
    parts[#parts + 1] = "idle"
  end
  if (f.reload_error or "") ~= "" then
    parts[#parts + 1] = "reload failed: " .. f.reload_error:gsub("%c", " ")
  end
  parts[#parts + 1] = ("generation %d, outbox %d"):format(f.generation, f.outbox)
  return table.concat(parts, ", ")
end

return M
