-- The document store: collections of documents behind one small interface. Nothing above it knows
-- which backend is in use. Every call waits; it returns its value, or nil and {code=, message=}
-- with code "duplicate" (key=), "not_found", "conflict", "bad_cursor" or "unavailable".
-- A document: `_id` string, `v` (+1 an update), `created_at`, `updated_at` in milliseconds, and the
-- fields of its collection. Absent and null are the same at the top of a document. A field that is
-- written may be ready JSON (json.raw): readers get what it says.
local json = require("cxb.json")
local new_table = require("table.new")
local query = require("cxb.store.query")

local M = {}
M.__index = M

local ROOM = 16 -- fields a copy of a document has room for before it grows

local function no_observer() end

---(waits) Opens the store and makes what is missing in it: a MongoDB's database, or a SQLite file.
---@class cxb.store.options
---@field uri? string of a MongoDB
---@field database? string in it
---@field path? string of the SQLite file
---@field collections? table default: cxb.store.collections
---@field observe? fun(op: string, backend: string, seconds: number)
---@field step? fun(collection: string) told which is looked at, and made where it is missing
---@field now? function
---@field mono? function
---@field crypto? table
---@field driver? table
---@param options cxb.store.options
---@return table? store, {code: string, message: string}? err
function M.open(options)
  local self = setmetatable({
    kind = options.uri and "mongodb" or "sqlite",
    collections = options.collections or require("cxb.store.collections"),
    now = options.now or cxb.time.now,
    mono = options.mono or cxb.time.mono,
    crypto = options.crypto or cxb.crypto,
    observe = options.observe or no_observer,
  }, M)
  local backend = options.uri
    and require("cxb.store.mongo").new(options.driver or cxb.mongo, self.collections)
    or require("cxb.store.sqlite").new(options.driver or cxb.sqlite, self.collections)
  local ok, err = backend:open(options)
  if not ok then
    return nil, err
  end
  self.backend = backend
  return self
end

-- Runs one operation of the backend and reports how long it took.
local function timed(self, op, ...)
  local from = self.mono()
  local value, second = self.backend[op](self.backend, ...)
  self.observe(op, self.kind, (self.mono() - from) / 1000)
  return value, second
end

local function collection(self, name)
  return self.collections[name] or error(("no collection %q"):format(tostring(name)), 3)
end

-- Chance of n bytes as a number.
local function chance(self, n)
  return tonumber(self.crypto.hex(self.crypto.random(n)), 16)
end

---A new id: prefix, 12 digits of time, 12 of chance. Ids sort by their time, those that a store
---made in one millisecond by their turn: what was made first is listed first.
---@return string
function M:id(prefix)
  local now = self.now()
  local last = self.tail_ms == now and self.tail
  self.tail_ms, self.tail = now, last and last + 1 + chance(self, 3) or chance(self, 6) % 2 ^ 47
  return ("%s_%012x%012x"):format(prefix, now, self.tail)
end

local function stamped(self, name, doc)
  local now = self.now()
  local fresh = new_table(0, ROOM)
  for key, value in pairs(doc) do
    fresh[key] = value
  end
  fresh._id = fresh._id or self:id(collection(self, name).prefix)
  fresh.v, fresh.created_at, fresh.updated_at = 1, now, now
  return fresh
end

---@return table? doc as given, with what the store adds; table? err "duplicate"
function M:insert(name, doc)
  return timed(self, "insert", name, stamped(self, name, doc))
end

---Unordered: a document that breaks a unique key is left out, the others are kept. Some thousand
---at a time: one call is one write.
---@param docs table[]
---@return {inserted: integer, duplicates: integer[]}? answer positions of those left out, rising
---@return table? err
function M:insert_many(name, docs)
  local fresh = {}
  for i, doc in ipairs(docs) do
    fresh[i] = stamped(self, name, doc)
  end
  if #fresh == 0 then
    return { inserted = 0, duplicates = {} }
  end
  return timed(self, "insert_many", name, fresh)
end

---Documents that are JSON already: [["id",{…}],…], as cxb.contacts writes them; a backend that can
---takes them without a look by a script. One that breaks a unique key is left out.
---@param text string
---@return integer? inserted, table? err
function M:insert_rows(name, text)
  collection(self, name)
  if self.backend.insert_rows then
    return timed(self, "insert_rows", name, text, self.now())
  end
  local docs = {}
  for i, row in ipairs(json.decode(text)) do
    docs[i] = row[2]
    docs[i]._id = row[1]
  end
  local answer, err = self:insert_many(name, docs)
  return answer and answer.inserted, err
