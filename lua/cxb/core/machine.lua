-- What the machine says of itself: its name, this boot of it, load and memory (Linux, /proc).
local M = {}

local function read(path)
  local file = io.open(path, "r")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

---@return string
function M.name()
  return ((read("/proc/sys/kernel/hostname") or ""):match("^[%w._-]+")) or "localhost"
end

---Differs after the machine has been started again, and between folders of one machine.
---@param dir string
---@return string
function M.boot_id(dir)
  local boot = read("/proc/sys/kernel/random/boot_id") or ""
  return cxb.crypto.hex(cxb.crypto.sha256(boot .. "\n" .. dir)):sub(1, 32)
end

---@return {one: number, five: number, fifteen: number}? of the last minutes
function M.load()
  local one, five, fifteen = (read("/proc/loadavg") or ""):match("^(%S+) (%S+) (%S+)")
  return one and { one = tonumber(one), five = tonumber(five), fifteen = tonumber(fifteen) }
end

---@return {total_mb: integer, available_mb: integer}?
function M.memory()
  local text = read("/proc/meminfo") or ""
  local total, free = text:match("MemTotal:%s+(%d+)"), text:match("MemAvailable:%s+(%d+)")
  return total and free
    and { total_mb = math.floor(total / 1024), available_mb = math.floor(free / 1024) }
end

return M
