-- A Mongo-wire server (FerretDB over SQLite, built from spec/servers), or the MongoDB that
-- MONGODB_URI names in the tests' environment.
--   local mongo = MongoServer.new(world)  -- not started yet; pending where it cannot be built
--   mongo:start(); mongo.uri; mongo:env()

local World = require "support.world"

local M = {}
local server = {}
server.__index = server

local program, why

-- (waits) Path of the server, built the first time.
local function built(world)
  if not program and not why then
    local p = world:start({ cxb.root .. "/spec/servers/build", "ferretdb" }, cxb.process.environ())
    local code = p:wait(540000)
    if code == 0 then program = p.log[#p.log] else why = p:output() end
  end
  return program
end

---A MongoDB that is not ours to start and stop.
---@return string?
function M.given()
  return cxb.process.env("MONGODB_URI")
end

---(waits)
---@param world table support.world
function M.new(world)
  if M.given() then
    return setmetatable({ world = world, uri = M.given() }, server)
  elseif not built(world) then
    if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error("no Mongo server: " .. why, 2) end
    pending("no Mongo server: " .. why)
  end
  local self = setmetatable({ world = world, dir = world:folder(), port = world:port() }, server)
  self.uri = ("mongodb://127.0.0.1:%d/"):format(self.port)
  return self
end

---(waits) Starts it, or starts it again over the same folder.
function server:start()
  if not self.dir then return self end
  self.process = self.world:start({ program, "127.0.0.1:" .. self.port, self.dir }, {})
  World.wait_until("the Mongo server", function()
    if self.process.ended then error(self.process:output(), 0) end
    return self.process.log[1]
  end)
  return self
end

---(waits) Ends it at once, as a crash does.
function server:crash()
  self.process:kill("KILL")
  self.process:wait(10000)
end

---What a service needs to use it, with a database of its own.
---@return table<string, string>
function server:env()
  return { MONGODB_URI = self.uri, MONGODB_DB = "cxb_spec_" .. cxb.crypto.hex(cxb.crypto.random(6)) }
end

return M
