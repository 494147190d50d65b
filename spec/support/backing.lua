-- What the services of a spec keep their data in: SQLite each, or with CXB_SPEC_STORE=mongo (the
-- second run of specs that say `-- stores: both`) a database each on one Mongo-wire server, and keys
-- of their own in one Redis.
local at_end = require "support.at_end"
local MongoServer = require "support.mongo_server"
local RedisServer = require "support.redis_server"
local World = require "support.world"

local M = {}

---Whether the specs run on MongoDB.
M.mongo = cxb.process.env("CXB_SPEC_STORE") == "mongo"

---(waits) A path for a SQLite file of this spec file, gone when that ends: in memory where there is a
---folder for that, as waiting for a disk tells a unit spec nothing.
function M.file()
  local folder = cxb.fs.stat("/dev/shm") and "/dev/shm" or "/tmp"
  local path = ("%s/cxb-spec-%s.db"):format(folder, cxb.crypto.hex(cxb.crypto.random(6)))
  at_end.add(function()
    for _, suffix in ipairs({ "", "-wal", "-shm" }) do
      os.remove(path .. suffix)
    end
  end)
  return path
end

local server, redis

-- What all of a spec file share runs until it ends.
local function shared_world()
  local world = World.new()
  at_end.add(function() world:close() end)
  return world
end

---(waits) The Mongo-wire server of this spec file; pending where there is none.
function M.server()
  if not server then
    server = MongoServer.new(shared_world()):start()
  end
  return server
end

---(waits) Variables of a service with data of its own.
---@return table<string, string>
function M.env()
  if not M.mongo then return {} end
  local env = M.server():env()
  local database = env.MONGODB_DB
  at_end.add(function() M.drop(database) end)
  redis = redis or RedisServer.start(shared_world())
  env.REDIS_URL, env.CXB_REDIS_PREFIX = redis.url, database .. ":"
  env.CXB_PUBLIC_URL = "http://localhost"
  env.CXB_SECRETS_KEY = cxb.crypto.base64(("k"):rep(32))
  return env
end

---(waits) Forgets a database of the server.
function M.drop(database)
  local client = assert(cxb.mongo.open(server.uri))
  client:run(database, setmetatable({ { "dropDatabase", 1 } }, { __name = "mongo.own" }))
  client:close()
end

return M
