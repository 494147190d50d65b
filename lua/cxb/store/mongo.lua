-- The document store on MongoDB, or on what speaks its wire: one collection each, one document an
-- object. Every write is acknowledged by a majority and in its journal; reads are the primary's.
-- Atomic is what MongoDB does to one document; nothing here needs more.
local json = require("cxb.json")
local commands = require("cxb.store.mongo_commands")
local schema = require("cxb.store.mongo_schema")
local words = require("cxb.store.mongo_query")

local own, array = words.own, json.array
local failure, run, write, list = commands.failure, commands.run, commands.write, commands.list
local duplicate = commands.duplicate

local AT_ONCE = 1000    -- documents an insert
local INDEX_MS = 600000 -- how long making one may take

local M = {}
M.__index = M

function M.new(driver, collections)
  local self = setmetatable({ driver = driver, collections = {} }, M)
  for name, declared in pairs(collections) do
    self.collections[name] = words.collection(declared)
    self.collections[name].unique = {}
    for _, index in ipairs(schema.indexes(declared)) do
      if index.unique then
        table.insert(self.collections[name].unique, index)
      end
    end
  end
  return self
end

---(waits) Makes what is missing in the database.
---@param options {uri: string, database: string}
---@return true?, {code: string, message: string}? err
function M:open(options)
  local client, code, message = self.driver.open(options.uri)
  if not client then
    return nil, failure(code, message)
  end
  self.client, self.database = client, options.database
  local maker = self.driver.open(options.uri, { socket_timeout_ms = INDEX_MS })
  local ok, why, text = schema.make(function(method, command)
    return maker[method](maker, options.database, command)
  end, self.collections, options.step)
  maker:close()
  if not ok then
    client:close()
    return nil, failure(why, text)
  end
  return true
end

function M:insert(name, doc)
  local kept = words.document(self.collections[name], doc)
  local reply, err, broken = write(self, own("insert", name, "documents", array({ kept })))
  if not reply then
    return nil, broken and duplicate(self, name, doc, broken) or err
  end
  return doc
end