end

-- Whether the fields that a collection declares as bulk are to be left out.
local function without_bulk(self, name, options)
  return options.bulk == false and collection(self, name).bulk ~= nil
end

---@param options? {bulk?: boolean} false: without the fields that the collection declares so
---@return table? doc, table? err "not_found"
function M:get(name, id, options)
  collection(self, name)
  return timed(self, "get", name, id, without_bulk(self, name, options or {}))
end

-- Bulk fields are there to be read, not to find, order or sum by.
local function no_bulk(self, name, field)
  for _, bulk in ipairs(collection(self, name).bulk or {}) do
    if field:match("^[^.]+") == bulk then
      error(("%s.%s is declared as bulk"):format(name, field), 4)
    end
  end
end

-- (waits) Conditions of a filter. has_all: different values, of a list that the collection
-- declares.
local function conditions_of(self, name, filter)
  local fields = collection(self, name).fields
  local conditions = query.conditions(filter or {})
  for _, condition in ipairs(conditions) do
    for _, part in ipairs(condition.op == "any_of" and condition.value or { { condition } }) do
      for _, inner in ipairs(part) do
        no_bulk(self, name, inner.field)
      end
    end
    if condition.op == "has_all" then
      if not (fields[condition.field] or ""):match("^a") then
        error(("has_all on %s, which %s does not declare as a list"):format(condition.field,
          name), 3)
      elseif self.backend.settle then
        self.backend:settle(name) -- where it fails, what follows does, or finds what it can
      end
    end
  end
  return conditions
end

-- A path asks for the whole field it leads into.
local function whole_fields(fields)
  local out = fields and {}
  for i, field in ipairs(fields or {}) do
    out[i] = query.path(field)[1]
  end
  return out
end

---Filters: equality, {["in"]=, ne=, gt=, gte=, lt=, lte=, exists=, prefix=, has_all=}, dotted
---paths, one level of any_of. `fields` limits the answer to these, whole though a path names a
---part (`_id` and the common ones always come); `skip` leaves out so many at the beginning.
---@class cxb.store.find_options
---@field sort? string[]
---@field limit? integer 50
---@field after? string a cursor
---@field skip? integer
---@field fields? string[]
---@field bulk? boolean false: as in get
---@param filter table
---@param options? cxb.store.find_options
---@return table[]? docs, table|string? err_or_next cursor of the next page, nil at the end
function M:find(name, filter, options)
  local conditions = conditions_of(self, name, filter)
  options = options or {}
  local keys, after = query.order(options.sort), nil
  if options.after then
    after = query.uncursor(keys, options.after, self.crypto)
    if not after then
      return nil, { code = "bad_cursor", message = "the cursor does not belong to this list" }
    end
  end
  for _, key in ipairs(keys) do
    no_bulk(self, name, key.field)
  end
  local limit = options.limit or 50
  local fields = whole_fields(options.fields)
  for _, key in ipairs(fields and keys or {}) do
    fields[#fields + 1] = query.path(key.field)[1]
  end
  local docs, err = timed(self, "find", name, conditions,
    { keys = keys, after = after, limit = limit + 1, skip = options.skip or 0, fields = fields,
      small = without_bulk(self, name, options) })
  if not docs then
    return nil, err
  end
  if #docs <= limit then
    return docs
  end
  docs[limit + 1] = nil
  return docs, query.cursor(keys, docs[limit], self.crypto)
end

---One document, atomically: {set={}, unset={names}, inc={}, push={}}.
---`fields` and `bulk` limit the answer as in find: {} where only the success matters.
---@param options? {expect?: table, fields?: string[], bulk?: boolean} expect: a filter the document
---must match
---@return table? doc after the change, table? err "conflict" | "not_found"
function M:update(name, id, ops, options)
  options = options or {}
  return timed(self, "update", name, id, query.operations(ops),
    conditions_of(self, name, options.expect), self.now(), whole_fields(options.fields),
    without_bulk(self, name, options))
end

---The same change to every document that matches; each of them is changed once.
---@return integer? changed, table? err
function M:update_many(name, filter, ops)
  return timed(self, "update_many", name, conditions_of(self, name, filter),
    query.operations(ops), self.now())
end

---@param options? {expect?: table} a filter the document must match
---@return integer? one 1, table? err "conflict" | "not_found"
function M:delete(name, id, options)
  return timed(self, "delete", name, id,
    conditions_of(self, name, options and options.expect))
end

---@return integer? deleted, table? err
function M:delete_many(name, filter)
  return timed(self, "delete_many", name, conditions_of(self, name, filter))
end

---Takes documents that nobody holds (`lease.until` absent or past) and writes lease{owner, until,
---token} into them, atomically: no document goes to two owners. The token rises by one with each
---lease unless it is given.
---@class cxb.store.lease_options
---@field owner string
---@field ttl_ms integer
---@field sort? string[] which come first
---@field limit? integer 1
---@field set? table fields that change with it
---@field token? integer
---@param filter table
---@param options cxb.store.lease_options
---@return table[]? docs as they are now, in the order of `sort`, table? err
function M:lease(name, filter, options)
  local conditions, now = conditions_of(self, name, filter), self.now()
  conditions[#conditions + 1] = { op = "any_of", value = {
    query.conditions({ ["lease.until"] = { exists = false } }),
    query.conditions({ ["lease.until"] = { lte = now } }),
  } }
  local keys = query.order(options.sort)
  local docs, err = timed(self, "lease", name, conditions, {
    keys = keys, limit = options.limit or 1, ops = query.operations({ set = options.set }),
    owner = options.owner, ["until"] = now + options.ttl_ms, token = options.token, now = now,
  })
  return docs and query.sort(docs, keys), err
