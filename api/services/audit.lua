-- Who did what (api.md §5.20): one row an operator's change, append only.
local json = require("cxb.json")

local M = {}

local HIDDEN = "•••"
local MAX_CHANGES, MAX_TEXT = 100, 512

-- Never told, whatever the object: names of fields, or parts of them.
local secret_words = { "password", "secret", "token", "api_key", "access_key", "key_hash" }

local function is_secret(path)
  local lower = path:lower()
  if lower:match("^api_keys%.") or lower:match("headers%.") then
    return true
  end
  local last = lower:match("([^.%[%]]+)[%[%]%d]*$") or lower
  for _, word in ipairs(secret_words) do
    if last:find(word, 1, true) then
      return true
    end
  end
  return false
end

local function told(path, value)
  if value == nil or value == json.null then
    return json.null
  elseif is_secret(path) or (type(value) == "string" and value:match("^enc:v1:")) then
    return HIDDEN
  elseif type(value) == "table" then
    local text = json.encode(value, true)
    return #text <= MAX_TEXT and value or text:sub(1, MAX_TEXT)
  elseif type(value) == "string" then
    return #value <= MAX_TEXT and value or value:sub(1, MAX_TEXT)
  end
  return value
end

local function is_map(value)
  return type(value) == "table" and not json.is_array(value) and next(value) ~= nil
end

local function differ(a, b)
  if type(a) == "table" and type(b) == "table" then
    return json.encode(a, true) ~= json.encode(b, true)
  end
  return a ~= b
end

local function compare(path, before, after, out)
  if is_map(before) and is_map(after) then
    local names = {}
    for _, map in ipairs({ before, after }) do
      for name in pairs(map) do
        names[name] = true
      end
    end
    for name in pairs(names) do
      compare(path == "" and tostring(name) or path .. "." .. name, before[name], after[name], out)
    end
  elseif differ(before, after) then
    out[#out + 1] = { path = path, from = told(path, before), to = told(path, after) }
  end
end

local own = { v = true, updated_at = true, created_at = true }

---What is different between two versions of an object: {path, from, to} each, secrets hidden.
---@param before? table nil: it was made
---@param after? table nil: it is gone
---@return table[]
function M.changes(before, after)
  local out = {}
  before, after = before or {}, after or {}
  for _, map in ipairs({ before, after }) do
    for name in pairs(map) do
      if not own[name] and (map == before or before[name] == nil) then
        compare(tostring(name), before[name], after[name], out)
      end
    end
  end
  table.sort(out, function(a, b)
    return a.path < b.path
  end)
  for i = #out, MAX_CHANGES + 1, -1 do
    out[i] = nil
  end
  return json.array(out)
end

return M
