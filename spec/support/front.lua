-- A real nginx with the rendered front, before scripted workers and a scripted API.

local json = require("cjson.safe")
local nginx = require("cxbctl.nginx")
local paths = require("cxbctl.paths")
local support = require("support.world")

local M = {}

-- A call worker in a few lines: one call at a time, by socket (until it closes) or by POST (until
-- /_free). /_refuse makes it refuse although it is free.
M.worker = [[
local json = require("cjson.safe")
local id = %d
local busy, refuse = false, false
return function(req, seen, body)
  if req.path == "/_free" then busy, refuse = false, false return req:respond(200, "{}") end
  if req.path == "/_refuse" then refuse = true return req:respond(200, "{}") end
  if req.path == "/health" or req.path == "/metrics" then
    return req:respond(200, { worker = id, busy = busy })
  end
  local full = json.encode({ error = "at_capacity", worker = id })
  local head = { ["retry-after"] = "1", ["content-type"] = "application/json" }
  if req.upgrade then
    if busy or refuse then return req:respond(503, full, head) end
    busy = true
    local ws = req:websocket()
    if ws then
      ws:send("worker " .. id)
      while true do
        local kind, text = ws:receive()
        if not kind then break end
        ws:send(text)
      end
    end
    busy = false
    return
  end
  if busy or refuse then return req:respond(429, full, head) end
  busy = true
  req:respond(200, { status = "accepted", worker = id, body = body, length = #(body or "") })
end
]]

M.api = [[
return function(req, seen, body)
  req:respond(200, { path = req.path, query = req.query, length = #(body or ""),
    forwarded = req.headers["x-forwarded-for"], id = req.headers["x-request-id"] })
end
]]

local front = {}
front.__index = front

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

---(waits)
---@param world table
---@param opts {workers: integer, processes?: integer, api?: boolean, started?: integer, settings?: table, dir?: string}
---started: scripted workers; 0 when real ones listen in `dir`
function M.start(world, opts)
  support.need("nginx")
  local dir, port = opts.dir or world:folder(), world:port()
  local self = setmetatable({ world = world, dir = dir, port = port, workers = {},
    url = "http://127.0.0.1:" .. port, ws = "ws://127.0.0.1:" .. port }, front)
  for n = 1, opts.started or opts.workers do
    self.workers[n] = world:server(("unix:%s/core-%d.sock"):format(dir, n), M.worker:format(n))
  end
  if opts.api then self.api = world:server("unix:" .. dir .. "/api-1.sock", M.api) end
  local given = { workers = opts.workers, run_dir = dir, listen = "127.0.0.1:" .. port,
    pages = dir .. "/page", access_log = dir .. "/access.log cxb" }
  for key, value in pairs(opts.settings or {}) do given[key] = value end
  local settings = assert(nginx.settings(function() return nil end, given))
  local function hash(data) return cxb.crypto.hex(cxb.crypto.sha256(data)) end
  world:write(dir .. "/page/index.html", "<title>page</title>", 420)
  assert(cxb.fs.mkdir(dir .. "/nginx"))
  world:write(dir .. "/cxb.conf",
    nginx.render(settings, read(cxb.root .. "/nginx/cxb.conf.tmpl"), "0", hash))
  world:write(dir .. "/nginx.conf",
    nginx.standalone(settings, read(cxb.root .. "/nginx/standalone.conf.tmpl"), {
      front = dir .. "/cxb.conf", error_log = "stderr", processes = opts.processes,
      user = read("/proc/self/status"):match("\nUid:%s+0%s") and "root" or nil }))
  self.process = world:start({ paths.nginx(), "-e", "stderr", "-p", dir, "-c", dir .. "/nginx.conf" })
  support.wait_until("nginx on port " .. port, function()
    assert(not self.process.ended, self.process:output())
    local _, code = cxb.http.request({ url = self.url .. "/", timeout_ms = 5000 })
    return code == nil
  end)
  return self
end

---(waits) A call by socket: the connection and its worker's greeting; nil when refused.
function front:call(path)
  local conn, code, why = cxb.ws.connect(self.ws .. (path or "/ws/demo"), { timeout_ms = 30000 })
  if not conn then return nil, code, why end
  local _, greeting = conn:receive(30000)
  return conn, greeting
end

---(waits) A refused upgrade as the caller sees it: status, JSON body, headers; nil, code without an
---answer.
function front:refused(path)
  local answer, code = cxb.http.request({ url = self.url .. (path or "/ws/demo"), timeout_ms = 30000,
    headers = { Connection = "Upgrade", Upgrade = "websocket", ["Sec-WebSocket-Version"] = "13",
      ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ==" } })
  if not answer then return nil, code end
  return answer.status, json.decode(answer.body or ""), answer.headers
end

---(waits) A call by POST.
function front:post(path, body, headers)
  local answer = assert(cxb.http.request({ url = self.url .. (path or "/attach"), method = "POST",
    body = body or "{}", timeout_ms = 30000, headers = headers }))
  return answer.status, json.decode(answer.body or ""), answer.headers
end

---(waits) Tells worker n something behind the front's back: "/_free", "/_refuse".
function front:tell(n, path)
  return assert(cxb.http.request({ url = ("http+unix:%s/core-%d.sock:%s"):format(self.dir, n, path) }))
end

return M
