-- Whether a result is what docs/result.schema.json publishes.
local json = require("cxb.json")
local schema = require("cxb.schema")

local file = assert(io.open((rawget(_G, "cxb") and cxb.root or ".") .. "/docs/result.schema.json"))
local published = assert(json.decode(file:read("*a")))
file:close()

---@param body string JSON
---@return string? fault the first field that is wrong, and why; nil: none
return function(body)
  local value, _, why = json.decode_object(body)
  if not value then
    return why
  end
  local _, wrong = schema.check(published, value)
  return wrong and wrong[1].path .. " " .. wrong[1].message or nil
end
