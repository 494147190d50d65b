-- A map of at most so many entries: the one that would be too many empties it first. For what is
-- cheap to find out anew.
local M = {}
M.__index = M

---@param most integer
function M.new(most)
  return setmetatable({ most = most, count = 0, values = {} }, M)
end

---@return any value nil: there is none
function M:get(key)
  return self.values[key]
end

---@param value any nil removes it
function M:set(key, value)
  local values = self.values
  if values[key] == nil and value ~= nil then
    if self.count >= self.most then
      values = {}
      self.values, self.count = values, 0
    end
    self.count = self.count + 1
  elseif values[key] ~= nil and value == nil then
    self.count = self.count - 1
  end
  values[key] = value
end

return M
