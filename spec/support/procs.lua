-- What processes cost: memory in proportion to what they share, CPU time.

local M = {}

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

---Proportional set size, KiB: what the process holds, shared pages divided by their users.
---@return number?
function M.pss_kb(pid)
  local text = read(("/proc/%d/smaps_rollup"):format(pid))
  return text and tonumber(text:match("\nPss:%s+(%d+) kB"))
end

---CPU time used so far, ms (Linux counts in hundredths of a second).
---@return number?
function M.cpu_ms(pid)
  local text = read(("/proc/%d/stat"):format(pid))
  local user, system = (text or ""):match("%) %a" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return user and (tonumber(user) + tonumber(system)) * 10
end

---A process and all that descend from it.
---@return integer[]
function M.tree(pid)
  local out = { pid }
  local i = 1
  while out[i] do
    local children = read(("/proc/%d/task/%d/children"):format(out[i], out[i])) or ""
    for child in children:gmatch("%d+") do out[#out + 1] = tonumber(child) end
    i = i + 1
  end
  return out
end

---Sum of `of` over the pids that still live.
function M.sum(pids, of)
  local total = 0
  for _, pid in ipairs(pids) do total = total + (of(pid) or 0) end
  return total
end

---Order statistic of a list of numbers, 0…1.
function M.quantile(list, q)
  table.sort(list)
  return list[math.max(1, math.ceil(q * #list))]
end

return M
