-- A real LiveKit server (built from spec/servers) with the Redis its SIP interface needs.
--   local livekit = LiveKit.new(world)  -- not started yet; pending where it cannot be built
--   livekit:start(); livekit:stop(); livekit:env() → LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET
local RedisServer = require("support.redis_server")
local World = require("support.world")
local client = require("cxb.livekit")

local M = { KEY = "cxbkey", SECRET = ("livekit-secret-"):rep(3) }
local server = {}
server.__index = server

local program, why

-- (waits) Path of the server, built the first time.
local function built(world)
  if not program and not why then
    local p = world:start({ cxb.root .. "/spec/servers/build", "livekit-server" },
      cxb.process.environ())
    local code = p:wait(540000)
    if code == 0 then program = p.log[#p.log] else why = p:output() end
  end
  return program
end

local CONFIG = [[
port: %d
bind_addresses: ["127.0.0.1"]
redis: { address: "127.0.0.1:%d" }
keys: { %s: %s }
rtc: { tcp_port: %d, port_range_start: 0, port_range_end: 0, udp_port: %d, node_ip: 127.0.0.1,
  use_external_ip: false }
logging: { level: warn }
webhook: { api_key: %s, urls: [%s] }
]]

---(waits)
---@param world table support.world
---@param options? {webhook?: string} URL that is told what happens in rooms
function M.new(world, options)
  if not built(world) then
    if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error("no LiveKit server: " .. why, 2) end
    pending("no LiveKit server: " .. why)
  end
  local self = setmetatable({ world = world, dir = world:folder(), port = world:port() }, server)
  self.redis = RedisServer.start(world, { tcp = true })
  self.settings = { LIVEKIT_URL = "ws://127.0.0.1:" .. self.port, LIVEKIT_API_KEY = M.KEY,
    LIVEKIT_API_SECRET = M.SECRET }
  local webhook = options and options.webhook
  world:write(self.dir .. "/livekit.yaml", CONFIG:format(self.port, self.redis.port, M.KEY,
    M.SECRET, world:port(), world:port(), M.KEY, webhook and ("%q"):format(webhook) or ""))
  return self
end

---(waits) Starts it, or starts it again.
function server:start()
  self.process = self.world:start({ program, "--config", self.dir .. "/livekit.yaml" },
    cxb.process.environ())
  -- Asked to end it waits for nodes that died before it.
  function self.process.stop(process)
    process:kill("KILL")
    return process:wait(10000)
  end
  World.wait_until("LiveKit", function()
    return client.twirp(self.settings, "RoomService", "ListRooms", {})
  end, 60000)
  return self
end

---(waits) As a machine goes that loses power.
function server:stop()
  self.process:stop()
end

---What an API needs to use it. People come by a program each, which takes its time to start on a
---busy machine: the desk waits long for them.
---@return table<string, string>
function server:env()
  local env = { AGENT_DESK_JOIN_TIMEOUT = "600", AGENT_DESK_HEARTBEAT_TTL = "600" }
  for name, value in pairs(self.settings) do env[name] = value end
  return env
end

---(waits) Objects of its SIP interface by name.
---@param list "ListSIPInboundTrunk"|"ListSIPOutboundTrunk"|"ListSIPDispatchRule"
function server:sip(list)
  local found = {}
  for _, item in ipairs(assert(client.twirp(self.settings, "SIP", list, {})).items) do
    found[item.name] = item
  end
  return found
end

return M
