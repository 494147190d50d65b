-- SQL text of filters, sorts, cursors and changes; values go into `params`, never into the text.
local json = require("cxb.json")

local M = {}

local own = { _id = true, v = true, created_at = true, updated_at = true }

---Fields every document has, each a column of its own.
M.own = own

local function quote(name)
  return '"' .. name .. '"'
end
M.quote = quote

-- "a.b" as SQLite's '$."a"."b"'.
local function json_path(name)
  return "'$.\"" .. name:gsub("%.", '"."') .. "\"'"
end
M.json_path = json_path

local function bound(value)
  if type(value) == "boolean" then
    return value and 1 or 0
  end
  return value
end

-- The SQL that reads a field: its own column, or out of the document. `as` is the alias of the
-- table with its dot.
local function field_sql(collection, name)
  if own[name] or collection.columns[name] then
    return collection.as .. quote(name)
  end
  return "json_extract(" .. collection.as .. "doc," .. json_path(name) .. ")"
end
M.field = field_sql

-- Whether a list of the document holds all of these.
local function has_all_sql(collection, name, values, params)
  for _, value in ipairs(values) do
    params[#params + 1] = bound(value)
  end
  params[#params + 1] = #values
  return ("(SELECT count(DISTINCT value) FROM json_each(%sdoc,%s) WHERE value IN (%s))>=?"):format(
    collection.as, json_path(name), ("?,"):rep(#values):sub(1, -2))
end

-- The least text greater than every text that begins with `prefix`.
local function after_prefix(prefix)
  return prefix:sub(1, -2) .. string.char(prefix:byte(-1) + 1)
end

local comparisons = { eq = "=", ne = "IS NOT", gt = ">", gte = ">=", lt = "<", lte = "<=" }

local where

local function condition_sql(collection, condition, params)
  local op, value = condition.op, condition.value
  if op == "any_of" then
    local parts = {}
    for i, conditions in ipairs(value) do
      parts[i] = "(" .. where(collection, conditions, params) .. ")"
    end
    return parts[1] and "(" .. table.concat(parts, " OR ") .. ")" or "0"
  end
  if op == "has_all" then
    return has_all_sql(collection, condition.field, value, params)
  end
  local sql = field_sql(collection, condition.field)
  if op == "exists" then
    return sql .. (value and " IS NOT NULL" or " IS NULL")
  elseif op == "in" then
    for _, item in ipairs(value) do
      params[#params + 1] = bound(item)
    end
    return sql .. " IN (" .. ("?,"):rep(#value):sub(1, -2) .. ")"
  elseif op == "prefix" then
    if value == "" then
      return sql .. " IS NOT NULL"
    end
    params[#params + 1] = value
    params[#params + 1] = after_prefix(value)
    return sql .. ">=? AND " .. sql .. "<?"
  end
  if op == "eq" and value == json.null then
    return sql .. " IS NULL"
  end
  params[#params + 1] = bound(value)
  return sql .. " " .. comparisons[op] .. " ?"
end

---Conditions (cxb.store.query) joined by AND.
function where(collection, conditions, params)
  local parts = {}
  for i, condition in ipairs(conditions) do
    parts[i] = condition_sql(collection, condition, params)
  end
  return parts[1] and table.concat(parts, " AND ") or "1"
end

M.where = where

-- What comes after a cursor. Absent values sort first (last when descending).
local function after_keys(collection, keys, values, params)
  local alternatives, prefix, prefix_values = {}, {}, {}
  for i, key in ipairs(keys) do
    local sql, value = field_sql(collection, key.field), values[i]
    local step
    if value == false then
      step = not key.descending and sql .. " IS NOT NULL" or nil
    elseif key.descending then
      local never_absent = own[key.field] or collection.required[key.field]
      step = never_absent and sql .. "<?" or "(" .. sql .. "<? OR " .. sql .. " IS NULL)"
    else
      step = sql .. ">?"
    end
    if step then
      for _, earlier in ipairs(prefix_values) do
        params[#params + 1] = earlier
      end
      if value ~= false then
        params[#params + 1] = value
      end
      prefix[#prefix + 1] = step
      alternatives[#alternatives + 1] = table.concat(prefix, " AND ")
      prefix[#prefix] = nil
    end
    prefix[#prefix + 1] = sql .. (value == false and " IS NULL" or "=?")
    if value ~= false then
      prefix_values[#prefix_values + 1] = value
    end
  end
  return "(" .. table.concat(alternatives, " OR ") .. ")"
end

-- A first, coarse bound that an index can start from; the exact rule is after_keys'.
local function coarse(collection, keys, values, params)
  local key, value = keys[1], values[1]
  if value == false or (key.descending and not collection.required[key.field]) then
    return "1"
  end
  params[#params + 1] = value
  return field_sql(collection, key.field) .. (key.descending and "<=?" or ">=?")
end

---What comes after a cursor's values in the order of `keys`.
---@return string
function M.after(collection, keys, values, params)
  local first = coarse(collection, keys, values, params)
  return first .. " AND " .. after_keys(collection, keys, values, params)
end

---@return string
function M.order(collection, keys)
  local parts = {}
  for i, key in ipairs(keys) do
    parts[i] = field_sql(collection, key.field) .. (key.descending and " DESC" or "")
  end
  return table.concat(parts, ",")
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map or {}) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

-- json_set(sql, path, value, …) in calls of a size SQLite takes (127 arguments).
local function json_call(fn, sql, args, per_call)
  for first = 1, #args, per_call do
    sql = ("%s(%s,%s)"):format(fn, sql, table.concat(args, ",", first,
      math.min(first + per_call - 1, #args)))
  end
  return sql
end

-- Whether all that an update sets is whole fields.
local function only_whole(ops)
  for name in pairs(ops.set) do
    if name:find(".", 1, true) then
      return false
    end
  end
  return next(ops.set) and not next(ops.inc or {}) and not next(ops.push or {})
end

local texts, text_count, TEXTS_MAX = {}, 0, 500

-- Whole fields come as one value, an object of them, and the text is made once for those of a name.
-- `complete`: what is set is all of it where it was {} before, and is not taken apart then.
local function changed_whole(ops, params, json_sql, complete)
  local names, gone = sorted_keys(ops.set), ops.unset or {}
  params[#params + 1] = json.encode(ops.set)
  local key = table.concat({ json_sql, table.concat(names, ","), table.concat(gone, ",") }, ";")
  if texts[key] then
    return texts[key]
  elseif text_count >= TEXTS_MAX then
    texts, text_count = {}, 0
  end
  local sets, removed = {}, {}
  for i, name in ipairs(names) do
    local path = json_path(name)
    sets[i] = path .. ",p->" .. path
  end
  for i, name in ipairs(gone) do
    removed[i] = json_path(name)
  end
  local sql = complete
    and ("(SELECT iif(b='{}',p,%s) FROM (SELECT %s AS b,? AS p))"):format(
      json_call("json_set", "b", sets, 50), json_sql)
    or ("(SELECT %s FROM (SELECT ? AS p))"):format(json_call("json_set", json_sql, sets, 50))
  texts[key] = json_call("json_remove", sql, removed, 100)
  text_count = text_count + 1
  return texts[key]
end

-- The expression that makes the new JSON of an update out of the old one, `json_sql`.
local function changed(ops, params, json_sql, complete)
  if only_whole(ops) then
    return changed_whole(ops, params, json_sql, complete)
  end
  local parents, sets, pushes, gone, seen = {}, {}, {}, {}, {}
  local function target(name)
    for at in name:gmatch("()%.") do
      local parent = name:sub(1, at - 1)
      if not seen[parent] then
        seen[parent] = true
        parents[#parents + 1] = json_path(parent) .. ",json('{}')"
      end
    end
    return json_path(name)
  end
  for _, name in ipairs(sorted_keys(ops.set)) do
    sets[#sets + 1] = target(name) .. ",json(?)"
    params[#params + 1] = json.encode(ops.set[name])
  end
  for _, name in ipairs(sorted_keys(ops.inc)) do
    local path = target(name)
    sets[#sets + 1] = ("%s,ifnull(json_extract(%s,%s),0)+?"):format(path, json_sql, path)
    params[#params + 1] = ops.inc[name]
  end
  for _, name in ipairs(sorted_keys(ops.push)) do
    local path = target(name)
    parents[#parents + 1] = path .. ",json('[]')"
    pushes[#pushes + 1] = path:sub(1, -2) .. "[#]',json(?)"
    params[#params + 1] = json.encode(ops.push[name])
  end
  for i, name in ipairs(ops.unset or {}) do
    gone[i] = json_path(name)
  end
  local sql = json_call("json_insert", json_sql, parents, 50)
  sql = json_call("json_set", sql, sets, 50)
  sql = json_call("json_insert", sql, pushes, 50)
  return json_call("json_remove", sql, gone, 100)
end

-- Operations on fields that are kept apart, and those on the others.
local function divided(bulk, ops)
  local apart, rest, any = {}, {}, false
  for verb, changes in pairs(ops) do
    apart[verb], rest[verb] = {}, {}
    for key, value in pairs(changes) do
      local name = verb == "unset" and value or key
      local part = bulk.is[name:match("^[^.]+")] and apart or rest
      any = any or part == apart
      part = part[verb]
      part[verb == "unset" and #part + 1 or key] = value
    end
  end
  return any and apart, rest
end

---What an update does: further columns with their commas ("bulk=…,"), whose values come first in
---`params`, and the expression of the new `doc`.
---@return string columns, string doc
function M.changed(collection, ops, params)
  local bulk = collection.bulk
  if not bulk then
    return "", changed(ops, params, "doc")
  end
  local apart, rest = divided(bulk, ops)
  local kept = apart and changed(apart, params, bulk.current, true) or bulk.current
  return "bulk=" .. kept .. ",", changed(rest, params, apart and bulk.removed or bulk.left)
end

---How a collection keeps the fields that it declares as bulk: in a column of their own, `bulk`. A
---row of an older file has NULL there and all in `doc` until it is written; `doc` wins.
---@param names? string[]
---@return {is: table<string, true>, current: string, removed: string, left: string}?
function M.bulk(names)
  if not names then
    return nil
  end
  local is, quoted, paths = {}, {}, {}
  for i, name in ipairs(names) do
    is[name], quoted[i], paths[i] = true, "'" .. name .. "'", json_path(name)
  end
  local removed = ("json_remove(doc,%s)"):format(table.concat(paths, ","))
  return {
    is = is, removed = removed, left = ("iif(bulk IS NULL,%s,doc)"):format(removed),
    current = ("ifnull(bulk,(SELECT json_group_object(key,doc->('$.\"'||key||'\"')) "
      .. "FROM json_each(doc) WHERE key IN (%s)))"):format(table.concat(quoted, ",")),
  }
end

---The columns of a document: all of it, or these fields only.
---@param small? boolean without those that are kept apart
---@return string
function M.projection(collection, fields, small)
  local bulk = collection.bulk
  if not fields then
    return bulk and (small and bulk.left .. " AS doc" or "doc,bulk") or "doc"
  end
  local parts = {}
  for _, field in ipairs(fields) do
    if not own[field] then
      local path = json_path(field)
      parts[#parts + 1] = ("'%s',"):format(field) .. (bulk and bulk.is[field]
        and ("ifnull(doc->%s,bulk->%s)"):format(path, path) or "doc->" .. path)
    end
  end
  return "json_object(" .. table.concat(parts, ",") .. ") AS doc"
end

return M
