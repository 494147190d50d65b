-- What runs on one machine, in the order it is started: command, variables, and when it is ready.

local paths = require("cxbctl.paths")

local M = {}

---@class cxbctl.site
---@field run_dir string
---@field state_dir string
---@field workers integer
---@field port integer
---@field program string
---@field env table<string, string> variables all services get

local function merged(...)
  local out = {}
  for _, map in ipairs({ ... }) do
    for key, value in pairs(map) do out[key] = value end
  end
  return out
end

---@return boolean ready, string? why, string? body
local function answers(url)
  local answer, _, message = cxb.http.request({
    url = url, timeout_ms = 1000, connect_timeout_ms = 1000,
  })
  if not answer then return false, message end
  return answer.status == 200, "answers " .. answer.status, answer.body
end

-- The front is ready when every worker behind it would take a call.
local function fleet_free(url, workers)
  local ready, why, body = answers(url)
  if not ready then return false, why end
  local free = tonumber(body:match('"fleet_available":(%d+)'))
  return free == workers, ("%s of %d workers are free"):format(tostring(free), workers)
end

-- For the API alone.
local first_admin = { "CXB_ADMIN_EMAIL", "CXB_ADMIN_PASSWORD" }
local hidden, shown = {}, {}
for _, name in ipairs(first_admin) do
  hidden[name], shown[name] = "", cxb.process.env(name)
end

---Variables that every service of this machine reads alike.
---@param site cxbctl.site
function M.environment(site)
  local url = "http://127.0.0.1:" .. site.port
  return merged(cxb.process.environ(), hidden, {
    CXB_RUN_DIR = site.run_dir,
    CXB_STATE_DIR = site.state_dir,
    CXBCORE_WORKERS = tostring(site.workers),
    CXB_PUBLIC_URL = url,
    CXB_HOST_URL = url,
    CXB_API_CONFIG_URL = url .. "/api/v1/config",
    CXB_API_LISTEN = "unix:" .. site.run_dir .. "/api-1.sock",
    CXB_SPEECH_URL = "unix:" .. site.run_dir .. "/speech.sock",
    CXB_LISTEN = "unix:" .. site.run_dir .. "/core-%i.sock",
  })
end

---@param site cxbctl.site
---@param nginx_conf string path of the rendered main file
---@return table[] {name, args, env, ready: fun(): boolean, string?, boolean?} ready: why not, and
---whether it says that it works on it
function M.list(site, nginx_conf)
  local env, list = M.environment(site), {}
  local function add(name, args, extra, ready)
    list[#list + 1] = { name = name, args = args, env = merged(env, extra), ready = ready }
  end
  add("speech", { site.program, "speech.lua" }, {}, function()
    return answers("http+unix:" .. site.run_dir .. "/speech.sock:/health")
  end)
  add("api", { site.program, "api.lua" }, shown, function()
    local ready, why, body = answers("http+unix:" .. site.run_dir .. "/api-1.sock:/health/ready")
    return ready, why, body and body:find("store_upgrading", 1, true) ~= nil
  end)
  for n = 1, site.workers do
    add("core-" .. n, { site.program, "core.lua" }, { CXB_WORKER_ID = tostring(n) }, function()
      return answers(("http+unix:%s/core-%d.sock:/health"):format(site.run_dir, n))
    end)
  end
  local nginx = { paths.nginx(), "-e", "stderr", "-p", site.run_dir, "-c", nginx_conf }
  add("nginx", nginx, {}, function()
    return fleet_free(("http://127.0.0.1:%d/health/fleet"):format(site.port), site.workers)
  end)
  return list
end

return M