end

-- The fields of the declared unique key (or `_id`) that `key` names.
local function unique_fields(self, name, key)
  local wanted = {}
  for field in pairs(key) do
    wanted[#wanted + 1] = field
  end
  if #wanted == 1 and wanted[1] == "_id" then
    return wanted
  end
  for _, fields in ipairs(collection(self, name).unique or {}) do
    local matched = #fields == #wanted
    for _, field in ipairs(fields) do
      matched = matched and key[field] ~= nil
    end
    if matched then
      return fields
    end
  end
  error(("%s: not a unique key"):format(table.concat(wanted, ",")), 3)
end

---Makes the document of a declared unique key, or changes the one that is there.
---@param key table<string, any>
---@param changes {set?: table, on_insert?: table}
---@return table? doc, boolean|table created_or_err
function M:upsert(name, key, changes)
  local fields = unique_fields(self, name, key)
  local ops = query.operations({ set = changes.set or {} })
  local fresh = {}
  for _, part in ipairs({ changes.on_insert or {}, ops.set, key }) do
    for field, value in pairs(part) do
      local at, path = fresh, query.path(field)
      for i = 1, #path - 1 do
        at[path[i]] = at[path[i]] or {}
        at = at[path[i]]
      end
      at[path[#path]] = value
    end
  end
  fresh = stamped(self, name, fresh)
  local doc, created = timed(self, "upsert", name, fields, fresh, ops, self.now())
  if not doc and created.code == "exists" then
    local found, err = self:find(name, key, { limit = 1 })
    if not found then
      return nil, err
    end
    return found[1], false
  end
  return doc, created
end

---@param options? {max?: integer} counting stops there
---@return integer? n, table? err
function M:count(name, filter, options)
  return timed(self, "count", name, conditions_of(self, name, filter),
    options and options.max or 2 ^ 53)
end

---Counts, and sums of fields, of the documents that have the same values in `keys`; an absent
---value is a value of its own (nil in `by`), an absent summand is 0. Order: none.
---@param keys string[] at least one
---@param sums? string[]
---@return {by: table<string, any>, count: integer, sum: table<string, number>}[]?, table? err
function M:group(name, filter, keys, sums)
  for _, list in ipairs({ keys, sums or {} }) do
    for _, field in ipairs(list) do
      query.path(field)
      no_bulk(self, name, field)
    end
  end
  return timed(self, "group", name, conditions_of(self, name, filter), keys, sums or {})
end

---Lets go of the store; for specs and tools.
function M:close()
  self.backend:close()
end

---Whether the store answers now.
---@return true?, table? err
function M:ping()
  return timed(self, "ping")
end

return M
