-- Tables, generated columns and indexes of the collections on SQLite: what is declared, and making
-- what a file lacks of it.
local lists = require("cxb.store.lists")
local query = require("cxb.store.query")
local sql = require("cxb.store.sql")

local quote = sql.quote

local M = {}

-- The indexes of a collection; those that its lists have need none on the table itself.
local function add_index(collection, fields, unique)
  local parts, keys, plains = { collection.name, unique and "u" or nil }, {}, {}
  for i, field in ipairs(fields) do
    local minus, plain = field:match("^(%-?)(.+)$")
    query.path(plain)
    plains[i] = plain
    keys[i] = quote(plain) .. (minus == "-" and " DESC" or "")
    parts[#parts + 1] = (plain:gsub("%.", "_"))
  end
  local index = { name = table.concat(parts, "_"), unique = unique }
  local declared = collection.declared.lists
  local by_lists = declared and not unique and (plains[#plains] == declared.by
    or (not plains[2] and collection.listed[plains[1]]))
  if by_lists then
    collection.indexed[plains[1]] = plains[2] and "wide" or "plain"
  else
    for _, plain in ipairs(plains) do
      collection.columns[plain] = not sql.own[plain] or nil
    end
    if not unique then
      keys[#keys + 1] = fields[#fields]:match("^%-") and "_id DESC" or "_id"
    end
    index.keys = table.concat(keys, ",")
  end
  collection.indexes[#collection.indexes + 1] = index
end

---What the back end knows of a collection.
---@param declared table of cxb.store.collections
function M.collection(name, declared)
  local collection = {
    name = name, declared = declared, as = "", columns = {}, required = {}, indexes = {},
    indexed = {}, listed = {}, keys = { _id = true },
    bulk = sql.bulk(declared.bulk),
  }
  local columns = "_id,v,created_at,updated_at,"
  local function get(small)
    return ("SELECT %s%s FROM %s WHERE _id=?"):format(columns,
      sql.projection(collection, nil, small), quote(name))
  end
  collection.get, collection.get_small = get(), get(true)
  collection.insert = ("INSERT INTO %s(%sdoc%s) VALUES(?,?,?,?,?%s)"):format(quote(name), columns,
    declared.bulk and ",bulk" or "", declared.bulk and ",?" or "")
  for field, kind in pairs(declared.fields) do
    collection.required[field] = not kind:match("%?$")
  end
  for _, field in ipairs(declared.lists and declared.lists.fields or {}) do
    collection.listed[field:match("^[^?]+")] = true
  end
  for _, fields in ipairs(declared.unique or {}) do
    if not fields[2] then
      collection.keys[fields[1]] = true
    end
    add_index(collection, fields, true)
  end
  for _, fields in ipairs(declared.indexes or {}) do
    add_index(collection, fields)
  end
  collection.lists = declared.lists and lists.new(name, declared.lists, collection.indexed) or nil
  return collection
end

local function add_table(db, collection)
  return db:exec(("CREATE TABLE IF NOT EXISTS %s (_id TEXT PRIMARY KEY NOT NULL,"
    .. "v INTEGER NOT NULL,created_at INTEGER NOT NULL,updated_at INTEGER NOT NULL,"
    .. "doc TEXT NOT NULL%s)"):format(quote(collection.name),
    collection.bulk and ",bulk TEXT" or ""))
end

local function columns_of(db, name)
  local rows, code, message = db:exec("SELECT name FROM pragma_table_xinfo(?)", name)
  if not rows then
    return nil, code, message
  end
  local present = {}
  for _, row in ipairs(rows) do
    present[row.name] = true
  end
  return present
end

-- Columns that a table may lack, with their definitions.
local function columns_wanted(collection)
  local wanted = { bulk = collection.bulk and "bulk TEXT" }
  for field in pairs(collection.columns) do
    wanted[field] = ("%s GENERATED ALWAYS AS (json_extract(doc,%s)) VIRTUAL"):format(quote(field),
      sql.json_path(field))
  end
  return wanted
end

-- Another process that opens the file may add the same column first.
local function add_columns(db, collection)
  local name = collection.name
  local present, code, message = columns_of(db, name)
  for column, definition in pairs(present and columns_wanted(collection) or {}) do
    if not present[column] then
      local rows
      rows, code, message = db:exec(("ALTER TABLE %s ADD COLUMN %s"):format(quote(name),
        definition))
      if not rows and not (columns_of(db, name) or {})[column] then
        return nil, code, message
      end
    end
  end
  return present and true, code, message
end

local function add_indexes(db, collection)
  for _, index in ipairs(collection.indexes) do
    local rows, code, message
    if index.keys then
      rows, code, message = db:exec(("CREATE %sINDEX IF NOT EXISTS %s ON %s (%s)"):format(
        index.unique and "UNIQUE " or "", quote(index.name), quote(collection.name), index.keys))
    else
      rows, code, message = db:exec("DROP INDEX IF EXISTS " .. quote(index.name))
    end
    if not rows then
      return nil, code, message
    end
  end
  return true
end

local function add_lists(db, collection)
  if not collection.lists then
    return true
  end
  local rows, code, message = db:exec("SELECT name,sql FROM sqlite_schema WHERE sql IS NOT NULL")
  if not rows then
    return nil, code, message
  end
  local present = {}
  for _, row in ipairs(rows) do
    present[row.name] = row.sql
  end
  local batch = collection.lists:missing(present)
  if not batch then
    return true
  end
  return db:batch(batch)
end

---(waits) Makes what the file lacks of a collection.
---@return any made, string? code, string? message
function M.make(db, collection)
  for _, step in ipairs({ add_table, add_columns, add_indexes, add_lists }) do
    local made, code, message = step(db, collection)
    if not made then
      return nil, code, message
    end
  end
  return true
end

return M
