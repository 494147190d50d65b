-- What a language model passes to a tool, checked against the tool's `parameters` (JSON Schema, the
-- part of it that function definitions use). Unlike cxb.schema this judges by somebody else's
-- schema: what it does not know it lets pass, and nothing is changed or filled in.
local json = require("cxb.json")
local list = require("cxb.list")

local M = {}

local function is(kind, value)
  if kind == "null" then
    return value == json.null
  elseif kind == "integer" then
    return type(value) == "number" and value == math.floor(value)
  elseif kind == "array" then
    return type(value) == "table" and (json.is_array(value) or next(value) == nil)
  elseif kind == "object" then
    return type(value) == "table" and not json.is_array(value)
  elseif kind == "string" or kind == "number" or kind == "boolean" then
    return type(value) == kind
  end
  return true
end

local function type_fits(schema, value)
  local kinds = type(schema.type) == "table" and schema.type or { schema.type }
  for _, kind in ipairs(kinds) do
    if is(kind, value) then
      return true
    end
  end
  return #kinds == 0 or (schema.nullable == true and value == json.null)
end

-- Bounds of numbers, lengths of strings and lists.
local function within(schema, value)
  if type(value) == "number" then
    return not ((schema.minimum and value < schema.minimum)
      or (schema.maximum and value > schema.maximum)
      or (tonumber(schema.exclusiveMinimum) and value <= schema.exclusiveMinimum)
      or (tonumber(schema.exclusiveMaximum) and value >= schema.exclusiveMaximum))
  elseif type(value) == "string" then
    local _, more = value:gsub("[\128-\191]", "")
    local length = #value - more -- characters, not bytes
    return not ((schema.minLength and length < schema.minLength)
      or (schema.maxLength and length > schema.maxLength))
  elseif type(value) == "table" then
    return not ((schema.minItems and #value < schema.minItems)
      or (schema.maxItems and #value > schema.maxItems))
  end
  return true
end

local check

local function below(path, name)
  return path == "" and name or path .. "." .. name
end

-- An absent value and null are one thing where the property may be left out.
local function check_object(schema, value, path)
  local properties = type(schema.properties) == "table" and schema.properties or {}
  for _, name in ipairs(schema.required or {}) do
    if value[name] == nil then
      return below(path, name)
    end
  end
  local names = {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local property, item = properties[name], value[name]
    local optional = item == json.null and not list.has(schema.required or {}, name)
    if not property and schema.additionalProperties == false then
      return below(path, name)
    elseif not property and type(schema.additionalProperties) == "table" then
      property = schema.additionalProperties
    end
    local bad = type(property) == "table" and not optional
      and check(property, item, below(path, name))
    if bad then
      return bad
    end
  end
end

local function any_fits(schemas, value)
  for _, schema in ipairs(schemas) do
    if not check(schema, value, "") then
      return true
    end
  end
  return false
end

-- The path of the first thing that is wrong, or nil.
function check(schema, value, path)
  local enum = type(schema.enum) == "table" and schema.enum
  local choices = schema.anyOf or schema.oneOf
  local fits = type_fits(schema, value) and (not enum or list.has(enum, value))
    and (schema.const == nil or schema.const == value) and within(schema, value)
    and (type(choices) ~= "table" or any_fits(choices, value))
  if not fits then
    return path == "" and "arguments" or path
  end
  for _, part in ipairs(type(schema.allOf) == "table" and schema.allOf or {}) do
    local bad = check(part, value, path)
    if bad then
      return bad
    end
  end
  if type(value) == "table" and json.is_array(value) then
    for i, item in ipairs(type(schema.items) == "table" and value or {}) do
      local bad = check(schema.items, item, below(path, tostring(i - 1)))
      if bad then
        return bad
      end
    end
  elseif type(value) == "table" then
    return check_object(schema, value, path)
  end
end

---@param schema table JSON Schema
---@param value table
---@return string? field the first one that is wrong ("address.city"); nil when all is well
function M.check(schema, value)
  return check(schema, value, "")
end

return M
