-- A host of the fleet as the API sees it: a server that speaks Core's wire and answers as it is told.
--   local host = FleetHost.new(world); host:answer("/livekit/dialout", 429, {error = "at_capacity"})
--   host:register(api, {free = 4}); host:asked("/livekit/dialout") → requests so far
local json = require("cxb.json")
local World = require("support.world")

local M = {}
local host = {}
host.__index = host

-- POST /_answer {path, status, body (text), delay_ms, times}: how requests of a path are answered.
local HANDLER = [[
local json = require("cjson.safe")
local answers = {}
local free, max = 4, 4
local defaults = {
  ["/livekit/dialout"] = '{"status":"accepted","call_id":"c-1","room_name":"call-1"}',
  ["/livekit/dispatch"] = '{"status":"accepted","call_id":"c-1"}',
  ["/livekit/widget"] = '{"status":"accepted","call_id":"c-1"}',
  ["/outbox"] = '{"items":[{"id":"1-1","kind":"result","state":"dead"}]}',
  ["/logs"] = '{"items":[{"msg":"call started"}]}',
}
return function(req, seen, body)
  if req.path == "/_answer" then
    local set = json.decode(body)
    answers[set.path] = set
    seen[#seen] = nil
    return req:respond(200, "{}")
  end
  local how = answers[req.path] or {}
  if how.delay_ms then cxb.time.sleep(how.delay_ms) end
  if how.times then
    how.times = how.times - 1
    if how.times == 0 then answers[req.path] = nil end
  end
  local text = how.body or defaults[req.path] or '{"status":"ok"}'
  if not how.body and req.path == "/health/fleet" then
    text = ('{"status":"ok","fleet_calls":%d,"fleet_max":%d,"fleet_available":%d,"workers":[]}'):format(
      max - free, max, free)
  end
  req:respond(how.status or 200, text, { ["content-type"] = "application/json",
    ["retry-after"] = how.status == 429 and "1" or nil })
end
]]

---(waits)
---@param world table support.world
---@param id? string
function M.new(world, id)
  local port = world:port()
  local self = setmetatable({ id = id or "host-" .. port, port = port,
    url = "http://127.0.0.1:" .. port }, host)
  self.process = world:server("tcp:127.0.0.1:" .. port, HANDLER)
  return self
end

---How requests of a path are answered from now on; `body` a table or text.
---@param more? {delay_ms?: integer, times?: integer}
function host:answer(path, status, body, more)
  local set = { path = path, status = status,
    body = type(body) == "table" and json.encode(body) or body }
  for name, value in pairs(more or {}) do set[name] = value end
  assert(cxb.http.request({ url = self.url .. "/_answer", method = "POST",
    body = json.encode(set) }))
end

---(waits) The requests of a path so far, their bodies decoded as `sent`.
function host:asked(path)
  local list = {}
  for _, request in ipairs(self.process.seen()) do
    if request.path == path then
      request.sent = json.decode_object(request.body or "")
      list[#list + 1] = request
    end
  end
  return list
end

---What the host tells of itself.
---@param options? {free?: integer, max?: integer, consumed?: string[], more?: table}
function host:beat(options)
  options = options or {}
  local max = options.max or 4
  local free = options.free or max
  local body = { host_id = self.id, boot_id = "boot-" .. self.id, base_url = self.url,
    version = "1.0.0", generation = 1, fleet_max = max, fleet_calls = max - free,
    fleet_available = free, workers = json.array(), draining = false,
    consumed = json.array(options.consumed or {}), flows_revision = 0 }
  for name, value in pairs(options.more or {}) do body[name] = value end
  return body
end

-- (waits) Until no heartbeat is on its way: none may arrive behind what is said or done after it.
local function told(self)
  World.wait_until("a heartbeat's answer", function() return not self.telling end)
end

---(waits) Registers, and again each half second until silence().
function host:register(api, options)
  self.options = options
  local function tell()
    told(self)
    self.telling = true
    local answer = api:ask("POST", "/api/v1/fleet/register", { body = self:beat(self.options) })
    self.telling = false
    return answer
  end
  local first = tell()
  if not self.task then
    self.task = cxb.task.spawn("heartbeat", function()
      while self.task ~= false and cxb.time.sleep(500) do
        if self.task then tell() end
      end
    end)
  end
  return first
end

---(waits) Silent from now on.
function host:silence()
  if self.task then
    local task = self.task
    self.task = false
    told(self)
    task:cancel()
    task:wait(5000)
  end
end

M.wait_until = World.wait_until

return M
