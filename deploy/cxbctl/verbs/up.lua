-- cxbctl up: the whole platform on this machine, until Ctrl-C.

local json = require("cjson.safe")
local front = require("cxbctl.front")
local logs = require("cxbctl.logs")
local nginx = require("cxbctl.nginx")
local paths = require("cxbctl.paths")
local pids = require("cxbctl.pids")
local secrets = require("cxb.secrets")
local services = require("cxbctl.services")
local supervisor = require("cxbctl.supervisor")

local M = {
  summary = "start nginx, the call workers, speech and the API here; Ctrl-C stops them",
  example = "cxbctl up --workers 4 --port 8080",
  options = {
    { name = "workers", value = "N", type = "int", min = 1, max = 512,
      help = "call workers; CXBCORE_WORKERS, else 4" },
    { name = "port", value = "P", type = "int", min = 1, max = 65535, default = 8080,
      help = "port of the front on 127.0.0.1" },
    { name = "verbose", help = "show every log line" },
  },
}

local DRAIN_MS, NOW_MS, READY_MS = 10000, 5000, 30000
local LINK_MS, OLD_LINK_MS = 10000, 1000
local LONGEST_SOCKET = 107 -- a Unix socket's path, Linux

-- Something that listens on the port already.
local function port_taken(port)
  local _, code = cxb.http.request({ url = ("http://127.0.0.1:%d/health"):format(port),
    timeout_ms = 5000, connect_timeout_ms = 5000 })
  return code ~= "refused"
end

