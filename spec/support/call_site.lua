-- An API and one call worker as processes of their own, without nginx and speech: for specs that
-- kill one of them at a chosen moment.

local api_process = require "support.api_process"
local dialler = require "support.dialler"
local support = require "support.world"

local M = {}
local site = {}
site.__index = site

---@param world table
---@param options? {flow?: string, env?: table<string, string>, front?: boolean} flow: Lua source of
---the demo bot's flow; front: results go through a relay (see relay()), not straight to the API
function M.start(world, options)
  options = options or {}
  local self = setmetatable({ world = world, dir = world:folder(), options = options }, site)
  self.flows_dir, self.state_dir = self.dir .. "/flows", self.dir .. "/state"
  world:write(self.flows_dir .. "/spec.lua", options.flow or "return function(call) call:listen({}) end")
  self.api_port = world:port()
  self.results_port = options.relay and world:port() or self.api_port
  local env = {
    CXB_API_LISTEN = "tcp:127.0.0.1:" .. self.api_port,
    CXB_INTERNAL_URL = "http://127.0.0.1:" .. self.results_port,
  }
  env.CXB_API_LISTEN = "127.0.0.1:" .. self.api_port
  self.api = setmetatable({}, { __index = self })
  self.api_env = env
  self:start_api()
  if options.relay then
    self.relay = world:server("tcp:127.0.0.1:" .. self.results_port,
      options.relay:gsub("$API", "http://127.0.0.1:" .. self.api_port))
  end
  self:start_worker()
  return self
end

local function url_of(self, path)
  return ("http://127.0.0.1:%d%s"):format(self.api_port, path)
end

---(waits) An API on this site's state; the bot `spec` runs the flow.
function site:start_api()
  local env = {
    CXB_RUN_DIR = self.dir, CXB_STATE_DIR = self.state_dir,
    PATH = cxb.process.env("PATH"), CXB_BOTS_SEED_DIR = self.dir .. "/bots",
    CXB_RATE_SCALE = "0",
  }
  for name, value in pairs(api_process.IDENTITY) do env[name] = value end
  for name, value in pairs(self.api_env) do env[name] = value end
  if not self.bot_made then
    self.bot_made = true
    self.world:write(self.dir .. "/bots/spec.json", [[{"bot_id":"spec","system_prompt":"",
      "opening_message":"","flow":"spec","stt":{"provider":"none"},"tts":{"provider":"none"},
      "max_silence_seconds":0,"re_engagement":null}]])
  end
  self.api_process = self.world:service(cxb.root .. "/api/api.lua", env, function()
    return self:ask("/health/ready") ~= nil
  end)
end

function site:kill_api()
  self.api_process:kill("KILL")
  self.api_process:wait(15000)
end

---(waits) JSON of a GET as the administrator, or nil.
function site:ask(path)
  local body, answer = support.get_json(url_of(self, path),
    { authorization = "Bearer " .. api_process.token() })
  return type(answer) == "table" and answer.status == 200 and body or nil
end

function site:start_worker(env)
  self.socket = self.dir .. "/core-1.sock"
  local all = {
    CXBCORE_SECRET = api_process.SECRET, CXB_RUN_DIR = self.dir, CXB_STATE_DIR = self.state_dir,
    CXB_LISTEN = "unix:" .. self.dir .. "/core-%i.sock", CXBCORE_WORKERS = "1",
    CXB_API_CONFIG_URL = url_of(self, "/api/v1/config"), CXB_FLOWS_DIR = self.flows_dir,
    CXB_BOTS_DIR = self.dir .. "/bots", PATH = cxb.process.env("PATH"),
  }
  for _, more in ipairs { self.options.env or {}, env or {} } do
    for name, value in pairs(more) do all[name] = value end
  end
  self.worker = self.world:service("core.lua", all, self.socket)
end

---(waits) A caller that has been answered.
function site:call()
  return assert(dialler.connect(self.socket, "spec")):begin()
end

function site:health()
  return support.get_json("http+unix:" .. self.socket .. ":/health")
end

---(waits) The one call the API knows, once its result is there (see core_host's delivery).
function site:stored(timeout_ms)
  return support.wait_until("the stored result", function()
    local list = self:ask("/api/v1/calls?limit=50")
    local item = list and list.items[1]
    if not item or item.status == "in_progress" then return end
    return self:ask("/api/v1/calls/" .. item.session_id)
  end, timeout_ms or 150000)
end

---Records of the call's journal, while it lives.
function site:journal()
  local dir = self.state_dir .. "/journal"
  for _, name in ipairs(cxb.fs.list(dir) or {}) do
    if name:match("%.jnl$") then return assert(cxb.journal.read(dir .. "/" .. name)) end
  end
end

return M
