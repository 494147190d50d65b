-- Lists, plainly.
local M = {}

---Whether a value is one of a list's.
---@param list? any[] nil: an empty one
---@return boolean
function M.has(list, value)
  for _, item in ipairs(list or {}) do
    if item == value then
      return true
    end
  end
  return false
end

return M
