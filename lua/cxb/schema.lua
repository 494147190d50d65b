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

local new_table = require("table.new")

local find, floor, abs, huge = string.find, math.floor, math.abs, math.huge

local M = {}

local json = require("cxb.json")
local null = json.null
local none = {}

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
  local found = type(value)
  if kind == "string" or kind == "boolean" then
    return found == kind
  elseif kind == "integer" then
    return found == "number" and value == floor(value) and abs(value) <= 2 ^ 53
  elseif kind == "number" then
    return found == "number" and value == value and abs(value) ~= huge
  elseif kind == "object" or kind == "array" then
    if found ~= "table" then
      return false
    end
    local first = next(value)
    return first == nil or (type(first) == "number") == (kind == "array")
  end
  return kind == "any" or found == kind
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

-- Where a value is: keys, and positions from 0 as numbers, from the outermost in, as text.
local function path_of(at, depth)
  local out = ""
  for i = 1, depth do
    local part = at[i]
    if type(part) == "number" then
      out = ("%s[%d]"):format(out, part)
    else
      out = (out == "" and "" or out .. ".") .. part
    end
  end
  return out
end

-- Notes what is wrong with the value at at[1] … at[depth].
local function report(at, depth, rule, message)
  at.wrong = at.wrong or {}
  at.wrong[#at.wrong + 1] = { path = path_of(at, depth), rule = rule, message = message }
end

local check

-- By type: what is kept of a value that is of it.
local checks = {}

function checks.string(schema, value, at, depth)
  local plain = not find(value, "[%z\128-\255]")
  local n = plain and #value or characters(value)
  if n < (schema.minLength or 0) or n > (schema.maxLength or huge) then
    return report(at, depth, "length", bounds(schema.minLength, schema.maxLength, " characters"))
  end
  if not plain and (find(value, "%z") or utf8.first_bad(value)) then
    return report(at, depth, "format", "must be UTF-8 without NUL")
  end
  if schema.format then
    local format = formats[schema.format]
    local kept = format.check(value)
    if not kept then
      return report(at, depth, "format", "must be " .. format.words)
    end
    return kept
  end
  return value
end

function checks.number(schema, value, at, depth)
  if value < (schema.minimum or -huge) or value > (schema.maximum or huge) then
    return report(at, depth, "range", bounds(schema.minimum, schema.maximum, ""))
  end
  return value
end

checks.integer = checks.number

function checks.array(schema, value, at, depth)
  local n = #value
  if n < (schema.minItems or 0) or n > (schema.maxItems or huge) then
    return report(at, depth, "length", bounds(schema.minItems, schema.maxItems, " items"))
  end
  if schema.items then
    for i = 1, n do
      at[depth + 1] = i - 1
      value[i] = check(schema.items, value[i], at, depth + 1)
    end
  end
  return value
end

function checks.object(schema, value, at, depth)
  if schema.additionalProperties == true and not schema.properties and not schema.required then
    return value -- whatever it is
  end
  local properties, extra, inner = schema.properties or none, schema.additionalProperties, depth + 1
  for _, name in ipairs(schema.required or none) do
    if value[name] == nil or value[name] == null then
      at[inner] = name
      report(at, inner, "required", "is required")
    end
  end
  for name, item in pairs(value) do
    local property = properties[name]
    if property or type(extra) == "table" then
      at[inner] = tostring(name)
      value[name] = check(property or extra, item, at, inner)
    elseif not extra then
      at[inner] = tostring(name)
      report(at, inner, "unknown_field", "is not a field of this request")
    end
  end
  for name, property in pairs(properties) do
    if property.default ~= nil and value[name] == nil then
      value[name] = copy(property.default)
    end
  end
  return value
end

function check(schema, value, at, depth)
  local kind = schema.type
  if value == null then
    if schema.nullable or kind == "any" then
      return value
    end
    return report(at, depth, "type", "must not be null")
  end
  if not is_type(value, kind) then
    return report(at, depth, "type", "must be " .. (article[kind] or "a " .. kind))
  end
  if schema.enum then
    for _, choice in ipairs(schema.enum) do
      if choice == value then
        return value
      end
    end
    return report(at, depth, "enum", "must be one of " .. table.concat(schema.enum, ", "))
  end
  local of_type = checks[kind]
  if of_type then
    value = of_type(schema, value, at, depth)
  end
  local wrong = schema.rule and value ~= nil and schema.rule(value)
  if wrong then
    return report(at, depth, "rule", wrong)
  end
  return value
end

local function by_path(a, b)
  return a.path < b.path
end

---Checks a decoded value; the value's tables are changed in place (defaults, times).
---@return any? value, {path: string, rule: string, message: string}[]? fields all that is wrong
function M.check(schema, value)
  local at = {}
  local kept = check(schema, value, at, 0)
  if at.wrong then
    table.sort(at.wrong, by_path)
    return nil, at.wrong
  end
  return kept
end

---Whether a text has a format: "id".
---@return boolean
function M.fits(format, text)
  return formats[format].check(text) and true or false
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

-- How many properties a schema lists: an answer's table is made in one piece.
local sizes = setmetatable({}, { __mode = "k" })

local function size_of(properties)
  local n = 0
  for _ in pairs(properties) do
    n = n + 1
  end
  sizes[properties] = n
  return n
end

local function shape_object(schema, value)
  local properties, extra = schema.properties or none, schema.additionalProperties
  local out = new_table(0, sizes[properties] or size_of(properties))
  for name, item in pairs(value) do
    local property = properties[name]
    if property then
      if property.format == "time" or type(item) == "table" then
        item = M.shape(property, item)
      end
      out[name] = item
    elseif extra then
      out[name] = type(extra) == "table" and M.shape(extra, item) or item
    end
  end
  if out.id == nil and value._id ~= nil and properties.id then
    out.id = value._id
  end
  return next(out) == nil and json.object({}) or out
end

---What of a value an answer may show: the properties its schema lists, times as RFC 3339. The `id`
---of a stored document is its `_id`.
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
  return shape_object(schema, value)
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
