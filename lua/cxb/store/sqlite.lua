-- The document store on SQLite: one table a collection (_id, v, created_at, updated_at, doc JSON);
-- each indexed field is a generated column, so one UPDATE of `doc` keeps everything in step. The
-- driver (cxb.sqlite) groups the writes of one turn of the loop into one commit, synchronous FULL.
local json = require("cxb.json")
local query = require("cxb.store.query")

local M = {}
M.__index = M

local own = { _id = true, v = true, created_at = true, updated_at = true }

local function quote(name)
  return '"' .. name .. '"'
end

local function json_path(name)
  return "'$.\"" .. name:gsub("%.", '"."') .. "\"'"
end

-- The SQL that reads a field: its own column, or out of the document.
local function field_sql(collection, name)
  if own[name] or collection.columns[name] then
    return quote(name)
  end
  return "json_extract(doc," .. json_path(name) .. ")"
end

local function bound(value)
  if type(value) == "boolean" then
    return value and 1 or 0
  end
  return value
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

-- SQL of conditions joined by AND; values are appended to `params`.
function where(collection, conditions, params)
  local parts = {}
  for i, condition in ipairs(conditions) do
    parts[i] = condition_sql(collection, condition, params)
  end
  return parts[1] and table.concat(parts, " AND ") or "1"
end

-- What comes after a cursor. Absent values sort first (last when descending).
local function after_sql(collection, keys, values, params)
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

