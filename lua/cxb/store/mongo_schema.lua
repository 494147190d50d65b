-- Collections and indexes of the store on MongoDB: what is declared and missing is made. Nothing
-- else is touched, so that an older or a newer program may share the database.
local json = require("cxb.json")
local query = require("cxb.store.query")
local words = require("cxb.store.mongo_query")

local own = words.own

local M = {}

local NAMESPACE_EXISTS, INDEX_OPTIONS_CONFLICT = 48, 85

---The indexes of a declared collection: {name=, key=, unique=, fields=}.
function M.indexes(declared)
  local out = {}
  for _, list in ipairs({ declared.unique or {}, declared.indexes or {} }) do
    for _, fields in ipairs(list) do
      local unique = list == declared.unique
      local key, parts, last = own(), {}, 1
      for i, field in ipairs(fields) do
        local minus, plain = field:match("^(%-?)(.+)$")
        query.path(plain)
        last = minus == "-" and -1 or 1
        key[i] = { plain, last }
      end
      if not unique then
        key[#key + 1] = { "_id", last } -- the order of lists is total
      end
      for i, pair in ipairs(key) do
        parts[i] = pair[1] .. "_" .. pair[2]
      end
      out[#out + 1] = {
        name = table.concat(parts, "_"), key = key, unique = unique, fields = fields,
      }
    end
  end
  return out
end

-- The names that a command with a cursor lists, as a set.
local function names(run, command)
  local list, code, message = run("list", command)
  if not list then
    return nil, code, message
  end
  local out = {}
  for _, item in ipairs(list) do
    out[item.name] = true
  end
  return out
end

local function make_index(run, name, index)
  local wanted = own("key", index.key, "name", index.name)
  if index.unique then
    wanted[3] = { "unique", true }
  end
  local ok, code, message, reply = run("run", own("createIndexes", name, "indexes",
    json.array({ wanted })))
  if not ok and not index.unique and reply and reply.code == INDEX_OPTIONS_CONFLICT then
    return true -- the same index under another name
  end
  return ok, code, message
end

local function make_collection(run, name, declared, there)
  if not there then
    local ok, code, message, reply = run("run", own("create", name))
    if not ok and not (reply and reply.code == NAMESPACE_EXISTS) then
      return nil, code, message
    end
  end
  local present, why, text = names(run, own("listIndexes", name))
  if not present then
    return nil, why, text
  end
  for _, index in ipairs(M.indexes(declared)) do
    if not present[index.name] then
      local ok, code, message = make_index(run, name, index)
      if not ok then
        return nil, code, ("index %s of %s: %s"):format(index.name, name, message)
      end
    end
  end
  return true
end

---(waits) Makes what is missing of the collections (cxb.store.mongo_query.collection).
---@param run fun(method: string, command: table): table?, string?, string?, table?
---@param step? fun(collection: string)
---@return true?, string? code, string? message
function M.make(run, collections, step)
  local there, why, text = names(run, own("listCollections", 1, "nameOnly", true))
  if not there then
    return nil, why, text
  end
  for name, collection in pairs(collections) do
    if step then
      step(name)
    end
    local ok, code, message = make_collection(run, name, collection.declared, there[name])
    if not ok then
      return nil, code, message
    end
  end
  return true
end

return M
