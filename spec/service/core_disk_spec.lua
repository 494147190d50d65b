-- waits: 20
-- Disks that are damaged, read-only or full under a real worker.

local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local World = require "support.world"
local dialler = require "support.dialler"

local function sh(command, ...)
  return os.execute(command:format(...) .. " >/dev/null 2>&1") == 0
end

describe("a worker's disk", function()
  local world, host, mounted

  before_each(function()
    world = World.new()
    host = CoreHost.new(world)
    mounted = nil
  end)
  after_each(function()
    for i = #world.running, 1, -1 do world.running[i]:stop() end
    if mounted then assert(sh("umount '%s'", mounted)) end
    world:close()
  end)

  -- The state folder is a file system of 4 MiB from now on.
  local function small_disk()
    assert(cxb.fs.mkdir(host.state))
    if not sh("mount -t tmpfs -o size=4m none '%s'", host.state) then
      if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error("not allowed to mount here") end
      pending("not allowed to mount here")
    end
    mounted = host.state
  end

  local function fill()
    assert(not sh("dd if=/dev/zero of='%s/filler' bs=64k", host.state))
  end

  local function empty()
    assert(cxb.fs.remove(host.state .. "/filler"))
  end

  local function refused(n)
    local d, _, message = host:call(n)
    return not d and message
  end

  local function await_accepting(n)
    World.wait_until("a worker that takes calls", function()
      local fleet = host:get(n, "/health/fleet")
      return fleet and fleet.fleet_available == 1
    end)
  end

  it("with a damaged outbox is mended at the start: set aside, what can be read is kept", function()
    host:start(1)
    host:mode("400", 1)
    host:short_call(1)
    World.wait_until("a dead row", function() return host:outbox(1, "dead")[1] end)
    host.workers[1]:stop()
    local path = host.state .. "/outbox-1.db"
    local size = cxb.fs.stat(path).size
    -- the last page: the unique index of the only row, or its body
    assert(sh("dd if=/dev/urandom of='%s' bs=4096 seek=%d count=1 conv=notrunc", path,
      size / 4096 - 1))
    host:start(1)
    assert.truthy(cxb.fs.stat(path .. ".corrupt"))
    host:mode("200")
    host:short_call(1)
    assert.equal("result:s2", host:delivery(1).key)
  end)

  it("that is read-only refuses the start and names the path", function()
    assert(cxb.fs.mkdir(host.state))
    local env = { CXB_WORKER_ID = "1" }
    for name, value in pairs(host.env) do env[name] = value end
    local command = { World.program, "core.lua" }
    if sh("test $(id -u) = 0") then -- root may write anywhere
      World.need("setpriv")
      assert(sh("chmod 0777 '%s'", host.dir))
      command = { "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
        World.program, cxb.root .. "/lua/core.lua" }
    end
    assert(sh("chmod 0555 '%s'", host.state))
    local p = world:start(command, env)
    local code = p:wait(30000)
    assert(sh("chmod 0755 '%s'", host.state))
    assert.equal(1, code)
    assert.truthy(p:output():find(host.state .. "/journal: ", 1, true), p:output())
  end)

  it("that is full when the worker starts refuses calls until there is room", function()
    small_disk()
    fill()
    host:start(1)
    local message = refused(1)
    assert.truthy(message and message:find("503", 1, true), message)
    assert.equal(0, host:get(1, "/health/fleet").fleet_available)
    empty()
    await_accepting(1)
    host:short_call(1)
    assert.equal("result:s1", host:delivery(1).key)
  end)

  it("that is full when a call comes refuses it, and takes calls again when there is room", function()
    small_disk()
    host:start(1)
    fill()
    local d = assert(host:call(1))
    assert.is_true(d:wait_closed())
    assert.equal(1011, d.code)
    World.wait_until("storage_full", function()
      return (refused(1) or ""):find("503", 1, true)
    end)
    assert.equal(0, host:get(1, "/health/fleet").fleet_available)
    empty()
    await_accepting(1)
    host:short_call(1)
    assert.equal("customer", json.decode(host:delivery(1).body).disconnected_by)
    assert.equal(1, #host:got())
  end)

  it("that takes the beginning of a journal only leaves nothing of the refused call", function()
    small_disk()
    host:start(1)
    fill()
    assert(sh("truncate -s -8192 '%s/filler'", host.state)) -- the file, and little more
    local d = assert(dialler.connect(host:socket(1), "echo"))
    d:begin({ long = ("x"):rep(40000) })
    assert.is_true(d:wait_closed())
    assert.equal(1011, d.code)
    World.wait_until("the journal's end", function()
      for _, name in ipairs(cxb.fs.list(host.state .. "/journal")) do
        if name:find("%.jnl$") then return false end
      end
      return true
    end)
    empty()
    await_accepting(1)
    assert.same({}, host:got())
  end)

  it("that is full in mid-call leaves the call unrecorded, with an event", function()
    small_disk()
    host:start(1)
    local d = assert(host:call(1)):hear_self()
    fill()
    d:speak(dialler.tone(1500))
    World.wait_until("the recording to stop", function()
      return host.workers[1]:logged("the recording stopped")
    end)
    d:speak(dialler.tone(500)) -- the call goes on
    World.wait_until("the whole echo", function() return #d:heard() >= 2200 * 16 end)
    empty()
    d:hangup()
    local result = json.decode(host:delivery(1).body)
    assert.equal("customer", result.disconnected_by)
    local kinds = {}
    for _, event in ipairs(result.events) do kinds[event.type] = true end
    assert.is_true(kinds.recording_paused)
  end)

  it("that is full at the commit keeps the slot and delivers the result without the disk", function()
    small_disk()
    host:start(1)
    host:mode("503")
    local d = assert(host:call(1)):hear_self()
    fill()
    d:hangup()
    assert.is_true(d:wait_closed())
    World.wait_until("direct attempts", function() return #host:got() >= 2 end)
    assert.equal(1, host:get(1, "/health").worker_calls)
    assert.equal(0, host:get(1, "/health/fleet").fleet_available)
    assert.truthy(refused(1))
    host:mode("200")
    local delivered = host:delivery(1)
    assert.equal("result:s1", delivered.key)
    assert.equal("customer", json.decode(delivered.body).disconnected_by)
    host:idle(1) -- the call's journal goes, so there may be room already
    empty()
    await_accepting(1)
    host:short_call(1)
    assert.equal("result:s2", host:delivery(2).key)
  end)

  it("that is full while the API is down lets the worker end: the journal has the result", function()
    small_disk()
    host:start(1)
    host:mode("503")
    local d = assert(host:call(1)):hear_self()
    fill()
    d:hangup()
    World.wait_until("a direct attempt", function() return #host:got() >= 1 end)
    host.workers[1]:kill("TERM")
    World.wait_until("draining", function() return host:get(1, "/health").draining end)
    host.workers[1]:kill("TERM")
    assert.equal(0, host.workers[1]:wait())
    empty()
    host:mode("200")
    host:start(2)
    assert.equal("result:s1", host:delivery(1).key)
  end)

  it("that is full at the commit while the API is down commits as soon as there is room", function()
    small_disk()
    host:start(1)
    host:mode("503")
    local d = assert(host:call(1)):hear_self()
    fill()
    d:hangup()
    World.wait_until("a direct attempt", function() return #host:got() >= 1 end)
    assert.equal(1, host:get(1, "/health").worker_calls)
    empty()
    host:idle(1)
    World.wait_until("the row", function() return host:outbox(1)[1] end)
    host:mode("200")
    assert.equal("result:s1", host:delivery(1).key)
    await_accepting(1)
  end)
end)
