-- The document store on SQLite: one table a collection (_id, v, created_at, updated_at, doc JSON);
-- each indexed field is a generated column, so one UPDATE of `doc` keeps everything in step; fields
-- declared as bulk have a column of their own; what long lists need stands beside it
-- (cxb.store.lists). The driver (cxb.sqlite) groups the writes of one turn of the loop into one
-- commit, synchronous FULL. Other processes may use the same file.
local json = require("cxb.json")
local new_table = require("table.new")
local schema = require("cxb.store.sqlite_schema")
local sql = require("cxb.store.sql")

local quote = sql.quote
local ROOM = 16 -- as in cxb.store

local UNSETTLED_MAX, SETTLINGS_MAX = 256, 10000

local M = {}
M.__index = M

local function document(row)
  local doc = json.decode(row.doc)
  for name, value in pairs(row.bulk and json.decode(row.bulk) or {}) do
    doc[name] = doc[name] == nil and value or doc[name]
  end
  for name, value in pairs(doc) do
    if value == json.null then
      doc[name] = nil
    end
  end
  doc._id, doc.v = row._id, row.v
  doc.created_at, doc.updated_at = row.created_at, row.updated_at
  return doc
end

-- The values of a new row, in the order of `collection.insert`, behind what `row` holds.
local function values(collection, doc, row)
  local bulk, small, apart = collection.bulk, new_table(0, ROOM), {}
  for name, value in pairs(doc) do
    if bulk and bulk.is[name] then
      apart[name] = value
    elseif not sql.own[name] then
      small[name] = value
    end
  end
  local n = #row
  row[n + 1], row[n + 2], row[n + 3], row[n + 4] = doc._id, doc.v, doc.created_at, doc.updated_at
  row[n + 5] = json.encode(small)
  row[n + 6] = bulk and json.encode(apart)
  return row
end

function M.new(driver, collections)
  local self = setmetatable({ driver = driver, collections = {} }, M)
  for name, declared in pairs(collections) do
    self.collections[name] = schema.collection(name, declared)
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

-- A disk that is full or read-only still reads: only a write finds out, and `ping` asks by one.
local unwritable = { no_space = true, io = true }

local function failed(self, code, message)
  self.unwritable = self.unwritable or unwritable[code] or false
  return failure(code, message)
end

-- `at_once`: a read that is over in a moment.
local function run(self, text, params, at_once)
  local db = self.db
  local rows, code, message = (at_once and db.look or db.exec)(db, text, unpack(params))
  if not rows then
    return nil, failed(self, code, message)
  end
  return rows, code -- the number of changes
end

---(waits) Opens the file and makes what is missing in it.
---@return true?, {code: string, message: string}? err
---@param options {path: string}
function M:open(options)
  local db, code, message = self.driver.open(options.path, { sync = "full" })
  if not db then
    return nil, failure(code, message)
  end
  self.db = db
  for name, collection in pairs(self.collections) do
    if options.step then
      options.step(name)
    end
    local ok, why, text = schema.make(db, collection)
    if not ok then
      return nil, failure(why, text)
    end
  end
  return true
end

-- (waits) Puts the words that wait for a collection's index into it, some hundred documents a
-- transaction.
local function settle(self, collection)
  local question, batch = collection.lists:settling()
  for _ = 1, SETTLINGS_MAX do
    local rows, err = run(self, question, {}, true)
    if not rows or not rows[1] then
      return rows, err
    end
    local done, code, message = self.db:batch(batch)
    if not done then
      return nil, failed(self, code, message)
    end
  end
  return true
end

---(waits) What a search for words looks up is whole afterwards.
---@return any done, table? err
function M:settle(name)
  local collection = self.collections[name]
  local words = collection.lists and collection.lists.words
  return not words or settle(self, collection)
end

-- So many documents were written, whole or by `ops`: from time to time the words that wait are put
-- into their index.
local function wrote(self, collection, count, ops)
  local words = collection.lists and collection.lists.words
  if not words or ops and ops.set[words] == nil then
    return
  end
  collection.unsettled = (collection.unsettled or 0) + count
  if collection.unsettled >= UNSETTLED_MAX then
    collection.unsettled = 0
    cxb.task.spawn("words", settle, self, collection)
  end
end

function M:insert(name, doc)
  local collection = self.collections[name]
  local rows, err = run(self, collection.insert, values(collection, doc, {}))
  if not rows then
    return nil, err
  end
  wrote(self, collection, 1)
  return doc
end

function M:get(name, id, small)
  local collection = self.collections[name]
  local rows, err = run(self, small and collection.get_small or collection.get, { id }, true)
  if not rows then
    return nil, err
  elseif rows[1] then
    return document(rows[1])
  end
  return nil, { code = "not_found" }
end

