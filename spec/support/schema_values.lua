-- Values by chance for a schema (cxb.schema): right ones, and right ones with one wrong place.
local json = require("cxb.json")

local M = {}

local function pick(list)
  return list[math.random(#list)]
end

local samples = {
  id = { "bot_1", "a", ("x"):rep(64) }, time = { "2026-04-24T09:00:00Z" }, date = { "2026-04-24" },
  clock = { "00:00", "23:59", "24:00" }, phone = { "+919876543210", "+4930123456" },
  sha256 = { ("ab"):rep(32) }, token = { ("t-"):rep(8), ("a.b_"):rep(32) },
  email = { "ada@example.org" }, zone = { "UTC", "Asia/Kolkata" },
  url = { "https://example.org/a?b=c" },
}
local pieces = { "a", "Z", "9", " ", "-", "é", "न", "😀", "{{x}}", "'", "\"", "<b>", "$gt" }

local function text(schema)
  if schema.format then
    return pick(samples[schema.format])
  end
  local low = schema.minLength or 0
  local high = math.min(schema.maxLength or 40, low + 40)
  local out = {}
  for i = 1, math.random(low, high) do
    out[i] = pick(pieces)
  end
  local joined = table.concat(out)
  local _, continuation = joined:gsub("[\128-\191]", "")
  if #joined - continuation > (schema.maxLength or math.huge) then
    return ("a"):rep(math.max(low, 1))
  end
  return joined
end

---A value the schema accepts; nil where only an example could be right (a `rule`, a pattern).
---@param schema table
---@param depth? integer
function M.right(schema, depth)
  depth = depth or 0
  if schema.example ~= nil then
    return json.decode(json.encode({ schema.example }))[1]
  elseif schema.enum then
    return pick(schema.enum)
  elseif schema.rule then
    return nil
  elseif schema.type == "string" then
    return text(schema)
  elseif schema.type == "integer" then
    local low = schema.minimum or -5
    return math.random(math.ceil(low), math.floor(math.min(schema.maximum or low + 1000, 2 ^ 31 - 1)))
  elseif schema.type == "number" then
    local low = schema.minimum or -5
    return low + math.random() * ((schema.maximum or low + 10) - low)
  elseif schema.type == "boolean" then
    return math.random(2) == 1
  elseif schema.type == "array" then
    local out = json.array()
    local low = schema.minItems or 0
    for i = 1, math.random(low, math.min(schema.maxItems or low + 3, low + 3)) do
      out[i] = schema.items and M.right(schema.items, depth + 1) or "x"
    end
    return out
  elseif schema.type == "object" then
    local out, required = {}, {}
    for _, name in ipairs(schema.required or {}) do
      required[name] = true
    end
    for name, property in pairs(schema.properties or {}) do
      if required[name] or (depth < 4 and math.random(2) == 1) then
        out[name] = M.right(property, depth + 1)
      end
    end
    return out
  end
  return "anything"
end

-- A value of another type than the schema's.
local function other_type(schema)
  local wrong = { string = 7, integer = "seven", number = "seven", boolean = "yes", array = "list",
    object = "map" }
  return wrong[schema.type]
end

---Spoils one top-level place of a right object; the path that must be named, nil: nothing to spoil.
---@return table? value, string? path
function M.wrong(schema)
  local names = {}
  for name, property in pairs(schema.properties or {}) do
    if property.type ~= "any" then
      names[#names + 1] = name
    end
  end
  if not names[1] then
    return nil
  end
  table.sort(names)
  local value, name = M.right(schema), pick(names)
  value[name] = other_type(schema.properties[name])
  return value, name
end

return M
