-- A leg some of whose methods are ours; everything else goes to the leg itself.

---@param inner cxb.leg
---@param methods table<string, function> ours, called with `own`
---@param own? table state of ours, where a fact of the leg may be replaced; `leg` is the inner one
---@return table leg
return function(inner, methods, own)
  local self = own or {}
  self.leg = inner
  return setmetatable(self, { __index = function(_, key)
    if methods[key] then
      return methods[key]
    end
    local value = inner[key]
    if type(value) ~= "function" then
      return value
    end
    local function method(_, ...)
      return value(inner, ...)
    end
    rawset(self, key, method)
    return method
  end })
end