-- Inserts docs[from..to]; positions of duplicates are added to `duplicates`.
local function insert_some(self, name, docs, from, to, duplicates)
  local some = array()
  for i = from, to do
    some[#some + 1] = words.document(self.collections[name], docs[i])
  end
  local reply, err = run(self, own("insert", name, "documents", some, "ordered", false,
    "writeConcern", commands.concern))
  if not reply and err.code == "too_large" and from < to then
    local middle = math.floor((from + to) / 2)
    local ok
    ok, err = insert_some(self, name, docs, from, middle, duplicates)
    if not ok then
      return nil, err
    end
    return insert_some(self, name, docs, middle + 1, to, duplicates)
  elseif not reply then
    return nil, err
  end
  for _, wrong in ipairs(reply.writeErrors or {}) do
    if wrong.code ~= commands.DUPLICATE then
      return nil, failure("server", wrong.errmsg)
    end
    duplicates[#duplicates + 1] = from + wrong.index
  end
  return true
end

function M:insert_many(name, docs)
  local duplicates = {}
  for from = 1, #docs, AT_ONCE do
    local ok, err = insert_some(self, name, docs, from, math.min(from + AT_ONCE - 1, #docs),
      duplicates)
    if not ok then
      return nil, err
    end
  end
  table.sort(duplicates)
  return { inserted = #docs - #duplicates, duplicates = duplicates }
end

function M:get(name, id, small)
  local command = own("find", name, "filter", own("_id", id), "limit", 1)
  if small then
    command[#command + 1] = { "projection", words.without(self.collections[name].declared.bulk) }
  end
  local docs, err = list(self, command)
  if not docs then
    return nil, err
  end
  return docs[1], not docs[1] and { code = "not_found" } or nil
end

function M:find(name, conditions, options)
  local collection = self.collections[name]
  local filter = words.filter(collection, conditions)
  if options.after then
    filter = words.both(filter, words.after(collection, options.keys, options.after))
  end
  local command = own("find", name, "filter", filter, "sort", words.sort(options.keys), "skip",
    options.skip, "limit", options.limit, "batchSize", options.limit)
  if options.fields then
    command[#command + 1] = { "projection", words.projection(options.fields) }
  elseif options.small then
    command[#command + 1] = { "projection", words.without(collection.declared.bulk) }
  end
  return list(self, command)
end

-- Why a document that was to be written was not.
local function why_not(self, name, id)
  local doc, err = self:get(name, id)
  if not doc and err.code ~= "not_found" then
    return nil, err
  end
  local code = doc and "conflict" or "not_found"
  return nil, { code = code, message = ("%s %s: %s"):format(name, id, code) }
end

local function by_id(collection, id, conditions)
  local filter = words.filter(collection, conditions)
  return filter[1] and words.both(own("_id", id), filter) or own("_id", id)
end

-- Changes the first document that matches: it as it is now, nil when there is none; or nil, err.
local function modify(self, name, filter, update, sort, wanted)
  local command = own("findAndModify", name, "query", filter, "update", update, "new", true)
  if sort then
    command[#command + 1] = { "sort", sort }
  end
  local reply, err, broken = write(self, command)
  if not reply then
    return nil, broken and duplicate(self, name, wanted, broken) or err
  end
  return type(reply.value) == "table" and words.read(reply.value) or nil
end

-- Look-alikes of MongoDB do not limit what findAndModify answers.
local function only(doc, fields, bulk)
  if not fields then
    for _, field in ipairs(bulk or {}) do
      doc[field] = nil
    end
    return doc
  end
  local out = { _id = doc._id, v = doc.v, created_at = doc.created_at, updated_at = doc.updated_at }
  for _, field in ipairs(fields) do
    out[field] = doc[field]
  end
  return out
end

function M:update(name, id, ops, conditions, now, fields, small)
  local collection = self.collections[name]
  local doc, err = modify(self, name, by_id(collection, id, conditions),
    words.update(collection, ops, now), nil, ops.set)
  if doc or err then
    return doc and only(doc, fields, small and collection.declared.bulk), err
  end
  return why_not(self, name, id)
end

function M:update_many(name, conditions, ops, now)
  local collection = self.collections[name]
  local reply, err, broken = write(self, own("update", name, "updates", array({
    own("q", words.filter(collection, conditions), "u", words.update(collection, ops, now),
      "multi", true),
  })))
  if not reply then
    return nil, broken and duplicate(self, name, ops.set, broken) or err
  end
  return reply.n
end

local function delete(self, name, filter, limit)
  local reply, err = write(self, own("delete", name, "deletes", array({
    own("q", filter, "limit", limit),
  })))
  return reply and reply.n, err
end

function M:delete(name, id, conditions)
  local n, err = delete(self, name, by_id(self.collections[name], id, conditions), 1)
  if not n then
    return nil, err
  elseif n == 1 then
    return 1
  end
  return why_not(self, name, id)
end

function M:delete_many(name, conditions)
  return delete(self, name, words.filter(self.collections[name], conditions), 0)
end

-- One document after the other, each taken by one atomic change.
function M:lease(name, conditions, options)
  local collection = self.collections[name]
  local filter, sort = words.filter(collection, conditions), words.sort(options.keys)
  local set = { ["lease.owner"] = options.owner, ["lease.until"] = options["until"] }
  for field, value in pairs(options.ops.set) do
    set[field] = value
  end
  set["lease.token"] = options.token
  local update = words.update(collection, {
    set = set, unset = options.ops.unset, push = {},
    inc = options.token and {} or { ["lease.token"] = 1 },
  }, options.now)
  local docs = {}
  while #docs < options.limit do
    local doc, err = modify(self, name, filter, update, sort, options.ops.set)
    if err and not docs[1] then
      return nil, err
    elseif not doc then
      break
    end
    docs[#docs + 1] = doc
  end
  return docs
end

-- `fresh` is the document to insert; `key` the fields of a declared unique key. Another may insert
-- or delete it between the two steps; then they begin again.
function M:upsert(name, key, fresh, ops, now)
  local collection = self.collections[name]
  local kept, filter = words.document(collection, fresh), own()
  for i, field in ipairs(key) do
    filter[i] = { field, kept[field] }
  end
  local wanted = table.concat(key, ",")
  local changes = next(ops.set) or ops.unset[1]
  local update = words.update(collection, ops, now)
  local doc, err
  for _ = 1, 10 do
    if changes then
      doc, err = modify(self, name, filter, update, nil, fresh)
      if doc or err then
        return doc, err or false
      end
    end
    doc, err = self:insert(name, fresh)
    if doc then
      return doc, true
    elseif err.code ~= "duplicate" or err.key ~= wanted then
      return nil, err
    elseif not changes then
      return nil, { code = "exists" }
    end
  end
  return nil, err
end

function M:count(name, conditions, max)
  local command = own("count", name, "query", words.filter(self.collections[name], conditions))
  if max < 2 ^ 53 then
    command[#command + 1] = { "limit", max }
  end
  local reply, err = run(self, command)
  return reply and reply.n, err
end

-- One accumulator by the values of `keys`; look-alikes compute only the first of several.
local function accumulate(self, name, filter, keys, what)
  local by = own()
  for i, field in ipairs(keys) do
    by[i] = { "k" .. i, "$" .. field }
  end
  return list(self, own("aggregate", name, "pipeline", array({
    own("$match", filter), own("$group", own("_id", by, "n", own("$sum", what))),
  }), "cursor", own()))
end

function M:group(name, conditions, keys, sums)
  local filter = words.filter(self.collections[name], conditions)
  local rows, err = accumulate(self, name, filter, keys, 1)
  if not rows then
    return nil, err
  end
  local groups, out = {}, {}
  for at, row in ipairs(rows) do
    local group = { by = {}, count = row.n, sum = {} }
    words.read(row._id)
    for i, field in ipairs(keys) do
      group.by[field] = row._id["k" .. i]
    end
    for _, field in ipairs(sums) do
      group.sum[field] = 0
    end
    groups[json.encode(row._id, true)], out[at] = group, group
  end
  for _, field in ipairs(sums) do
    rows, err = accumulate(self, name, filter, keys, "$" .. field)
    if not rows then
      return nil, err
    end
    for _, row in ipairs(rows) do
      local group = groups[json.encode(words.read(row._id), true)]
      if group then
        group.sum[field] = row.n
      end
    end
  end
  return out
end

---(waits) Forgets the whole database; for specs.
function M:drop()
  return run(self, own("dropDatabase", 1))
end

function M:close()
  self.client:close()
end

---(waits) Whether the server answers now.
function M:ping()
  local reply, err = run(self, own("ping", 1))
  return reply and true, err
end

return M
