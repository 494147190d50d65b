-- What of a change the audit tells: {path, from, to} each, secrets as •••.
local json = require("cxb.json")
local text = require("cxb.text")
local times = require("cxb.times")

local M = {}

local HIDDEN = "•••"
local MAX_CHANGES, MAX_TEXT = 100, 512
local SMALLEST_TIME = 1e11 -- ms, in 1973: what else is called *_at is smaller

-- Never told, whatever the object: names of fields, or parts of them.
local secret_words = {
  "password", "secret", "token", "api_key", "access_key", "key_hash", "widget_key", "authorization",
}

local function is_secret(path)
  local lower = path:lower()
  if lower:match("^api_keys[.]") or lower:match("headers[.]") then
    return true
  end
  local last = lower:match("([^.]+)$") or lower
  for _, word in ipairs(secret_words) do
    if last:find(word, 1, true) then
      return true
    end
  end
  return false
end

local function is_map(value)
  return type(value) == "table" and not json.is_array(value) and next(value) ~= nil
end

-- A text without what a URL's query may carry.
local function told_text(value)
  if value:match("^enc:v1:") then
    return HIDDEN
  elseif value:match("^%a+://[^%s?]+%?") then
    value = value:match("^[^?]+") .. "?" .. HIDDEN
  end
  return (text.limit(value, MAX_TEXT))
end

-- A copy that may be kept for years.
local function told(path, value)
  if value == nil or value == json.null then
    return json.null
  elseif is_secret(path) then
    return HIDDEN
  elseif type(value) == "string" then
    return told_text(value)
  elseif type(value) == "number" and path:find("_at$") and value > SMALLEST_TIME then
    return times.format(value)
  elseif type(value) ~= "table" then
    return value
  end
  local out, map = is_map(value) and {} or json.array(), is_map(value)
  for name, item in pairs(value) do
    out[name] = told(map and path .. "." .. tostring(name) or path, item)
  end
  local encoded = json.encode(out, true)
  return #encoded <= MAX_TEXT and out or (text.limit(encoded, MAX_TEXT))
end

local function differ(a, b)
  if type(a) == "table" and type(b) == "table" then
    return json.encode(a, true) ~= json.encode(b, true)
  end
  return a ~= b
end

-- Both are objects, of which one may be empty: `{}` is also how an empty list looks.
local function are_maps(a, b)
  local one, other = is_map(a), is_map(b)
  return one and other or one and type(b) == "table" and not next(b)
    or other and type(a) == "table" and not next(a)
end

local function compare(path, before, after, out)
  if not are_maps(before, after) then
    if differ(before, after) then
      out[#out + 1] = { path = path, from = told(path, before), to = told(path, after) }
    end
    return
  end
  local names = {}
  for _, map in ipairs({ before, after }) do
    for name in pairs(map) do
      names[name] = true
    end
  end
  for name in pairs(names) do
    compare(path .. "." .. tostring(name), before[name], after[name], out)
  end
end

local own = { _id = true, v = true, updated_at = true, created_at = true }

local function finished(out)
  table.sort(out, function(a, b)
    return a.path < b.path
  end)
  for i = #out, MAX_CHANGES + 1, -1 do
    out[i] = nil
  end
  return json.array(out)
end

---What is different between two versions of an object.
---@param before? table nil: it was made
---@param after? table nil: it is gone
---@return table[]
function M.between(before, after)
  local out = {}
  before, after = before or {}, after or {}
  for _, map in ipairs({ before, after }) do
    for name in pairs(map) do
      if not own[name] and (map == before or before[name] == nil) then
        compare(tostring(name), before[name], after[name], out)
      end
    end
  end
  return finished(out)
end

---What a request asked for, where its route does not say what it changed.
---@param input any
---@return table[]
function M.asked(input)
  local out = {}
  for name, value in pairs(is_map(input) and input or {}) do
    out[#out + 1] = { path = tostring(name), from = json.null, to = told(tostring(name), value) }
  end
  return finished(out)
end

return M
