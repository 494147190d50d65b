-- What one process remembers for a while: keys with an end.
local M = {}
M.__index = M

local SWEEP_ABOVE = 10000

function M.new()
  return setmetatable({ items = {}, count = 0 }, M)
end

local function sweep(self, now)
  for key, item in pairs(self.items) do
    if item.until_ms <= now then
      self.items[key] = nil
      self.count = self.count - 1
    end
  end
end

function M:get(key)
  local item = self.items[key]
  return item and item.until_ms > cxb.time.mono() and item.value or nil
end

function M:set(key, value, ttl_ms)
  local now = cxb.time.mono()
  if not self.items[key] then
    self.count = self.count + 1
    if self.count > SWEEP_ABOVE then
      sweep(self, now)
    end
  end
  self.items[key] = { value = value, until_ms = now + ttl_ms }
  return true
end

function M:del(key)
  if self.items[key] then
    self.items[key], self.count = nil, self.count - 1
  end
  return true
end

return M
