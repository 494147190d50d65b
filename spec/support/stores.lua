-- The back ends of the document store that the conformance spec runs on. A back end:
--   name          as titles have it
--   skip?         fun(): it calls pending() where it cannot run
--   open          fun(collections, options): a store on data of its own; again(store) opens a second
--                 store on the same data, close(store) ends and forgets all of it
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
    local path = ("/tmp/cxb-spec-%s.db"):format(cxb.crypto.hex(cxb.crypto.random(6)))
    return sqlite(path, collections, options or {})
  end,
  again = function(store, collections)
    return store.reopen(collections)
  end,
  close = function(store)
    store:close()
    for _, suffix in ipairs({ "", "-wal", "-shm" }) do
      os.remove(store.path .. suffix)
    end
  end,
}

return M
