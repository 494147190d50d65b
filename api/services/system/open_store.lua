-- The store the settings name: a MongoDB, or a SQLite file of this machine.
local M = {}

local RETRY_MS, PAUSE_MS = 30000, 250

---@return "mongodb"|"sqlite"
function M.kind(settings)
  return settings.MONGODB_URI and "mongodb" or "sqlite"
end

---The variable that says where the store is; messages about it begin with its name.
---@return string
function M.variable(settings)
  return settings.MONGODB_URI and "MONGODB_URI" or "CXB_STATE_DIR"
end

local labels = {} -- by operation: the store is one

local function observe(op, backend, seconds)
  labels[op] = labels[op] or cxb.metrics.labels({ op = op, backend = backend })
  cxb.metrics.observe("cxb_store_op_seconds", labels[op], seconds)
end

-- A server may still be starting, another process may hold the file for a moment; an address that
-- is none and a file that cannot be written are told at once.
local function passes(err)
  return err.code == "unavailable" and (err.cause == "busy" or err.cause == "unavailable")
end

---(waits) Opens it and makes what is missing in it, for 30 s if need be.
---@param step? fun(collection: string) told what is looked at, and made where it is missing; not of
---a file that is new, which has nothing to be brought up to date
---@return table? store, string? why naming the variable
function M.open(settings, step)
  local path = settings.CXB_STATE_DIR .. "/cxb.db"
  local where = settings.MONGODB_URI
    and { uri = settings.MONGODB_URI, database = settings.MONGODB_DB } or { path = path }
  where.observe, where.step = observe, (where.uri or cxb.fs.stat(path)) and step or nil
  local deadline, told = cxb.time.mono() + RETRY_MS, false
  while true do
    local store, err = require("cxb.store").open(where)
    if store then
      return store
    elseif not passes(err) or cxb.time.mono() > deadline then
      return nil, where.uri and ("MONGODB_URI: " .. err.message)
        or ("CXB_STATE_DIR: %s: %s"):format(path, err.message)
    elseif not told then
      cxb.log.warn("waiting for the store", { kind = M.kind(settings), error = err.message })
      told = true
    end
    cxb.time.sleep(PAUSE_MS)
  end
end

return M
