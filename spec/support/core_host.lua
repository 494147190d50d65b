-- A host of call workers with the API they need, for specs about what survives: real workers, and a
-- receiver that keeps everything it was sent and fails as it is told to.
--   local host = CoreHost.new(world)
--   host:start(1); local d = host:call(1); d:hangup(); host:result()

local World = require "support.world"
local dialler = require "support.dialler"

local M = {}
local host = {}
host.__index = host

M.SECRET = ("k"):rep(40)

-- /api/v1/config/<flow> is a bot that runs that flow. Everything else is a delivery: kept in `got`
-- and answered as `mode` says: a status, or "silent" (kept, then no answer). GET /_got lists them,
-- GET /_mode/<mode>[/<how often>] sets how the next ones are answered. Live events are no delivery:
-- they are kept apart (GET /_lives) and answered as /_live_mode/<mode> says.
local API = [[
local json = require("cjson.safe")
local got, calls, mode, left = {}, 0, "200", math.huge
local lives, live_mode = {}, "200"
local function config(flow)
  calls = calls + 1
  return json.encode({ session_id = PREFIX .. calls, webhook_url = URL .. "/results",
    system_prompt = "", opening_message = "", stt = { provider = "none" },
    tts = { provider = "none" }, flow = flow, max_silence_seconds = 0,
    max_call_duration_seconds = 7200 })
end
return function(req, seen, body)
  for i = #seen, 1, -1 do seen[i] = nil end -- `got` is what is kept here
  local flow = req.path:match("^/api/v1/config/([%w_-]+)$")
  if flow then return req:respond(200, config(flow)) end
  if req.path == "/_got" then return req:respond(200, #got > 0 and json.encode(got) or "[]") end
  if req.path == "/_lives" then
    return req:respond(200, #lives > 0 and json.encode(lives) or "[]")
  end
  if req.path:match("^/_live_mode/") then
    live_mode = req.path:match("%w+$")
    return req:respond(200, "{}")
  end
  if req.path:match("/live$") then
    lives[#lives + 1] = { at = cxb.time.now(), path = req.path, headers = req.headers, body = body }
    if live_mode == "silent" then return cxb.time.sleep(60000) end
    return req:respond(tonumber(live_mode), "{}")
  end
  local set, times = req.path:match("^/_mode/(%w+)/?(%d*)$")
  if set then
    mode, left = set, tonumber(times) or math.huge
    return req:respond(200, "{}")
  end
  local answer = mode
  left = left - 1
  if left <= 0 then mode = "200" end
  got[#got + 1] = { at = cxb.time.now(), path = req.path, headers = req.headers, body = body,
    key = req.headers["idempotency-key"], answer = answer }
  if answer == "silent" then return cxb.time.sleep(60000) end
  req:respond(tonumber(answer), "{}")
end
]]

---@param world table support.world
---@param o? {workers?: integer, env?: table<string, string>, prefix?: string}
function M.new(world, o)
  o = o or {}
  local dir, port = world:folder(), world:port()
  local self = setmetatable({ world = world, dir = dir, url = "http://127.0.0.1:" .. port,
    workers = {}, state = dir .. "/state", prefix = o.prefix or "s" }, host)
  local names = { URL = ("%q"):format(self.url), PREFIX = ("%q"):format(self.prefix) }
  self.api = world:server("tcp:127.0.0.1:" .. port, (API:gsub("%f[%u]%u+%f[%U]", names)))
  self.env = {
    CXBCORE_SECRET = M.SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = self.state,
    CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = tostring(o.workers or 2),
    CXB_API_CONFIG_URL = self.url .. "/api/v1/config", CXB_BOTS_DIR = dir .. "/bots",
    CXB_MIN_FREE_MB = "0", PATH = os.getenv("PATH"),
  }
  for name, value in pairs(o.env or {}) do self.env[name] = value end
  return self
end

function host:socket(n)
  return ("%s/core-%d.sock"):format(self.dir, n)
end

---(waits) Starts worker n (again); `more` adds to its environment.
---@return table process
function host:start(n, more)
  local env = { CXB_WORKER_ID = tostring(n) }
  for _, vars in ipairs({ self.env, more or {} }) do
    for name, value in pairs(vars) do env[name] = value end
  end
  self.workers[n] = self.world:service("core.lua", env, self:socket(n))
  return self.workers[n]
end

---(waits) kill -9
function host:kill(n)
  self.workers[n]:kill("KILL")
  self.workers[n]:wait()
end

---(waits) A call that has been answered; its flow plays back what it hears.
---@return table? dialler, string? code
function host:call(n, flow)
  local d, code, message = dialler.connect(self:socket(n), flow or "echo")
  return d and d:begin(), code, message
end

---(waits) The session of the call that worker n carries.
function host:session(n)
  return World.wait_until("a session", function()
    local status = cxb.process.control(("%s/ctl/core-%d.sock"):format(self.dir, n),
      { verb = "status" })
    return status and status.session_id ~= "" and status.session_id
  end)
end

---(waits) One short call from its beginning to its end; its caller hears himself, so it was answered
---and recorded.
function host:short_call(n)
  local d = assert(self:call(n)):hear_self()
  d:hangup()
  d:wait_closed()
  return d
end

function host:get(n, path)
  return World.get_json("http+unix:" .. self:socket(n) .. ":" .. path,
    { ["x-cxb-core-secret"] = M.SECRET })
end

function host:post(n, path)
  return cxb.http.request({ url = "http+unix:" .. self:socket(n) .. ":" .. path, method = "POST",
    headers = { ["x-cxb-core-secret"] = M.SECRET } })
end

---(waits) What the receiver was sent: {at, path, headers, body, key, answer}[]
function host:got()
  return assert(World.get_json(self.url .. "/_got"))
end

---(waits) Live events the API was sent: {at, path, headers, body}[]
function host:lives()
  return assert(World.get_json(self.url .. "/_lives"))
end

---How live events are answered from now on ("204", "503", "silent").
function host:live_mode(mode)
  assert(World.get_json(self.url .. "/_live_mode/" .. mode))
end

---How the receiver answers from now on ("200", "503", "silent"), the next `times` only.
function host:mode(mode, times)
  assert(World.get_json(("%s/_mode/%s%s"):format(self.url, mode, times and "/" .. times or "")))
end

---(waits) The n-th delivery the receiver has taken for good. After an outage one delay of the outbox
---still has to pass: up to 2 s to the power of the failures so far.
function host:delivery(n, timeout_ms)
  return World.wait_until("delivery " .. (n or 1), function()
    local taken = {}
    for _, d in ipairs(self:got()) do
      if d.answer == "200" then taken[#taken + 1] = d end
    end
    return taken[n or 1]
  end, timeout_ms or 150000)
end

---(waits) Until worker n carries no call.
function host:idle(n)
  World.wait_until("a free slot", function()
    local health = self:get(n, "/health")
    return health and health.worker_calls == 0
  end)
end

---(waits) Rows of the outboxes as worker n lists them.
function host:outbox(n, state)
  return assert(self:get(n, "/outbox" .. (state and "?state=" .. state or ""))).items
end

---(waits) The value of a metric line of worker n, nil when it is not there.
function host:metric(n, line, scope)
  local answer = assert(cxb.http.request({
    url = "http+unix:" .. self:socket(n) .. ":/metrics?scope=" .. (scope or "worker") }))
  for name, value in answer.body:gmatch("([^\n]+) ([^ \n]+)\n") do
    if name == line then return tonumber(value) end
  end
end

return M
