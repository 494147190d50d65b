-- The back ends of the document store that the conformance spec runs on. A back end:
--   name          as titles have it
--   skip?         fun(): it calls pending() where it cannot run
--   open          fun(collections, options): a store on data of its own; again(store) opens a second
--                 store on the same data, close(store) ends it
--   address(store)  what opens the same data in another process
local backing = require("support.backing")

local M = {}

local function sqlite(path, collections, options)
  local store = assert(require("cxb.store").open({
    path = path, collections = collections, now = options.now,
  }))
  store.reopen = function(other)
    return sqlite(path, other or collections, options)
  end
  store.path = path
  return store
end

M[1] = {
  name = "SQLite",
  open = function(collections, options)
    return sqlite(backing.file(), collections, options or {})
  end,
  again = function(store, collections)
    return store.reopen(collections)
  end,
  address = function(store)
    return { path = store.path }
  end,
  close = function(store)
    store:close()
  end,
}

-- A database of the Mongo-wire server, which runs from the first use on.
local function mongo(database, collections, options)
  local store = assert(require("cxb.store").open({
    uri = backing.server().uri, database = database, collections = collections, now = options.now,
  }))
  store.reopen = function(other)
    return mongo(database, other or collections, options)
  end
  return store
end

M[2] = {
  name = "the Mongo wire",
  skip = backing.server,
  open = function(collections, options)
    return mongo(backing.server():env().MONGODB_DB, collections, options or {})
  end,
  again = function(store, collections)
    return store.reopen(collections)
  end,
  address = function(store)
    return { uri = backing.server().uri, database = store.backend.database }
  end,
  close = function(store)
    store.backend:drop()
    store:close()
  end,
}

return M
