-- timeout: 600
local json = require("cjson.safe")
local envfile = require("cxb.envfile")
local pids = require("cxbctl.pids")
local platform = require("support.platform")
local support = require("support.world")

local function alive(list)
  local out = {}
  for name, pid in pairs(list) do
    if pids.started(pid) then out[#out + 1] = name end
  end
  return out
end

describe("cxbctl up", function()
  local world = support.new()
  after_each(function() world:close() end)

  it("serves page, calls and API on one port, and Ctrl-C leaves no process, socket or port", function()
    local site = platform.up(world, { workers = 2 })
    local fleet = support.get_json(site.url .. "/health/fleet")
    assert.same({ 2, 2 }, { fleet.fleet_max, fleet.fleet_available })
    assert.equal("ok", support.get_json(site.url .. "/health/api").status)
    local secret = envfile.read(site.state_dir .. "/secrets.env").CXBCORE_SECRET
    support.wait_until("the host in the fleet", function()
      local status = support.get_json(site.url .. "/api/v1/fleet/status",
        { ["x-cxbcore-secret"] = secret })
      return status.available == 2 and status.hosts[1].base_url == site.url
    end)
    local page = assert(cxb.http.request({ url = site.url .. "/" }))
    assert.equal(200, page.status)
    assert.matches("<html", page.body, 1, true)

    local children = site:pids()
    for _, name in ipairs({ "nginx", "api", "speech", "core-1", "core-2" }) do
      assert.is_string(pids.started(children[name]), name)
    end
    site.process:kill("INT")
    assert.equal(0, site.process:wait(60000))
    assert.same({}, alive(children))
    for _, folder in ipairs({ site.run_dir, site.run_dir .. "/ctl" }) do
      for _, name in ipairs(cxb.fs.list(folder)) do assert.is_nil(name:match("%.sock$"), name) end
    end
    local _, code = cxb.http.request({ url = site.url .. "/" })
    assert.equal("refused", code)
  end)

  it("refuses a port that is taken, says which, and leaves nothing behind", function()
    local port = world:port()
    world:server("tcp:127.0.0.1:" .. port, "return function(req) req:respond(200, 'mine') end")
    local dir = world:folder()
    local code, text = platform.cxbctl(world, platform.environment(dir), { "up", "--port", tostring(port) })
    assert.equal(1, code)
    assert.matches("port " .. port .. " of 127.0.0.1 is taken", text, 1, true)
    assert.same({}, cxb.fs.list(dir))
  end)

  it("refuses to run twice in one folder and names the process that runs", function()
    local site = platform.up(world, { workers = 1 })
    local code, text = platform.cxbctl(world, site.env, { "up", "--port", tostring(world:port()) })
    assert.equal(1, code)
    assert.matches("already running here: process " .. site.process.pid, text, 1, true)
    assert.equal(200, assert(cxb.http.request({ url = site.url .. "/health" })).status)
  end)

  it("brings a killed worker back, and status shows it", function()
    local site = platform.up(world, { workers = 1 })
    local first = site:pids()["core-1"]
    cxb.process.kill(first, "KILL")
    support.wait_until("the worker's return", function()
      local health = support.get_json(site.url .. "/health")
      return health and health.worker_pid and health.worker_pid ~= first
    end)
    local code, status = site:json("status")
    assert.equal(0, code)
    local found
    for _, row in ipairs(status.services) do
      if row.name == "core-1" then found = row end
    end
    assert.same({ "up", 1 }, { found.state, found.restarts })
  end)

  it("is stopped by cxbctl down, with nothing left", function()
    local site = platform.up(world, { workers = 1 })
    local children = site:pids()
    assert.equal(0, (site:cxbctl("down")))
    assert.equal(0, site.process:wait(60000))
    assert.same({}, alive(children))
  end)

  it("killed itself, leaves children that cxbctl down finds and stops", function()
    local site = platform.up(world, { workers = 1 })
    local children = site:pids()
    site.process:kill("KILL")
    site.process:wait(60000)
    assert.is_true(#alive(children) > 0)
    local code, text = platform.cxbctl(world, site.env, { "up", "--port", tostring(world:port()) })
    assert.equal(1, code)
    assert.matches("of an earlier run still lives", text, 1, true)
    assert.equal(0, (site:cxbctl("down", "--now")))
    assert.same({}, alive(children))
  end)

  it("gives internal secrets to nobody: environments, command lines, logs, output", function()
    local site = platform.up(world, { workers = 1 })
    assert.equal(384, cxb.fs.stat(site.state_dir .. "/secrets.env").mode)
    local secrets = {}
    for _, value in world:read(site.state_dir .. "/secrets.env"):gmatch("([%w_]+)=(%S+)") do
      secrets[#secrets + 1] = value
    end
    assert.is_true(#secrets >= 3)
    local places = { site.process:output() }
    for _, pid in pairs(site:pids()) do
      places[#places + 1] = world:read(("/proc/%d/environ"):format(pid))
      places[#places + 1] = world:read(("/proc/%d/cmdline"):format(pid))
    end
    for _, name in ipairs(cxb.fs.list(site.state_dir .. "/logs")) do
      places[#places + 1] = world:read(site.state_dir .. "/logs/" .. name)
    end
    local setup = world:read(site.state_dir .. "/setup_token"):match("%S+")
    for i, text in ipairs(places) do
      for _, secret in ipairs(secrets) do assert.is_nil(text:find(secret, 1, true)) end
      assert.equal(i == 1, text:find(setup, 1, true) ~= nil)
    end
  end)

  it("prints the setup link once; who has set up is shown where to go", function()
    local site = platform.up(world, { workers = 1 })
    local token = world:read(site.state_dir .. "/setup_token"):match("%S+")
    assert.matches(("Set up: %s/setup#token=%s"):format(site.url, token), site.process:output(),
      1, true)
    assert.equal(200, assert(cxb.http.request({ url = site.url .. "/setup" })).status)
    site.process:kill("INT")
    assert.equal(0, site.process:wait(60000))
    site = platform.up(world, { workers = 1, dir = site.dir })
    assert.is_nil(site.process:output():find(token, 1, true))
    assert.matches("setup_token", site.process:output(), 1, true)
    local env = { CXB_ADMIN_PASSWORD = "short" }
    for name, value in pairs(site.env) do env[name] = value end
    local words = { "admin", "create", "--email", "Ada@Example.org", "--name", "Ada" }
    assert.equal(1, (platform.cxbctl(world, env, words)))
    env.CXB_ADMIN_PASSWORD = "correct horse battery"
    assert.equal(0, (platform.cxbctl(world, env, words)))
    assert.equal(1, (platform.cxbctl(world, env, words)))
    assert.is_nil(cxb.fs.stat(site.state_dir .. "/setup_token"))
    site.process:kill("INT")
    assert.equal(0, site.process:wait(60000))
    site = platform.up(world, { workers = 1, dir = site.dir })
    assert.matches("Test call: " .. site.url .. "/", site.process:output(), 1, true)
  end)

  it("says which service did not start, and why, and stops the others", function()
    local dir, port = world:folder(), world:port()
    local env = platform.environment(dir)
    env.CXB_LOG_LEVEL = "loud"
    local code, text = platform.cxbctl(world, env, { "up", "--port", tostring(port), "--workers", "1" })
    assert.equal(1, code)
    assert.matches("CXB_LOG_LEVEL", text, 1, true)
    assert.matches("ended at its start", text, 1, true)
    local _, refused = cxb.http.request({ url = "http://127.0.0.1:" .. port .. "/" })
    assert.equal("refused", refused)
  end)
end)

describe("cxbctl reload", function()
  local world = support.new()
  after_each(function() world:close() end)

  it("gives every worker a new generation; a broken flow changes nothing and is named", function()
    local dir = world:folder()
    local flows = dir .. "/flows"
    for _, name in ipairs(cxb.fs.list(cxb.root .. "/lua/flows")) do
      if name:match("%.lua$") then
        world:write(flows .. "/" .. name, world:read(cxb.root .. "/lua/flows/" .. name))
      end
    end
    local site = platform.up(world, { workers = 2, dir = dir, env = { CXB_FLOWS_DIR = flows } })
    local code, answer = site:json("reload", "core")
    assert.equal(0, code)
    assert.same({ 2, 2 }, { answer.services[1].generation, answer.services[2].generation })

    local sound = world:read(flows .. "/echo.lua")
    world:write(flows .. "/echo.lua", sound .. "\nlocal x = = 1\n")
    for _, words in ipairs({ { "reload", "core" }, { "reload", "core", "--check" } }) do
      local text
      code, text = site:cxbctl(unpack(words))
      assert.equal(1, code)
      assert.matches("echo%.lua:%d+", text)
    end
    local health = support.get_json(site.url .. "/health")
    assert.same({ 2, "failed" }, { health.generation, health.reload })

    world:write(flows .. "/echo.lua", sound)
    assert.equal(0, (site:cxbctl("reload", "core", "--check")))
    assert.equal(0, (site:cxbctl("reload", "core")))
    assert.equal("ok", support.get_json(site.url .. "/health").reload)
  end)
end)

describe("cxbctl", function()
  local world = support.new()
  after_each(function() world:close() end)
  local function run(...)
    return platform.cxbctl(world, platform.environment(world:folder()), { ... })
  end

  it("answers --json with one object and its exit code, also when it fails", function()
    for words, want in pairs({ [{ "version" }] = 0, [{ "status" }] = 1, [{ "down" }] = 0,
      [{ "calls" }] = 1, [{ "reload" }] = 1, [{ "nginx", "render" }] = 0, [{ "nginx", "check" }] = 1 }) do
      local code, text = run(words[1], words[2] or "--json", words[2] and "--json" or nil)
      assert.equal(want, code, words[1])
      assert.is_table(json.decode(text), words[1] .. ": " .. text)
    end
  end)

  it("explains each verb with an example", function()
    for _, verb in ipairs({ "up", "down", "status", "reload", "call", "calls", "outbox", "admin",
      "nginx", "version" }) do
      local code, text = run(verb, "--help")
      assert.equal(0, code)
      assert.matches("example: ", text, 1, true)
      assert.matches("cxbctl " .. verb, text:match("example: .*"), 1, true)
    end
  end)

  it("exits 2 for what it does not understand, and says what to do", function()
    for _, words in ipairs({ { "frob" }, { "up", "--workers", "0" }, { "call" }, { "nginx" }, {} }) do
      local code, text = run(unpack(words))
      assert.equal(2, code)
      assert.is_true(#text > 0)
    end
  end)
end)
