-- Validation by declaration. A schema is a Lua table in the words of JSON Schema (type, properties,
-- required, items, enum, minimum, maxLength, format, default, …), so the same declaration checks a
-- request, fills in defaults and can be published as it stands.
--   type: string integer number boolean object array any
--   format (strings): id, time (RFC 3339, becomes milliseconds), date, clock, phone, sha256
--   additionalProperties: true (kept), false (the default: an error), or a schema for the values
--   nullable: a JSON null is accepted and kept
local times = require("cxb.times")
local utf8 = require("cxb.utf8")

local M = {}

local null = require("cxb.json").null

-- Each answers the value to keep, or nil and the rule in words.
local formats = {
  id = function(s)
    return #s <= 64 and s:match("^[%w_-]+$"), "1 to 64 characters of A-Z a-z 0-9 _ -"
  end,
  time = function(s)
    return times.parse(s), "an RFC 3339 time with its zone"
  end,
  date = function(s)
    return times.parse(s .. "T00:00:00Z") and s, "a date like 2026-04-24"
  end,
  clock = function(s)
    local h, m = s:match("^(%d%d):(%d%d)$")
    return h and tonumber(m) < 60 and tonumber(h) * 60 + tonumber(m) <= 1440 and s,
      "a time of day like 09:30, at most 24:00"
  end,
  phone = function(s)
    return s:match("^%+[1-9]%d+$") and #s >= 8 and #s <= 16 and s, "a number like +919876543210"
  end,
  sha256 = function(s)
    return #s == 64 and s:match("^%x+$"), "64 hexadecimal digits"
  end,
}

-- What a value may be, by type; `any` is everything.
local function is_type(value, kind)
  if kind == "integer" then
    return type(value) == "number" and value == math.floor(value) and math.abs(value) <= 2 ^ 53
  elseif kind == "number" then
    return type(value) == "number" and value == value and math.abs(value) ~= math.huge
  elseif kind == "object" or kind == "array" then
    if type(value) ~= "table" then
      return false
    end
    local first = next(value)
    return first == nil or (type(first) == "number") == (kind == "array")
  end
  return kind == "any" or type(value) == kind
end

local article = { integer = "an integer", object = "an object", array = "a list" }

local function bounds(low, high, unit)
  if low and high then
    return ("%g to %g%s"):format(low, high, unit)
  end
  return low and ("at least %g%s"):format(low, unit) or ("at most %g%s"):format(high, unit)
end

local function characters(s)
  local _, continuation = s:gsub("[\128-\191]", "")
  return #s - continuation
end

local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local twin = setmetatable({}, getmetatable(value))
  for k, v in pairs(value) do
    twin[k] = copy(v)
  end
  return twin
end

local check

local checks = {}

function checks.string(schema, value, path, report)
  local n = characters(value)
  if n < (schema.minLength or 0) or n > (schema.maxLength or math.huge) then
    return report(path, "length", bounds(schema.minLength, schema.maxLength, " characters"))
  end
  if value:find("%z") or utf8.first_bad(value) then
    return report(path, "format", "must be UTF-8 without NUL")
  end
  if schema.format then
    local kept, rule = formats[schema.format](value)
    if not kept then
      return report(path, "format", rule)
    end
    return kept
  end
  return value
end

function checks.number(schema, value, path, report)
  if value < (schema.minimum or -math.huge) or value > (schema.maximum or math.huge) then
    return report(path, "range", bounds(schema.minimum, schema.maximum, ""))
  end
  return value
end

checks.integer = checks.number

function checks.array(schema, value, path, report)
  local n = #value
  if n < (schema.minItems or 0) or n > (schema.maxItems or math.huge) then
    return report(path, "length", bounds(schema.minItems, schema.maxItems, " items"))
  end
  if schema.items then
    for i = 1, n do
      value[i] = check(schema.items, value[i], ("%s[%d]"):format(path, i - 1), report)
    end
  end
  return value
end

function checks.object(schema, value, path, report)
  local prefix = path == "" and "" or path .. "."
  local properties = schema.properties or {}
  for _, name in ipairs(schema.required or {}) do
    if value[name] == nil or value[name] == null then
      report(prefix .. name, "required", "is required")
    end
  end
  local extra = schema.additionalProperties
  for name, item in pairs(value) do
    local property = properties[name]
    if property then
      value[name] = check(property, item, prefix .. name, report)
    elseif not extra then
      report(prefix .. tostring(name), "unknown_field", "is not a field of this request")
    elseif type(extra) == "table" then
      value[name] = check(extra, item, prefix .. tostring(name), report)
    end
  end
  for name, property in pairs(properties) do
    if value[name] == nil and property.default ~= nil then
      value[name] = copy(property.default)
    end
  end
  return value
end

function check(schema, value, path, report)
  if value == null then
    if schema.nullable or schema.type == "any" then
      return value
    end
    return report(path, "type", "must not be null")
  end
  if not is_type(value, schema.type) then
    return report(path, "type", "must be " .. (article[schema.type] or "a " .. schema.type))
  end
  if schema.enum then
    for _, choice in ipairs(schema.enum) do
      if choice == value then
        return value
      end
    end
    return report(path, "enum", "must be one of " .. table.concat(schema.enum, ", "))
  end
  local rule = checks[schema.type]
  return rule and rule(schema, value, path, report) or value
end

local function by_path(a, b)
  return a.path < b.path
end

---Checks a decoded value; the value's tables are changed in place (defaults, times).
---@return any? value, {path: string, rule: string, message: string}[]? fields all that is wrong
function M.check(schema, value)
  local wrong = {}
  local kept = check(schema, value, "", function(path, rule, message)
    wrong[#wrong + 1] = { path = path, rule = rule, message = message }
  end)
  if wrong[1] then
    table.sort(wrong, by_path)
    return nil, wrong
  end
  return kept
end

---The one property `name` of an object schema.
---@return any? value, {path: string, rule: string, message: string}? field what is wrong
function M.check_property(schema, name, value)
  local kept, wrong = M.check(schema.properties[name], value)
  if wrong then
    local first = wrong[1]
    local joint = first.path == "" and "" or (first.path:sub(1, 1) == "[" and "" or ".")
    first.path = name .. joint .. first.path
    return nil, first
  end
  return kept
end

-- Query strings carry text only: what a property wants is read out of it.
local from_text = {
  integer = tonumber,
  number = tonumber,
  boolean = function(text)
    if text == "true" or text == "1" then
      return true
    elseif text == "false" or text == "0" then
      return false
    end
  end,
}

---Checks the parameters of a query string (name → text) by an object schema.
---@param params table<string, string>
---@return table? values, {path: string, rule: string, message: string}[]? fields
function M.check_query(schema, params)
  local values = {}
  for name, text in pairs(params) do
    local property = schema.properties[name]
    local reader = property and from_text[property.type]
    local value = text
    if reader then
      value = reader(text)
      if value == nil then
        value = text
      end
    end
    values[name] = value
  end
  return M.check(schema, values)
end

return M
