-- The whole platform, as `cxbctl up` starts it, in folders and on a port of its own.

local json = require("cjson.safe")
local support = require("support.world")

local M = {}
local platform = {}
platform.__index = platform

---Variables that keep a platform in `dir`.
function M.environment(dir)
  return { CXB_RUN_DIR = dir .. "/run", CXB_STATE_DIR = dir .. "/state",
    CXB_EXE = support.program, CXB_TTY = "0" }
end

---(waits) Runs `cxbctl WORDS…` for the platform in `dir`: exit code, output.
function M.cxbctl(world, env, words, timeout_ms)
  local args = { support.program, "cxbctl.lua" }
  for _, word in ipairs(words) do args[#args + 1] = word end
  local p = world:start(args, env)
  local code = p:wait(timeout_ms or 120000)
  if code == nil then
    p:stop()
    error(("cxbctl %s did not end:\n%s"):format(table.concat(words, " "), p:output()), 2)
  end
  return code, p:output(), p
end

---(waits)
---@param world table
---@param opts? {workers?: integer, port?: integer, dir?: string, env?: table<string, string>}
function M.up(world, opts)
  opts = opts or {}
  support.need("nginx")
  local dir = opts.dir or world:folder()
  local port = opts.port or world:port()
  local env = M.environment(dir)
  for key, value in pairs(opts.env or {}) do env[key] = value end
  local self = setmetatable({ world = world, dir = dir, port = port, env = env,
    run_dir = dir .. "/run", state_dir = dir .. "/state", url = "http://127.0.0.1:" .. port },
    platform)
  self.process = world:start({ support.program, "cxbctl.lua", "up", "--workers",
    tostring(opts.workers or 2), "--port", tostring(port) }, env)
  support.wait_until("the platform", function()
    if self.process.ended then error(self.process:output(), 0) end
    local said = self.process:output() -- its last line says where to go first
    return said:find("Set up: " .. self.url, 1, true) or said:find("Test call: " .. self.url, 1, true)
  end, 180000)
  return self
end

---(waits) exit code, output
function platform:cxbctl(...)
  return M.cxbctl(self.world, self.env, { ... })
end

---(waits) exit code and the one JSON object that --json prints
function platform:json(...)
  local words = { ... }
  words[#words + 1] = "--json"
  local code, text = M.cxbctl(self.world, self.env, words)
  return code, json.decode(text), text
end

---Ids of the supervisor's children by name.
function platform:pids()
  local up = assert(json.decode(self.world:read(self.run_dir .. "/up.json")))
  local out = {}
  for _, service in ipairs(up.services) do
    if service.pid and service.pid ~= json.null then out[service.name] = service.pid end
  end
  return out
end

return M