-- A first, coarse bound that an index can start from; the exact rule is after_sql's.
local function bound_sql(collection, keys, values, params)
  local key, value = keys[1], values[1]
  if value == false or (key.descending and not collection.required[key.field]) then
    return "1"
  end
  params[#params + 1] = value
  return field_sql(collection, key.field) .. (key.descending and "<=?" or ">=?")
end

local function order_sql(collection, keys)
  local parts = {}
  for i, key in ipairs(keys) do
    parts[i] = field_sql(collection, key.field) .. (key.descending and " DESC" or "")
  end
  return table.concat(parts, ",")
end

local function document(row)
  local doc = json.decode(row.doc)
  for name, value in pairs(doc) do
    if value == json.null then
      doc[name] = nil
    end
  end
  doc._id, doc.v = row._id, row.v
  doc.created_at, doc.updated_at = row.created_at, row.updated_at
  return doc
end

local function body(doc)
  local rest = {}
  for name, value in pairs(doc) do
    if not own[name] then
      rest[name] = value
    end
  end
  return json.encode(rest)
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

-- SQL that makes the new `doc` of an update out of the old one; values are appended to `params`.
local function changed_sql(ops, params)
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
    sets[#sets + 1] = ("%s,ifnull(json_extract(doc,%s),0)+?"):format(path, path)
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
  local sql = json_call("json_insert", "doc", parents, 50)
  sql = json_call("json_set", sql, sets, 50)
  sql = json_call("json_insert", sql, pushes, 50)
  return json_call("json_remove", sql, gone, 100)
end

function M.new(driver, collections)
  local self = setmetatable({ driver = driver, collections = {} }, M)
  for name, declared in pairs(collections) do
    local collection = { name = name, columns = {}, required = {}, indexes = {} }
    for field, kind in pairs(declared.fields) do
      collection.required[field] = not kind:match("%?$")
    end
    for _, list in ipairs({ declared.unique or {}, declared.indexes or {} }) do
      for _, fields in ipairs(list) do
        local unique = list == declared.unique
        local parts, keys = { name, unique and "u" or nil }, {}
        for i, field in ipairs(fields) do
          local minus, plain = field:match("^(%-?)(.+)$")
          query.path(plain)
          if not own[plain] then
            collection.columns[plain] = true
          end
          keys[i] = quote(plain) .. (minus == "-" and " DESC" or "")
          parts[#parts + 1] = (plain:gsub("%.", "_"))
        end
        if not unique then
          keys[#keys + 1] = fields[#fields]:match("^%-") and "_id DESC" or "_id"
        end
        collection.indexes[#collection.indexes + 1] = {
          name = table.concat(parts, "_"), unique = unique,
          fields = fields, keys = table.concat(keys, ","),
        }
      end
    end
    self.collections[name] = collection
  end
  return self
end

-- What the driver cannot do is an outage; only a broken unique key is the document's own fault.
local function failure(code, message)
  if code == "duplicate" then
    local columns = (message or ""):match("failed: (.+)$") or "_id"
    local key = columns:gsub("[%w_]+%.", ""):gsub(", ", ",")
    return { code = "duplicate", key = key, message = key .. " exists already" }
  end
  return { code = "unavailable", message = tostring(message or code), cause = code }
end

local function run(self, sql, params)
  local rows, code, message = self.db:exec(sql, unpack(params))
  if not rows then
    return nil, failure(code, message)
  end
  return rows, code
end

local function add_columns(self, collection)
  local rows, err = run(self, "SELECT name FROM pragma_table_xinfo(?)", { collection.name })
  if not rows then
    return nil, err
  end
  local present = {}
  for _, row in ipairs(rows) do
    present[row.name] = true
  end
  for field in pairs(collection.columns) do
    if not present[field] then
      local ok, why = run(self, ("ALTER TABLE %s ADD COLUMN %s GENERATED ALWAYS AS "
        .. "(json_extract(doc,%s)) VIRTUAL"):format(quote(collection.name), quote(field),
        json_path(field)), {})
      if not ok then
        return nil, why
      end
    end
  end
  return true
end

---(waits) Opens the file and makes what is missing in it.
---@return true?, {code: string, message: string}? err
function M:open(path)
  local db, code, message = self.driver.open(path, { sync = "full" })
  if not db then
    return nil, failure(code, message)
  end
  self.db = db
  for _, collection in pairs(self.collections) do
    local ok, err = run(self, ("CREATE TABLE IF NOT EXISTS %s (_id TEXT PRIMARY KEY NOT NULL,"
      .. "v INTEGER NOT NULL,created_at INTEGER NOT NULL,updated_at INTEGER NOT NULL,"
      .. "doc TEXT NOT NULL)"):format(quote(collection.name)), {})
    if ok then
      ok, err = add_columns(self, collection)
    end
    for _, index in ipairs(ok and collection.indexes or {}) do
      if ok then
        ok, err = run(self, ("CREATE %sINDEX IF NOT EXISTS %s ON %s (%s)"):format(
          index.unique and "UNIQUE " or "", quote(index.name), quote(collection.name), index.keys),
          {})
      end
    end
    if not ok then
      return nil, err
    end
  end
  return true
end

function M:insert(name, doc)
  local rows, err = run(self, ("INSERT INTO %s(_id,v,created_at,updated_at,doc) VALUES(?,?,?,?,?)")
    :format(quote(name)), { doc._id, doc.v, doc.created_at, doc.updated_at, body(doc) })
  if not rows then
    return nil, err
  end
  return doc
end

function M:get(name, id)
  local rows, err = run(self, ("SELECT _id,v,created_at,updated_at,doc FROM %s WHERE _id=?")
    :format(quote(name)), { id })
  if not rows then
    return nil, err
  end
  return rows[1] and document(rows[1]) or nil, not rows[1] and { code = "not_found" } or nil
end

local function projection(fields)
  if not fields then
    return "doc"
  end
  local parts = {}
  for _, field in ipairs(fields) do
    if not own[field] then
      parts[#parts + 1] = ("'%s',doc->%s"):format(field, json_path(field))
    end
  end
  return "json_object(" .. table.concat(parts, ",") .. ") AS doc"
end

function M:find(name, conditions, options)
  local collection, params = self.collections[name], {}
  local filter = where(collection, conditions, params)
  if options.after then
    filter = filter .. " AND " .. bound_sql(collection, options.keys, options.after, params)
    filter = filter .. " AND " .. after_sql(collection, options.keys, options.after, params)
  end
  params[#params + 1] = options.limit
  local rows, err = run(self, ("SELECT _id,v,created_at,updated_at,%s FROM %s WHERE %s ORDER BY %s "
    .. "LIMIT ?"):format(projection(options.fields), quote(name), filter,
    order_sql(collection, options.keys)), params)
  if not rows then
    return nil, err
  end
  for i, row in ipairs(rows) do
    rows[i] = document(row)
  end
  return rows
end

function M:update(name, id, ops, conditions, now)
  local params = {}
  local doc = changed_sql(ops, params)
  params[#params + 1] = now
  params[#params + 1] = id
  local filter = where(self.collections[name], conditions, params)
  local rows, err = run(self, ("UPDATE %s SET doc=%s,v=v+1,updated_at=? WHERE _id=? AND %s "
    .. "RETURNING _id,v,created_at,updated_at,doc"):format(quote(name), doc, filter), params)
  if not rows then
    return nil, err
  elseif rows[1] then
    return document(rows[1])
  end
  rows, err = run(self, ("SELECT 1 FROM %s WHERE _id=?"):format(quote(name)), { id })
  if not rows then
    return nil, err
  end
  local code = rows[1] and "conflict" or "not_found"
  return nil, { code = code, message = ("%s %s: %s"):format(name, id, code) }
end

-- `fresh` is the document to insert; `key` the fields of a declared unique key.
function M:upsert(name, key, fresh, ops, now)
  local columns = {}
  for i, field in ipairs(key) do
    columns[i] = quote(field)
  end
  local params = { fresh._id, fresh.v, fresh.created_at, fresh.updated_at, body(fresh) }
  local action = "NOTHING"
  if next(ops.set or {}) then
    local doc = changed_sql(ops, params)
    action = ("UPDATE SET doc=%s,v=v+1,updated_at=?"):format(doc)
    params[#params + 1] = now
  end
  local rows, err = run(self, ("INSERT INTO %s(_id,v,created_at,updated_at,doc) VALUES(?,?,?,?,?) "
    .. "ON CONFLICT(%s) DO %s RETURNING _id,v,created_at,updated_at,doc"):format(quote(name),
    table.concat(columns, ","), action), params)
  if not rows then
    return nil, err
  elseif rows[1] then
    return document(rows[1]), rows[1].v == 1
  end
  return nil, { code = "exists" }
end

function M:count(name, conditions, max)
  local params = {}
  local filter = where(self.collections[name], conditions, params)
  params[#params + 1] = max
  local rows, err = run(self, ("SELECT count(*) AS n FROM (SELECT 1 FROM %s WHERE %s LIMIT ?)")
    :format(quote(name), filter), params)
  if not rows then
    return nil, err
  end
  return rows[1].n
end

---(waits) Whether the store answers now.
function M:ping()
  local rows, err = run(self, "SELECT 1 AS one", {})
  if not rows then
    return nil, err
  end
  return true
end

return M
