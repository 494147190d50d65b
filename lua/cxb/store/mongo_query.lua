-- What the store says on MongoDB's wire: filters, sorts, cursors, changes, documents. Only what
-- MongoDB and its look-alikes both do. Declared times are BSON dates there, milliseconds here.
local json = require("cxb.json")
local query = require("cxb.store.query")

local M = {}

local own_mt, date_mt = { __name = "mongo.own" }, { __name = "mongo.date" }
local null, array = json.null, json.array

---own("k", v, ...): an object of the program's own words in this order, e.g. operators.
local function own(...)
  local out, items = {}, { ... }
  for i = 1, select("#", ...), 2 do
    out[#out + 1] = { items[i], items[i + 1] }
  end
  return setmetatable(out, own_mt)
end
M.own = own

---How the fields of a collection are kept.
---@param declared table of cxb.store.collections
function M.collection(declared)
  local times = { created_at = true, updated_at = true }
  for field, kind in pairs(declared.fields) do
    if kind:match("^t") then
      local at, path = times, query.path(field)
      for i = 1, #path - 1 do
        at[path[i]] = at[path[i]] or {}
        at = at[path[i]]
      end
      at[path[#path]] = true
    end
  end
  return { declared = declared, times = times }
end

-- A value as it is kept: `times` is true for a time, a table for an object that has some.
local function kept(value, times)
  if not times then
    return value
  elseif times == true then
    return type(value) == "number" and setmetatable({ value }, date_mt) or value
  elseif type(value) ~= "table" or getmetatable(value) then
    return value
  end
  local out = {}
  for name, part in pairs(value) do
    out[name] = kept(part, times[name])
  end
  return out
end

local function times_of(collection, field)
  local at = collection.times
  for _, part in ipairs(query.path(field)) do
    at = type(at) == "table" and at[part] or nil
  end
  return at
end

---A document as it is kept: without nulls at its top.
function M.document(collection, doc)
  local out = {}
  for name, value in pairs(doc) do
    if value ~= null then
      out[name] = kept(value, collection.times[name])
    end
  end
  return out
end

---A document as scripts have it; `doc` is changed.
function M.read(doc)
  for name, value in pairs(doc) do
    if value == null then
      doc[name] = nil
    end
  end
  return doc
end

-- No text that begins with `prefix` is greater.
local function after_prefix(prefix)
  return prefix .. "\244\143\191\191"
end

local comparisons = { ne = "$ne", gt = "$gt", gte = "$gte", lt = "$lt", lte = "$lte" }

local function each_kept(values, times)
  local out = array()
  for _, value in ipairs(values) do
    if value ~= null then
      out[#out + 1] = kept(value, times)
    end
  end
  return out
end

local function condition(collection, field, op, value)
  local times = times_of(collection, field)
  if op == "eq" then
    return kept(value, times)
  elseif op == "exists" then
    return value and own("$ne", null) or null
  elseif op == "in" then
    return own("$in", each_kept(value, times))
  elseif op == "has_all" then
    return own("$all", each_kept(value, times))
  elseif op == "prefix" then
    return value == "" and own("$ne", null) or own("$gte", value, "$lt", after_prefix(value))
  end
  return own(comparisons[op], kept(value, times))
end

---The filter of conditions (cxb.store.query), joined by AND.
function M.filter(collection, conditions)
  local out, more, seen = own(), array(), {}
  for _, wanted in ipairs(conditions) do
    local name, value
    if wanted.op ~= "any_of" then
      name = wanted.field
      value = condition(collection, name, wanted.op, wanted.value)
    elseif wanted.value[1] then
      name, value = "$or", array()
      for i, part in ipairs(wanted.value) do
        value[i] = M.filter(collection, part)
      end
    else
      name, value = "_id", own("$in", array()) -- one of none
    end
    if seen[name] then
      more[#more + 1] = own(name, value)
    else
      seen[name] = true
      out[#out + 1] = { name, value }
    end
  end
  if more[1] then
    out[#out + 1] = { "$and", more }
  end
  return out
end

---Both of two filters.
function M.both(a, b)
  return own("$and", array({ a, b }))
end

function M.sort(keys)
  local out = own()
  for i, key in ipairs(keys) do
    out[i] = { key.field, key.descending and -1 or 1 }
  end
  return out
end

local always = { _id = true, v = true, created_at = true, updated_at = true }

local function may_be_absent(collection, field)
  local kind = collection.declared.fields[field]
  return not always[field] and (not kind or kind:match("%?$") ~= nil)
end

-- A value of a cursor (false: absent; 1 and 0 for true and false) as it is kept.
local function position(collection, field, value)
  if value == false then
    return null
  elseif (collection.declared.fields[field] or ""):match("^b") then
    return value == 1
  end
  return kept(value, times_of(collection, field))
end

-- Documents behind `value` in the order of one key; nil when there are none. An absent value comes
-- before all others.
local function behind(collection, key, value)
  local field = key.field
  if not key.descending then
    return value == null and own(field, own("$ne", null)) or own(field, own("$gt", value))
  elseif value == null then
    return nil
  elseif may_be_absent(collection, field) then
    return own("$or", array({ own(field, own("$lt", value)), own(field, null) }))
  end
  return own(field, own("$lt", value))
end

---The filter of what comes after a cursor's position.
---@param values any[] of cxb.store.query.uncursor
function M.after(collection, keys, values)
  local alternatives, equal = array(), {}
  for i, key in ipairs(keys) do
    local value = position(collection, key.field, values[i])
    local part = behind(collection, key, value)
    if part then
      local all = array({ unpack(equal) })
      all[#all + 1] = part
      alternatives[#alternatives + 1] = own("$and", all)
    end
    equal[i] = own(key.field, value)
  end
  local first = position(collection, keys[1].field, values[1])
  local out = own("$or", alternatives)
  if first ~= null and not (keys[1].descending and may_be_absent(collection, keys[1].field)) then
    -- Says nothing new; it is where an index begins to be read.
    out[2] = { keys[1].field, own(keys[1].descending and "$lte" or "$gte", first) }
  end
  return out
end

---The update of operations (cxb.store.query), with what each change of a document changes.
function M.update(collection, ops, now)
  local set, unset = own(), own()
  for name, value in pairs(ops.set) do
    set[#set + 1] = { name, kept(value, times_of(collection, name)) }
  end
  set[#set + 1] = { "updated_at", kept(now, true) }
  for _, name in ipairs(ops.unset) do
    unset[#unset + 1] = { name, "" }
  end
  local inc, push = own("v", 1), own()
  for name, value in pairs(ops.inc) do
    inc[#inc + 1] = { name, value }
  end
  for name, value in pairs(ops.push) do
    push[#push + 1] = { name, value }
  end
  local out = own("$set", set, "$inc", inc)
  if unset[1] then
    out[#out + 1] = { "$unset", unset }
  end
  if push[1] then
    out[#out + 1] = { "$push", push }
  end
  return out
end

---These fields, `_id` and the common ones.
function M.projection(fields)
  local out, seen = own("v", 1, "created_at", 1, "updated_at", 1), {}
  for _, field in ipairs(fields) do
    if not always[field] and not seen[field] then
      seen[field] = true
      out[#out + 1] = { field, 1 }
    end
  end
  return out
end

---All fields but these.
function M.without(fields)
  local out = own()
  for i, field in ipairs(fields) do
    out[i] = { field, 0 }
  end
  return out
end

return M
