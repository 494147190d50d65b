-- What a spec starts, and stops again: temporary folders, free ports, real processes by their id.
--   local world = require("support.world").new()
--   after_each(function() world:close() end)

local json = require("cjson.safe")

local M = {}
-- A lock file for each port that a spec was given (a process may hold sixty-four; more ports are
-- taken at their looks), and those of this process.
local PORTS, given = "/tmp/cxb-spec-ports", {}

local world = {}
world.__index = world

---The program under test.
M.program = cxb.process.env("CXB_BIN") or cxb.root .. "/build/cxbrt"

---@return table world
function M.new()
  return setmetatable({ folders = {}, running = {} }, world)
end

---(waits) Until `condition` answers something true; that, or an error that says what was awaited.
---It is asked once more when the time is over: the spec itself may have been kept waiting.
---@param what string
---@param condition fun(): any
---@param timeout_ms? number 60000: a busy machine is slow, and who waits in vain is a failure anyway
function M.wait_until(what, condition, timeout_ms)
  local deadline = cxb.time.mono() + (timeout_ms or 60000)
  repeat
    local over = cxb.time.mono() >= deadline
    local value = condition()
    if value then return value end
    if not over then cxb.time.sleep(10) end
  until over
  error(("waited %d ms in vain: %s"):format(timeout_ms or 60000, what), 2)
end
world.wait_until = function(_, ...) return M.wait_until(...) end

---A tool that a spec cannot do without: missing, the spec is skipped, or fails when all is
---required (CXB_REQUIRE_ALL=1).
function M.need(program)
  for dir in (cxb.process.env("PATH") .. ":/usr/sbin:/sbin"):gmatch("[^:]+") do
    local file = io.open(dir .. "/" .. program)
    if file then
      file:close()
      return
    end
  end
  if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error(program .. " is not installed", 2) end
  pending(program .. " is not installed")
end

---A new empty folder with a short path (sockets), removed by close().
---@return string
function world:folder()
  local path = "/tmp/cxb-spec-" .. cxb.crypto.hex(cxb.crypto.random(5))
  assert(cxb.fs.mkdir(path, 448))
  self.folders[#self.folders + 1] = path
  return path
end

local function listening_ports()
  local ports = {}
  for _, name in ipairs({ "/proc/net/tcp", "/proc/net/tcp6" }) do
    for line in io.lines(name) do
      local port = line:match("^%s*%d+: %x+:(%x+)")
      if port then ports[tonumber(port, 16)] = true end
    end
  end
  return ports
end

---A port nobody uses, below the range the system gives to outgoing connections; this process's
---until it ends, bound or not: specs run side by side, and their services come and go.
---@return integer
function world:port()
  local used = listening_ports()
  cxb.fs.mkdir(PORTS, 511)
  for _ = 1, 200 do
    local a, b = cxb.crypto.random(2):byte(1, 2)
    local port = 20000 + (a * 256 + b) % 12000
    if not used[port] and not given[port]
      and select(2, cxb.fs.lock(PORTS .. "/" .. port)) ~= "busy" then
      given[port] = true
      return port
    end
  end
  error("no free port")
end

---Writes a file, making its folders.
function world:write(path, text, mode)
  assert(cxb.fs.write(path, text, { mode = mode or 384 }))
  return path
end

function world:read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local process = {}
process.__index = process

---Starts a program in a session of its own; its output is kept in process.log (lines).
---@param args string[]
---@param env? table<string, string>
---@param cwd? string
---@return table process {pid, log, wait, kill, ended, stop}
function world:start(args, env, cwd)
  local child, _, why = cxb.process.spawn({
    args = args, env = env, cwd = cwd, capture = true, detached = true,
  })
  assert(child, ("%s: %s"):format(args[1], tostring(why)))
  local p = setmetatable({ child = child, pid = child.pid, log = {}, name = args[2] or args[1] },
    process)
  p.reader = cxb.task.spawn("output", function()
    for line in function() return child:line() end do p.log[#p.log + 1] = line end
  end)
  p.waiter = cxb.task.spawn("wait", function()
    p.code, p.signal = child:wait()
    p.ended = true
  end)
  self.running[#self.running + 1] = p
  return p
end

function process:kill(signal)
  return self.child:kill(signal or "TERM")
end

---(waits) Exit code, or nil when it still runs after the time.
function process:wait(timeout_ms)
  self.waiter:wait(timeout_ms or 30000)
  if not self.ended then return nil end
  self.reader:wait(2000)
  return self.code, self.signal
end

---(waits) TERM, then KILL.
function process:stop(timeout_ms)
  if self.ended then return self.code end
  self:kill("TERM")
  if not self:wait(timeout_ms or 15000) then
    self:kill("KILL")
    self:wait(5000)
  end
  return self.code, self.signal
end

function process:output()
  return table.concat(self.log, "\n")
end

---The last log record (JSON line) whose msg is `msg`.
function process:logged(msg)
  for i = #self.log, 1, -1 do
    local record = json.decode(self.log[i])
    if type(record) == "table" and record.msg == msg then return record end
  end
end

---(waits) Starts `cxbrt SCRIPT` and waits until `ready` is true, or, when it is a path, until that
---socket takes connections.
---@param script string
---@param env table<string, string>
---@param ready? string|fun(): any
---@param args? string[]
function world:service(script, env, ready, args)
  local command = { M.program, script }
  for _, arg in ipairs(args or {}) do command[#command + 1] = arg end
  local p = self:start(command, env)
  local condition = type(ready) == "function" and ready or ready and function()
    return M.accepts(ready)
  end
  if condition then
    M.wait_until(script .. " ready", function()
      if p.ended then
        error(("%s ended with %s:\n%s"):format(script, tostring(p.code), p:output()), 0)
      end
      return condition()
    end)
  end
  return p
end

---(waits) Starts a server on `addr` ("unix:/path" or "tcp:127.0.0.1:port") that answers as the Lua
---text `handler` says (see server.lua).
---@return table process
function world:server(addr, handler)
  local path = self:folder() .. "/handler.lua"
  self:write(path, handler)
  local url = addr:match("^unix:") and "http+unix:" .. addr:sub(6) .. ":"
    or "http://" .. addr:gsub("^tcp:", "")
  local p = self:service(cxb.root .. "/spec/support/server.lua", {}, function()
    return M.get_json(url .. "/_seen")
  end, { addr, path })
  p.seen = function() return assert(M.get_json(url .. "/_seen")) end
  return p
end

---(waits) Whether a Unix socket answers HTTP at all.
function M.accepts(path)
  local answer, code = cxb.http.request({ url = "http+unix:" .. path .. ":/", timeout_ms = 5000 })
  return answer ~= nil or (code ~= "refused" and code ~= "not_found" and code ~= "io")
end

---(waits) The JSON of a GET.
function M.get_json(url, headers)
  local answer, _, why = cxb.http.request({ url = url, headers = headers, timeout_ms = 30000 })
  if not answer then return nil, why end
  return json.decode(answer.body or ""), answer
end

---(waits) Stops what was started, latest first, and removes the folders.
function world:close()
  for i = #self.running, 1, -1 do self.running[i]:stop() end
  for _, path in ipairs(self.folders) do
    -- made by folder() above, never anything else
    assert(path:match("^/tmp/cxb%-spec%-%x+$"))
    local child = cxb.process.spawn({ args = { "rm", "-rf", path } })
    if child then child:wait(5000) end
  end
  self.running, self.folders = {}, {}
end

return M
