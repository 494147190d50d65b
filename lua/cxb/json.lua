-- JSON over lua-cjson, with what it lacks: empty arrays survive both ways, keys may be ordered,
-- ready-made JSON can be embedded, whole numbers are exact to 2^53.
local cjson = require("cjson").new()
cjson.decode_invalid_numbers(false)
cjson.decode_max_depth(64)

local concat = table.concat
local getmetatable, setmetatable, type, pairs = getmetatable, setmetatable, type, pairs

local M = { null = cjson.null }

local array_mt = { __name = "json.array" }
local raw_mt = { __name = "json.raw" }
local object_mt = { __name = "json.object" }

---Marks a list: it is encoded as [...] also when empty.
---@param list? table
function M.array(list)
  return setmetatable(list or {}, array_mt)
end

---True for a table that encodes as an array.
function M.is_array(value)
  return type(value) == "table" and (getmetatable(value) == array_mt or #value > 0)
end

---JSON text to be embedded as it is; the caller answers for its validity.
function M.raw(text)
  return setmetatable({ text = text }, raw_mt)
end

---An object whose keys come in this order: {{key, value}, ...}; nil values are left out.
function M.object(pairs_in_order)
  return setmetatable(pairs_in_order, object_mt)
end

---True for what json.object made.
function M.is_ordered(value)
  return getmetatable(value) == object_mt
end

---(value, sorted) → text. sorted: keys of plain objects in alphabetical order: equal values, equal
---text. An error() for what JSON cannot hold: infinite numbers, functions, more than 64 levels.
---@type fun(value: any, sorted?: boolean): string
M.encode = require("cxb.json_writer")(array_mt, raw_mt, object_mt)

-- cjson forgets that [] was an array. Where the text holds one outside a string, a mark that occurs
-- nowhere in the text is put into it and taken out again after decoding.
local function mark_empty(text)
  local mark = "\\u0001"
  local n = 0
  while text:find("empty" .. n, 1, true) do
    n = n + 1
  end
  mark = mark .. "empty" .. n
  local out, at, found = {}, 1, false
  local open, close = text:find("%[%s*%]")
  while true do
    if open and open < at then
      open, close = text:find("%[%s*%]", at)
    end
    local quote = text:find('"', at, true)
    if not open then
      break
    end
    if quote and quote < open then
      local tail = quote
      repeat
        tail = text:find('["\\]', tail + 1)
        local escaped = tail and text:byte(tail) == 92
        if escaped then
          tail = tail + 1
        end
      until not tail or not escaped
      tail = tail or #text
      out[#out + 1] = text:sub(at, tail)
      at = tail + 1
    else
      found = true
      out[#out + 1] = text:sub(at, open) .. '"' .. mark .. '"]'
      at = close + 1
    end
  end
  out[#out + 1] = text:sub(at)
  return concat(out), found and ("\1empty" .. n) or nil
end

local function unmark(value, mark)
  if type(value) ~= "table" then
    return
  end
  if value[1] == mark and value[2] == nil then
    value[1] = nil
    setmetatable(value, array_mt)
    return
  end
  for _, v in pairs(value) do
    unmark(v, mark)
  end
end

---Decodes one JSON value. Non-empty arrays are plain lists, [] is json.array(), null is json.null.
---@param text string
---@return any value, string? code "bad_json", string? message
function M.decode(text)
  local mark
  if text:find("%[%s*%]") then
    text, mark = mark_empty(text)
  end
  local ok, value = pcall(cjson.decode, text)
  if not ok then
    return nil, "bad_json", (tostring(value):gsub("^.-:%d+: ", ""))
  end
  if mark then
    unmark(value, mark)
  end
  return value
end

---As decode, but only an object will do.
---@return table? value, string? code, string? message
function M.decode_object(text)
  local value, code, message = M.decode(text)
  if code then
    return nil, code, message
  end
  if type(value) ~= "table" or getmetatable(value) == array_mt or not text:match("^%s*{") then
    return nil, "bad_json", "expected a JSON object"
  end
  return value
end

return M