local function site_of(options)
  local here = paths.here()
  local site = {
    run_dir = cxb.process.env("CXB_RUN_DIR") or here .. "/.run",
    state_dir = cxb.process.env("CXB_STATE_DIR") or here .. "/.state",
    workers = options.workers or tonumber(cxb.process.env("CXBCORE_WORKERS")) or 4,
    port = options.port,
    program = paths.program(),
  }
  local longest = site.run_dir .. "/ctl/speech.sock.tmp"
  if #longest > LONGEST_SOCKET then
    return nil, ("the path %s is too long for sockets (%d bytes, at most %d)"):format(
      site.run_dir, #longest, LONGEST_SOCKET), "work from a folder with a shorter path"
  end
  if port_taken(site.port) then
    return nil, ("port %d of 127.0.0.1 is taken"):format(site.port),
      "stop what uses it, or choose another: cxbctl up --port " .. site.port + 1
  end
  return site
end

-- One platform a folder; what an earlier one left alive is stopped first, by `cxbctl down`.
local function claim(site)
  local before = paths.read_up(site.run_dir)
  if before then
    if pids.alive(before) then
      return nil, ("already running here: process %d, %s"):format(before.pid, before.url),
        "cxbctl status, or cxbctl down"
    end
    for _, child in ipairs(before.services) do
      if child.pid and pids.alive(child) then
        return nil, ("%s of an earlier run still lives (process %d)"):format(child.name, child.pid),
          "cxbctl down"
      end
    end
  end
  for _, dir in ipairs({ site.run_dir .. "/ctl", site.state_dir .. "/logs" }) do
    local ok, code, message = cxb.fs.mkdir(dir, 448) -- 0700
    if not ok then return nil, ("%s: %s"):format(dir, message or code) end
  end
  if not cxb.fs.lock(site.run_dir .. "/up.lock") then
    return nil, "another `cxbctl up` is starting here", "cxbctl status"
  end
  local values, why = secrets.ensure(site.state_dir,
    { "CXBCORE_SECRET", "JWT_SECRET", "CXB_SECRETS_KEY" })
  if not values then return nil, why end
  return true
end

local function settings_of(site)
  return nginx.settings(cxb.process.env, {
    workers = site.workers, run_dir = site.run_dir, listen = "127.0.0.1:" .. site.port,
    pages = cxb.root .. "/api/page", access_log = site.state_dir .. "/logs/access.log cxb",
  })
end

local function write_up(site, settings, sup)
  local self = cxb.process.pid
  cxb.fs.write(paths.up_file(site.run_dir), json.encode({
    pid = self, started = pids.started(self), url = "http://127.0.0.1:" .. site.port,
    version = cxb.version, state_dir = site.state_dir, front = settings, services = sup:records(),
  }), { mode = 384 })
end

-- One write at a time, the last of them with the last state.
local function remember(site, settings, sup)
  site.changed = true
  if site.writing then return end
  site.writing = true
  while site.changed do
    site.changed = false
    write_up(site, settings, sup)
  end
  site.writing = false
end

-- Sockets and the file about this run; state and logs stay.
local function tidy(site)
  for _, dir in ipairs({ site.run_dir .. "/ctl", site.run_dir }) do
    for _, name in ipairs(cxb.fs.list(dir) or {}) do
      if name:match("%.sock$") or name == "nginx.pid" then cxb.fs.remove(dir .. "/" .. name) end
    end
  end
  cxb.fs.remove(paths.up_file(site.run_dir))
end

-- Calls end first, while API and front still serve them; then the rest.
local function stop(sup, interrupted)
  sup:signal("^core%-", "TERM")
  if not sup:wait_stopped("^core%-", DRAIN_MS, interrupted) then
    sup:signal("^core%-", "TERM")
    sup:wait_stopped("^core%-", NOW_MS)
  end
  sup:signal(".", "TERM")
  if not sup:wait_stopped(".", NOW_MS) then
    sup:signal(".", "KILL")
    sup:wait_stopped(".", 2000)
  end
end

-- (waits) Where a person goes first: the API prints the setup link once, when nobody can sign in
-- yet; it listens a moment before that. One that was printed at an earlier start is not again,
-- unless it is too old.
local function first_steps(site, url)
  local answer = cxb.http.request({ url = url .. "/api/v1/auth/bootstrap", timeout_ms = 5000 })
  if answer and (answer.body or ""):find('"needed":true', 1, true) then
    local deadline = cxb.time.mono() + (site.offered and OLD_LINK_MS or LINK_MS)
    while not site.setup and cxb.time.mono() < deadline do
      cxb.time.sleep(20)
    end
    if site.setup then return "Set up: " .. site.setup end
    return ("Set up: %s/setup (the token is in %s/setup_token)"):format(url, site.state_dir)
  end
  return ("Test call: %s/"):format(url)
end

local function start(site, sup, main, stopping)
  local list = services.list(site, main)
  for _, service in ipairs(list) do
    local ok, why = sup:add(service)
    if not ok then return nil, service.name .. ": " .. why end
  end
  for _, service in ipairs(list) do
    local ok, why = sup:wait_ready(service.name, READY_MS, stopping)
    if not ok then return nil, ("%s %s"):format(service.name, why) end
  end
  return true
end

function M.run(options, _, out)
  local site, why, next_step = site_of(options)
  local claimed = site
  if site then claimed, why, next_step = claim(site) end
  if not claimed then
    out:fail(why, next_step)
    return 1
  end
  local settings, main
  settings, why = settings_of(site)
  if settings then main, why = front.write(settings) end
  if not main then
    out:fail(why)
    return 1
  end

  local signals = 0
  cxb.task.spawn("signals", function()
    while cxb.process.signal({ "INT", "TERM", "HUP" }) do signals = signals + 1 end
  end)
  local sup, started
  sup = supervisor.new({
    log_dir = site.state_dir .. "/logs",
    on_change = function() remember(site, settings, sup) end,
    -- For this terminal only: it would be a secret in a log.
    private = function(_, line)
      local link = line:match("^setup: (%S+)$")
      site.setup = link or site.setup
      return link ~= nil
    end,
    on_line = function(name, line)
      -- While services wait for each other at the start, their complaints mean nothing yet.
      local text = logs.view(name, line, out, options.verbose, not started)
      if text then out:say(text) end
    end,
  })
  site.offered = cxb.fs.stat(site.state_dir .. "/setup_token") ~= nil
  local began = cxb.time.mono()
  started, why = start(site, sup, main, function() return signals > 0 end)
  if started then
    local url = "http://127.0.0.1:" .. site.port
    local took, first = (cxb.time.mono() - began) / 1000, first_steps(site, url)
    if out.json then
      out:object({ ok = true, url = url, workers = site.workers, setup = site.setup })
    end
    out:say(("%s  %d workers, ready in %.1f s; logs in %s/logs; Ctrl-C stops"):format(
      out:paint("bold", url), site.workers, took, site.state_dir))
    out:say(first)
    while signals == 0 do cxb.time.sleep(50) end
    out:say("stopping: calls have 10 s to end, Ctrl-C again ends them now")
  elseif signals == 0 then
    out:fail(why, ("its log: %s/logs"):format(site.state_dir))
  end
  local first = signals
  stop(sup, function() return not started or signals > first end)
  tidy(site)
  return started and 0 or 1
end

return M
