-- Validation by declaration. A schema is a Lua table in the words of JSON Schema (type, properties,
-- required, items, enum, minimum, maxLength, format, default, …), so the same declaration checks a
-- request, fills in defaults, shapes an answer and is published (M.published).
--   type: string integer number boolean object array any
--   format (strings): a name of `formats` below; time (RFC 3339) becomes milliseconds
--   additionalProperties: true (kept), false (the default: an error), or a schema for the values
--   nullable: a JSON null is accepted and kept
--   rule: fun(value): string?  a last word on a value of the right shape: what is wrong with it
--   description, example: for readers
local times = require("cxb.times")
local tz = require("cxb.tz")
local utf8 = require("cxb.utf8")

local M = {}

local json = require("cxb.json")
local null = json.null

-- `check` answers the value to keep, or nil; `words` say the rule; `published` is what JSON Schema
-- can say of it.
local formats = {
  id = {
    words = "1 to 64 characters of A-Z a-z 0-9 _ -",
    published = { pattern = "^[A-Za-z0-9_-]{1,64}$" },
    check = function(s)
      return #s <= 64 and s:match("^[%w_-]+$")
    end,
  },
  time = {
    words = "an RFC 3339 time with its zone", published = { format = "date-time" },
    check = times.parse,
  },
  date = {
    words = "a date like 2026-04-24", published = { format = "date" },
    check = function(s)
      return times.parse(s .. "T00:00:00Z") and s
    end,
  },
  clock = {
    words = "a time of day like 09:30, at most 24:00",
    published = { pattern = "^([01][0-9]|2[0-4]):[0-5][0-9]$" },
    check = function(s)
      local h, m = s:match("^(%d%d):(%d%d)$")
      return h and tonumber(m) < 60 and tonumber(h) * 60 + tonumber(m) <= 1440 and s
    end,
  },
  phone = {
    words = "a number like +919876543210", published = { pattern = "^\\+[1-9][0-9]{6,14}$" },
    check = function(s)
      return s:match("^%+[1-9]%d+$") and #s >= 8 and #s <= 16 and s
    end,
  },
  sha256 = {
    words = "64 hexadecimal digits", published = { pattern = "^[0-9A-Fa-f]{64}$" },
    check = function(s)
      return #s == 64 and s:match("^%x+$")
    end,
  },
  token = {
    words = "16 to 128 characters of A-Z a-z 0-9 . _ ~ -",
    published = { pattern = "^[A-Za-z0-9._~-]{16,128}$" },
    check = function(s)
      return #s >= 16 and #s <= 128 and s:match("^[%w._~-]+$")
    end,
  },
  email = {
    words = "an address like ada@example.org", published = { format = "email" },
    check = function(s)
      return #s <= 254 and s:match("^[^%s@%c]+@[%w][%w.-]*%.%w+$") and s:lower()
    end,
  },
  zone = {
    words = "a time zone like Asia/Kolkata",
    check = function(s)
      return tz.known(s) and s
    end,
  },
  url = {
    words = "an http or https URL of at most 2048 characters",
    published = { format = "uri", maxLength = 2048 },
    check = function(s)
      return #s <= 2048 and s:match("^https?://[^%s%c/]+[^%s%c]*$")
    end,
  },
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

-- 10000000, not 1e+07.
local function bounds(low, high, unit)
  if low and high then
    return ("%.15g to %.15g%s"):format(low, high, unit)
  end
  return low and ("at least %.15g%s"):format(low, unit) or ("at most %.15g%s"):format(high, unit)
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
    local format = formats[schema.format]
    local kept = format.check(value)
    if not kept then
      return report(path, "format", "must be " .. format.words)
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
  if schema.additionalProperties == true and not schema.properties and not schema.required then
    return value -- whatever it is
  end
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
  local of_type = checks[schema.type]
  if of_type then
    value = of_type(schema, value, path, report)
  end
  local wrong = schema.rule and value ~= nil and schema.rule(value)
  if wrong then
    return report(path, "rule", wrong)
  end
  return value
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

---The form of an object schema for PUT and PATCH: every field may be left out, none gets its
---default, null means "back to the default"; one that is required and has none is never null.
---@return table
function M.partial(schema)
  local out = {}
  for key, value in pairs(schema) do
    out[key] = value
  end
  out.required, out.properties = nil, {}
  out.title = schema.title and schema.title .. "Patch"
  local needed = {}
  for _, name in ipairs(schema.required or {}) do
    needed[name] = true
  end
  for name, property in pairs(schema.properties) do
    local twin = {}
    for key, value in pairs(property) do
      twin[key] = value
    end
    twin.default = nil
    twin.nullable = property.nullable or property.default ~= nil or not needed[name] or nil
    out.properties[name] = twin
  end
  return out
end

---What of a value an answer may show: the properties its schema lists, times as RFC 3339.
---@return any
function M.shape(schema, value)
  if value == null or value == nil or not schema then
    return value
  elseif schema.format == "time" and type(value) == "number" then
    return times.format(value)
  elseif type(value) ~= "table" then
    return value
  elseif schema.type == "array" and schema.items then
    local out = setmetatable({}, getmetatable(value) or getmetatable(json.array()))
    for i = 1, #value do
      out[i] = M.shape(schema.items, value[i])
    end
    return out
  elseif schema.type == "array" and not getmetatable(value) then
    return json.array(value)
  end
  local free = not schema.properties and schema.additionalProperties == true
  if schema.type ~= "object" or free or json.is_ordered(value) then
    return value
  end
  local out, extra = {}, schema.additionalProperties
  for name, item in pairs(value) do
    local property = schema.properties and schema.properties[name]
    if property then
      out[name] = M.shape(property, item)
    elseif extra then
      out[name] = type(extra) == "table" and M.shape(extra, item) or item
    end
  end
  return next(out) == nil and json.object({}) or out
end

local plain = {
  "description", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
  "required",
}

-- A default of the right JSON kind: an empty table is a list only where the schema says so.
local function published_default(schema)
  local value = schema.default
  if type(value) == "table" and next(value) == nil then
    return schema.type == "array" and json.array() or json.object({})
  end
  return value
end

-- What JSON Schema says of the values inside.
local function inside(schema, named)
  local out, extra = {}, schema.additionalProperties
  out.items = schema.items and M.published(schema.items, named)
  if schema.type == "object" then
    local properties = {}
    for name, property in pairs(schema.properties or {}) do
      properties[name] = M.published(property, named)
    end
    out.properties = next(properties) and properties or nil
    out.additionalProperties = type(extra) == "table" and M.published(extra, named)
      or extra == true
  end
  return out
end

local function in_full(schema, named)
  local out = inside(schema, named)
  for _, key in ipairs(plain) do
    out[key] = schema[key]
  end
  out.default = published_default(schema)
  if schema.example ~= nil then
    out.examples = json.array({ schema.example })
  end
  out.required = out.required and out.required[1] and json.array(out.required) or nil
  if schema.enum then
    out.enum = json.array({ unpack(schema.enum) })
    out.enum[#out.enum + 1] = schema.nullable and null or nil
  end
  if schema.type ~= "any" then
    out.type = schema.nullable and json.array({ schema.type, "null" }) or schema.type
  end
  for key, value in pairs(schema.format and formats[schema.format].published or {}) do
    out[key] = value
  end
  return next(out) and out or json.object({})
end

---The schema in the words of JSON Schema 2020-12, as OpenAPI 3.1 takes it.
---@param named? table<string, table> takes the schemas that have a title; they are referred to
---@return table
function M.published(schema, named)
  if not named or not schema.title then
    return in_full(schema, named)
  end
  if not named[schema.title] then
    named[schema.title] = {} -- it may hold itself
    local twin = {}
    for key, value in pairs(schema) do
      twin[key] = value
    end
    twin.nullable, twin.default = nil, nil
    named[schema.title] = in_full(twin, named)
  end
  local reference = { ["$ref"] = "#/components/schemas/" .. schema.title }
  if schema.nullable then
    return { anyOf = json.array({ reference, { type = "null" } }) }
  end
  return reference
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
    elseif property and property.format == "time" then
      value = text:gsub(" (%d%d:%d%d)$", "+%1") -- a zone's "+" that nobody encoded is a blank
    end
    values[name] = value
  end
  return M.check(schema, values)
end

return M
