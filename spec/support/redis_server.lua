-- A real Redis server (Debian) in a temporary folder, on a Unix socket or a free port.
--   local redis = RedisServer.start(world, {tcp = true, password = "…"})
local World = require "support.world"

local M = {}
local server = {}
server.__index = server

---(waits)
---@param world table support.world
---@param options? {tcp?: boolean, password?: string}
function M.start(world, options)
  World.need("redis-server")
  options = options or {}
  local dir = world:folder()
  local self = setmetatable({ world = world, dir = dir, options = options }, server)
  local login = not options.password and ""
    or ":" .. options.password:gsub("%W", function(c) return ("%%%02X"):format(c:byte()) end) .. "@"
  if options.tcp then
    self.port = world:port()
    self.url = ("redis://%s127.0.0.1:%d"):format(login, self.port)
  else
    self.url = ("redis+unix://%s%s/redis.sock"):format(login, dir)
  end
  self:run()
  return self
end

---(waits) Starts the process (again); what was in it is gone.
function server:run()
  local args = { "redis-server", "--save", "", "--appendonly", "no", "--dir", self.dir,
    "--port", tostring(self.port or 0), "--bind", "127.0.0.1", "--daemonize", "no" }
  local function add(...)
    for _, word in ipairs({ ... }) do args[#args + 1] = word end
  end
  if not self.port then add("--unixsocket", self.dir .. "/redis.sock") end
  if self.options.password then add("--requirepass", self.options.password) end
  self.process = self.world:start(args, { PATH = cxb.process.env("PATH") })
  local client = assert(cxb.redis.connect(self.url))
  World.wait_until("Redis", function()
    if self.process.ended then error("redis-server ended: " .. self.process:output(), 0) end
    return client:call("PING")
  end)
  client:close()
end

---(waits) Gone at once, as kill -9.
function server:kill()
  self.process:kill("KILL")
  self.process:wait()
end

---Stands still: connections stay open, nothing is answered, until it goes on.
function server:freeze() self.process:kill("STOP") end
function server:thaw() self.process:kill("CONT") end

function server:stop() self.process:stop() end

return M
