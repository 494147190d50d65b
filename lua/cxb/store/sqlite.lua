-- The document store on SQLite: one table a collection (_id, v, created_at, updated_at, doc JSON);
-- each indexed field is a generated column, so one UPDATE of `doc` keeps everything in step. The
-- driver (cxb.sqlite) groups the writes of one turn of the loop into one commit, synchronous FULL.
local json = require("cxb.json")
local query = require("cxb.store.query")
local sql = require("cxb.store.sql")

local quote = sql.quote

local M = {}
M.__index = M

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
    if not sql.own[name] then
      rest[name] = value
    end
  end
  return json.encode(rest)
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
          if not sql.own[plain] then
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

local function run(self, text, params)
  local rows, code, message = self.db:exec(text, unpack(params))
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
        sql.json_path(field)), {})
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

function M:find(name, conditions, options)
  local collection, params = self.collections[name], {}
  local filter = sql.where(collection, conditions, params)
  if options.after then
    filter = filter .. " AND " .. sql.after(collection, options.keys, options.after, params)
  end
  params[#params + 1] = options.limit
  local rows, err = run(self, ("SELECT _id,v,created_at,updated_at,%s FROM %s WHERE %s ORDER BY %s "
    .. "LIMIT ?"):format(sql.projection(options.fields), quote(name), filter,
    sql.order(collection, options.keys)), params)
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
  local doc = sql.changed(ops, params)
  params[#params + 1] = now
  params[#params + 1] = id
  local filter = sql.where(self.collections[name], conditions, params)
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
    local doc = sql.changed(ops, params)
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
  local filter = sql.where(self.collections[name], conditions, params)
  params[#params + 1] = max
  local rows, err = run(self, ("SELECT count(*) AS n FROM (SELECT 1 FROM %s WHERE %s LIMIT ?)")
    :format(quote(name), filter), params)
  if not rows then
    return nil, err
  end
  return rows[1].n
end

function M:close()
  self.db:close()
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