function M:insert_many(name, docs)
  local collection, batch = self.collections[name], {}
  local text = collection.insert .. " ON CONFLICT DO NOTHING"
  for i, doc in ipairs(docs) do
    batch[i] = values(collection, doc, { text })
  end
  local answers, code, message = self.db:batch(batch)
  if not answers then
    return nil, failed(self, code, message)
  end
  local duplicates = {}
  for i, answer in ipairs(answers) do
    if answer.changes == 0 then
      duplicates[#duplicates + 1] = i
    end
  end
  wrote(self, collection, #docs)
  return { inserted = #docs - #duplicates, duplicates = duplicates }
end

-- The whole list is one statement: SQLite takes the text apart.
function M:insert_rows(name, text, now)
  local rows, changes = run(self, ("INSERT INTO %s(_id,v,created_at,updated_at,doc) "
    .. "SELECT value->>0,1,?,?,value->1 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING")
    :format(quote(name)), { now, now, text })
  if not rows then
    return nil, changes
  end
  wrote(self, self.collections[name], changes)
  return changes
end

-- The condition a statement on the table itself selects by.
local function matching(collection, conditions, params)
  if not collection.lists or not conditions[1] then
    return sql.where(collection, conditions, params)
  end
  local source = collection.lists:source(collection, conditions, params)
  return ("_id IN (SELECT %s FROM %s WHERE %s)"):format(source.id, source.from, source.where)
end

-- Read in the order of the lists: the narrow table finds the page, the table has its documents.
local function list_sql(collection, conditions, options, params)
  local narrow = collection.lists
  local source = narrow:source(collection, conditions, params)
  if options.after then
    source.where = source.where .. " AND "
      .. narrow:after(source.position, options.keys, options.after, params)
  end
  local direction = options.keys[1].descending and " DESC" or ""
  params[#params + 1] = options.limit
  params[#params + 1] = options.skip
  return ("SELECT c._id,c.v,c.created_at,c.updated_at,%s FROM (SELECT %s AS docid,%s AS id "
    .. "FROM %s WHERE %s ORDER BY %s%s LIMIT ? OFFSET ?) p CROSS JOIN %s c "
    .. "ON c._id=p.id ORDER BY p.docid%s"):format(
    sql.projection(collection, options.fields, options.small), source.position, source.id,
    source.from, source.where, source.position, direction, quote(collection.name), direction)
end

local function find_sql(collection, conditions, options, params)
  local filter = matching(collection, conditions, params)
  if options.after then
    filter = filter .. " AND " .. sql.after(collection, options.keys, options.after, params)
  end
  params[#params + 1] = options.limit
  params[#params + 1] = options.skip
  return ("SELECT _id,v,created_at,updated_at,%s FROM %s WHERE %s ORDER BY %s LIMIT ? OFFSET ?")
    :format(sql.projection(collection, options.fields, options.small), quote(collection.name),
    filter, sql.order(collection, options.keys))
end

local function documents(rows)
  for i, row in ipairs(rows) do
    rows[i] = document(row)
  end
  return rows
end

-- Whether one document at most can match: what its key finds is read at once.
local function by_key(collection, conditions)
  local first = conditions[1]
  return first and not conditions[2] and first.op == "eq" and collection.keys[first.field]
end

function M:find(name, conditions, options)
  local collection, params = self.collections[name], {}
  local listed = collection.lists and collection.lists:ordered(options.keys)
  local text = (listed and list_sql or find_sql)(collection, conditions, options, params)
  local rows, err = run(self, text, params, by_key(collection, conditions))
  return rows and documents(rows), err
end

function M:update(name, id, ops, conditions, now, fields, small)
  local collection, params = self.collections[name], {}
  local columns, doc = sql.changed(collection, ops, params)
  params[#params + 1] = now
  params[#params + 1] = id
  local filter = sql.where(collection, conditions, params)
  local rows, err = run(self, ("UPDATE %s SET %sdoc=%s,v=v+1,updated_at=? WHERE _id=? AND %s "
    .. "RETURNING _id,v,created_at,updated_at,%s"):format(quote(name), columns, doc, filter,
    sql.projection(collection, fields, small)), params)
  if not rows then
    return nil, err
  elseif rows[1] then
    wrote(self, collection, 1, ops)
    return document(rows[1])
  end
  return self:why_not(name, id)
end

-- Why a document that was to be written was not.
function M:why_not(name, id)
  local rows, err = run(self, ("SELECT 1 FROM %s WHERE _id=?"):format(quote(name)), { id })
  if not rows then
    return nil, err
  end
  local code = rows[1] and "conflict" or "not_found"
  return nil, { code = code, message = ("%s %s: %s"):format(name, id, code) }
end

function M:update_many(name, conditions, ops, now)
  local collection, params = self.collections[name], {}
  local columns, doc = sql.changed(collection, ops, params)
  params[#params + 1] = now
  local filter = matching(collection, conditions, params)
  local rows, changed = run(self, ("UPDATE %s SET %sdoc=%s,v=v+1,updated_at=? WHERE %s"):format(
    quote(name), columns, doc, filter), params)
  return rows and changed, changed
end

function M:delete(name, id, conditions)
  local params = { id }
  local filter = sql.where(self.collections[name], conditions, params)
  local rows, changed = run(self, ("DELETE FROM %s WHERE _id=? AND %s"):format(quote(name), filter),
    params)
  if not rows then
    return nil, changed
  elseif changed == 1 then
    return 1
  end
  return self:why_not(name, id)
end

function M:delete_many(name, conditions)
  local params = {}
  local filter = matching(self.collections[name], conditions, params)
  local rows, changed = run(self, ("DELETE FROM %s WHERE %s"):format(quote(name), filter), params)
  return rows and changed, changed
end

function M:lease(name, conditions, options)
  local collection, params = self.collections[name], {}
  local columns, doc = sql.changed(collection, options.ops, params)
  params[#params + 1] = options.owner
  params[#params + 1] = options["until"]
  params[#params + 1] = options.token
  params[#params + 1] = options.now
  local filter = matching(collection, conditions, params)
  params[#params + 1] = options.limit
  local rows, err = run(self, ("UPDATE %s SET %sdoc=json_set(%s,'$.lease',json_object('owner',?,"
    .. "'until',?,'token',%s)),v=v+1,updated_at=? WHERE _id IN (SELECT _id FROM %s WHERE %s "
    .. "ORDER BY %s LIMIT ?) RETURNING _id,v,created_at,updated_at,%s"):format(quote(name), columns,
    doc, options.token and "?" or "ifnull(json_extract(doc,'$.lease.token'),0)+1", quote(name),
    filter, sql.order(collection, options.keys), sql.projection(collection)), params)
  return rows and documents(rows), err
end

-- `fresh` is the document to insert; `key` the fields of a declared unique key.
function M:upsert(name, key, fresh, ops, now)
  local collection, unique = self.collections[name], {}
  for i, field in ipairs(key) do
    unique[i] = quote(field)
  end
  local params = values(collection, fresh, {})
  local action = "NOTHING"
  if next(ops.set) or ops.unset[1] then
    local columns, doc = sql.changed(collection, ops, params)
    action = ("UPDATE SET %sdoc=%s,v=v+1,updated_at=?"):format(columns, doc)
    params[#params + 1] = now
  end
  local rows, err = run(self, ("%s ON CONFLICT(%s) DO %s RETURNING _id,v,created_at,updated_at,%s")
    :format(collection.insert, table.concat(unique, ","), action, sql.projection(collection)),
    params)
  if not rows then
    return nil, err
  elseif rows[1] then
    wrote(self, collection, 1)
    return document(rows[1]), rows[1].v == 1
  end
  return nil, { code = "exists" }
end

function M:count(name, conditions, max)
  local collection, params = self.collections[name], {}
  local source = collection.lists and collection.lists:source(collection, conditions, params)
    or { from = quote(name), where = sql.where(collection, conditions, params) }
  params[#params + 1] = max
  local rows, err = run(self, ("SELECT count(*) AS n FROM (SELECT 1 FROM %s WHERE %s LIMIT ?)")
    :format(source.from, source.where), params)
  if not rows then
    return nil, err
  end
  return rows[1].n
end

-- Booleans come out of SQL as 1 and 0.
local function boolean_of(collection, field, value)
  if (collection.declared.fields[field] or ""):match("^b") and value ~= nil then
    return value == 1
  end
  return value
end

-- Columns of the narrow table when it has all of these fields, else nil.
local function narrow_columns(narrow, ...)
  local out = {}
  for _, fields in ipairs({ ... }) do
    for _, field in ipairs(fields) do
      out[field] = narrow and narrow:column(field)
      if not out[field] then
        return nil
      end
    end
  end
  return out
end

function M:group(name, conditions, keys, sums)
  local collection, params = self.collections[name], {}
  local narrow = narrow_columns(collection.lists, keys, sums)
  local source = narrow and collection.lists:source(collection, conditions, params, true)
    or { from = quote(name), where = matching(collection, conditions, params) }
  local out, groups = {}, {}
  for i, key in ipairs(keys) do
    out[i] = ("%s AS k%d"):format(narrow and narrow[key] or sql.field(collection, key), i)
    groups[i] = "k" .. i
  end
  for i, field in ipairs(sums) do
    out[#out + 1] = ("ifnull(sum(%s),0) AS s%d"):format(
      narrow and narrow[field] or sql.field(collection, field), i)
  end
  local rows, err = run(self, ("SELECT count(*) AS n,%s FROM %s WHERE %s GROUP BY %s"):format(
    table.concat(out, ","), source.from, source.where, table.concat(groups, ",")), params)
  for at, row in ipairs(rows or {}) do
    local group = { by = {}, count = row.n, sum = {} }
    for i, key in ipairs(keys) do
      group.by[key] = boolean_of(collection, key, row["k" .. i])
    end
    for i, field in ipairs(sums) do
      group.sum[field] = row["s" .. i]
    end
    rows[at] = group
  end
  return rows, err
end

function M:close()
  self.db:close()
end

---(waits) Whether the store answers now, and takes writes as far as we know.
function M:ping()
  local rows, err = run(self, self.unwritable and "PRAGMA user_version=1" or "SELECT 1 AS one", {})
  if not rows then
    return nil, err
  end
  self.unwritable = false
  return true
end

return M
