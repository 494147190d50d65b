-- Filters, sorts, operations and cursors of the document store: what every backend shares. A
-- filter that a program got wrong is an error(); clients' values only come after a schema.
local json = require("cxb.json")

local M = {}

local operators = {
  ["in"] = true, ne = true, gt = true, gte = true, lt = true, lte = true, exists = true,
  prefix = true, has_all = true,
}

---A path is a field name or several joined by dots.
---@return string[] parts
function M.path(name)
  local parts = {}
  for part in (name .. "."):gmatch("(.-)%.") do
    if not part:match("^[%a_][%w_]*$") then
      error(("bad field name %q"):format(name), 3)
    end
    parts[#parts + 1] = part
  end
  return parts
end

-- The different values of a list: what has_all counts.
local function distinct(values)
  local out, seen = {}, {}
  for _, value in ipairs(values) do
    if not seen[value] then
      seen[value] = true
      out[#out + 1] = value
    end
  end
  if not out[1] then
    error("has_all of nothing", 3)
  end
  return out
end

local function add_conditions(list, name, wanted)
  M.path(name)
  if type(wanted) ~= "table" then
    list[#list + 1] = { field = name, op = "eq", value = wanted }
    return
  end
  for op, value in pairs(wanted) do
    if not operators[op] then
      error(("bad operator %q on %s"):format(tostring(op), name), 3)
    end
    list[#list + 1] = {
      field = name, op = op, value = op == "has_all" and distinct(value) or value,
    }
  end
end

local function by_field(a, b)
  return a.field == b.field and a.op < b.op or a.field < b.field
end

---Conditions of a filter in a stable order; `any_of` becomes one condition with alternatives.
---@param filter table<string, any>
---@return {field: string?, op: string, value: any}[]
function M.conditions(filter)
  local list = {}
  for name, wanted in pairs(filter) do
    if name ~= "any_of" then
      add_conditions(list, name, wanted)
    end
  end
  table.sort(list, by_field)
  if filter.any_of then
    local alternatives = {}
    for i, part in ipairs(filter.any_of) do
      if part.any_of then
        error("any_of inside any_of", 2)
      end
      alternatives[i] = M.conditions(part)
      for _, condition in ipairs(alternatives[i]) do
        if condition.op == "has_all" then
          error("has_all inside any_of", 2)
        end
      end
    end
    list[#list + 1] = { op = "any_of", value = alternatives }
  end
  return list
end

---{"-started_at"} becomes fields with directions, `_id` last so that the order is total.
---@param sort? string[]
---@return {field: string, descending: boolean}[]
function M.order(sort)
  local keys, last = {}, false
  for i, name in ipairs(sort or {}) do
    local minus, field = name:match("^(%-?)(.+)$")
    M.path(field)
    last = minus == "-"
    keys[i] = { field = field, descending = last }
    if field == "_id" then
      return keys
    end
  end
  keys[#keys + 1] = { field = "_id", descending = last }
  return keys
end

local function value_at(doc, path)
  for _, part in ipairs(path) do
    doc = type(doc) == "table" and doc[part] or nil
  end
  return doc
end

local function signature(keys)
  local out = {}
  for i, key in ipairs(keys) do
    out[i] = (key.descending and "-" or "+") .. key.field
  end
  return table.concat(out)
end

---A position in a sorted list, opaque to clients: one line per key, its type before its value.
---@param codec {base64url: fun(s: string): string}
function M.cursor(keys, document, codec)
  local lines = { signature(keys) }
  for i, key in ipairs(keys) do
    local value = value_at(document, M.path(key.field))
    local kind = type(value):sub(1, 1)
    if kind == "n" and value == nil then
      lines[i + 1] = "-"
    elseif kind == "n" then
      lines[i + 1] = ("n%.17g"):format(value)
    elseif kind == "b" then
      lines[i + 1] = "b" .. (value and "1" or "0")
    else
      lines[i + 1] = "s" .. tostring(value):gsub("[%%\n]", { ["%"] = "%25", ["\n"] = "%0A" })
    end
  end
  return codec.base64url(table.concat(lines, "\n"))
end

---Values of a cursor by key position; `false` stands for an absent value.
---@return any[]? values nil when it is not a cursor of this sort
function M.uncursor(keys, text, codec)
  local plain = codec.unbase64url(text)
  if not plain then
    return nil
  end
  local lines = {}
  for line in (plain .. "\n"):gmatch("(.-)\n") do
    lines[#lines + 1] = line
  end
  if #lines ~= #keys + 1 or lines[1] ~= signature(keys) then
    return nil
  end
  local values = {}
  for i = 1, #keys do
    local kind, rest = lines[i + 1]:match("^(.)(.*)$")
    if kind == "n" then
      values[i] = tonumber(rest)
    elseif kind == "s" then
      values[i] = rest:gsub("%%0A", "\n"):gsub("%%25", "%%")
    elseif kind == "b" then
      values[i] = rest == "1" and 1 or 0
    elseif kind == "-" then
      values[i] = false
    end
    if values[i] == nil then
      return nil
    end
  end
  return values
end

-- Absent and null are the same at the top of a document, so null there is a removal.
local function without_nulls(ops)
  local set, unset = {}, { unpack(ops.unset or {}) }
  for name, value in pairs(ops.set or {}) do
    if value == json.null and not name:find(".", 1, true) then
      unset[#unset + 1] = name
    else
      set[name] = value
    end
  end
  return { set = set, unset = unset, inc = ops.inc or {}, push = ops.push or {} }
end

---Checks update operations: {set=, unset=, inc=, push=}.
---@return {set: table, unset: string[], inc: table, push: table}
function M.operations(ops)
  for verb, changes in pairs(ops) do
    if verb ~= "set" and verb ~= "unset" and verb ~= "inc" and verb ~= "push" then
      error(("bad operation %q"):format(tostring(verb)), 3)
    end
    for key, value in pairs(changes) do
      local name = verb == "unset" and value or key
      local first = M.path(name)[1]
      if first == "_id" or first == "v" or first == "created_at" or first == "updated_at" then
        error(name .. " is kept by the store", 3)
      end
    end
  end
  return without_nulls(ops)
end

-- Before: negative; absent values come first.
local function compare(a, b)
  if a == b then
    return 0
  elseif a == nil or b == nil then
    return a == nil and -1 or 1
  elseif type(a) == "boolean" then
    return a and 1 or -1
  end
  return a < b and -1 or 1
end

---Brings documents into the order of `keys`.
function M.sort(docs, keys)
  local paths = {}
  for i, key in ipairs(keys) do
    paths[i] = M.path(key.field)
  end
  table.sort(docs, function(a, b)
    for i, key in ipairs(keys) do
      local order = compare(value_at(a, paths[i]), value_at(b, paths[i]))
      if order ~= 0 then
        return (order < 0) ~= key.descending
      end
    end
    return false
  end)
  return docs
end

return M
