-- JSON: empty arrays survive both ways, keys may be ordered, ready-made JSON can be embedded, whole
-- numbers are exact to 2^53, text is UTF-8.
local getmetatable, setmetatable, type = getmetatable, setmetatable, type

local M = {}

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

local encode, decode, null = require("cxb.json_codec")(array_mt, raw_mt, object_mt)

---A JSON null; the same as cjson.null.
M.null = null

---Keys of plain objects come in alphabetical order when `sorted`: equal values, equal text. An
---error() for what JSON cannot hold: infinite numbers, functions, more than 64 levels.
---@type fun(value: any, sorted?: boolean): string
M.encode = encode

---Decodes one JSON value. Non-empty arrays are plain lists, [] is json.array(), null is json.null.
---(text, levels, opaque) → value, or nil, code, message, offset in bytes. code "bad_json", or
---"too_deep" with more than `levels` (64) levels.
---
---Lists and objects at the top of an object whose names are in `opaque` are checked like everything
---else but not taken apart: each comes as ready JSON (M.text) with its `shape`: "empty", "object",
---"objects" (a list of nothing but objects) or "list". Where opaque[name] is {words_of = "text",
---most = 400, longest = 64}, the different words (text.distinct_words) of the strings of that name
---in the items of a list come along as `words`.
---@type fun(text: string, levels?: integer, opaque?: table): any, string?, string?, integer?
M.decode = decode

---True for ready JSON: made by json.raw, or an opaque member.
function M.is_raw(value)
  return getmetatable(value) == raw_mt
end

---The text of ready JSON.
---@return string
function M.text(raw)
  return raw.text or raw.source:sub(raw.first, raw.last)
end

---As decode, but only an object will do.
---@return table? value, string? code, string? message, integer? offset
function M.decode_object(text, levels, opaque)
  local value, code, message, offset = decode(text, levels, opaque)
  if code then
    return nil, code, message, offset
  end
  if type(value) ~= "table" or getmetatable(value) == array_mt or not text:match("^%s*{") then
    return nil, "bad_json", "expected a JSON object"
  end
  return value
end

return M
