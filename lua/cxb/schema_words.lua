-- Whether a value is a JSON Schema that can be used for the arguments of a tool: words of the right
-- kind, not too deep. Words nobody here knows are left to the model.
local json = require("cxb.json")

local M = {}

local DEPTH = 10

local kinds = { object = true, array = true, string = true, number = true, integer = true,
  boolean = true, null = true }

local function is_list(value)
  return type(value) == "table" and (json.is_array(value) or next(value) == nil)
end

local function is_map(value)
  return type(value) == "table" and not json.is_array(value)
end

local function count(value)
  return type(value) == "number" and value >= 0 and value == math.floor(value)
end

local check

local function type_word(value)
  for _, kind in ipairs(type(value) == "table" and value or { value }) do
    if not kinds[kind] then
      return false
    end
  end
  return type(value) == "string" or (is_list(value) and #value > 0)
end

local function texts(value)
  if not is_list(value) then
    return false
  end
  for _, item in ipairs(value) do
    if type(item) ~= "string" then
      return false
    end
  end
  return true
end

local words = {
  type = { type_word, "must name a JSON type" },
  required = { texts, "must be a list of names" },
  enum = { function(value)
    return is_list(value) and #value > 0
  end, "must be a list of values" },
  description = { function(value)
    return type(value) == "string"
  end, "must be a text" },
  pattern = { function(value)
    return type(value) == "string"
  end, "must be a text" },
}
for _, name in ipairs({ "minimum", "maximum", "multipleOf" }) do
  words[name] = { function(value)
    return type(value) == "number"
  end, "must be a number" }
end
for _, name in ipairs({ "minLength", "maxLength", "minItems", "maxItems" }) do
  words[name] = { count, "must be a whole number" }
end

-- Schemas inside: under names, in a list, or one.
local function inside(schema, path, depth)
  for name, property in pairs(is_map(schema.properties) and schema.properties or {}) do
    local at, why = check(property, ("%s.properties.%s"):format(path, tostring(name)), depth)
    if at then
      return at, why
    end
  end
  for _, word in ipairs({ "anyOf", "oneOf", "allOf" }) do
    local list = schema[word]
    if list ~= nil and not (is_list(list) and #list > 0) then
      return path .. "." .. word, "must be a list of schemas"
    end
    for i, option in ipairs(list or {}) do
      local at, why = check(option, ("%s.%s[%d]"):format(path, word, i - 1), depth)
      if at then
        return at, why
      end
    end
  end
  if schema.items ~= nil then
    return check(schema.items, path .. ".items", depth)
  end
end

function check(schema, path, depth)
  if not is_map(schema) then
    return path, "must be a schema"
  elseif depth > DEPTH then
    return path, ("is more than %d levels deep"):format(DEPTH)
  end
  for word, rule in pairs(words) do
    if schema[word] ~= nil and not rule[1](schema[word]) then
      return ("%s.%s"):format(path, word), rule[2]
    end
  end
  if schema.properties ~= nil and not is_map(schema.properties) then
    return path .. ".properties", "must be an object"
  end
  return inside(schema, path, depth + 1)
end

---Judges the `parameters` of a function.
---@return string? path "parameters.properties.x", string? why nil when it is a schema of an object
function M.check(parameters)
  local at, why = check(parameters, "parameters", 1)
  if at then
    return at, why
  elseif parameters.type ~= nil and parameters.type ~= "object" then
    return "parameters.type", "must be object"
  end
end

return M
