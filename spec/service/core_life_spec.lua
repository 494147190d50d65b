-- timeout: 300
-- waits: 38
-- A worker's life: reloads under a call, recycling, the two ways to end, what others see of it.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local json = require("cjson.safe")
local jwt = require("cxb.jwt")

local SECRET = CoreHost.SECRET

local flows = {
  echo = "return require('flows.echo')",
  park = "return function(call) repeat local h = call:listen({ timeout = 60 }) until h.hangup end",
  -- Goes on after the caller has gone, whatever it is told.
  stubborn = "return function() while true do pcall(cxb.time.sleep, 50) end end",
}

-- Prints what the service manager is told, one datagram a line, with the seconds since the start.
local LISTENER = [[
import socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(%q); t = time.monotonic()
print("bound", flush=True)
while True: print("%%.2f " %% (time.monotonic() - t) + s.recv(4096).decode().replace("\n", " "), flush=True)
]]

describe("a worker", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { workers = 2 })
    for name, text in pairs(flows) do
      world:write(("%s/flows/%s.lua"):format(host.dir, name), text)
    end
    host.env.CXB_FLOWS_DIR = host.dir .. "/flows"
  end)
  after_each(function() world:close() end)

  local function control(n, message)
    return cxb.process.control(("%s/ctl/core-%d.sock"):format(host.dir, n), message, 10000)
  end

  local function call_in_session(n, flow)
    local d = assert(host:call(n, flow))
    local session = World.wait_until("a session", function()
      local status = control(n, { verb = "status" })
      return status and status.session_id ~= "" and status.session_id
    end)
    return d, session
  end

  local function health(n)
    return assert(World.get_json("http+unix:" .. host:socket(n) .. ":/health"))
  end

  local function fleet(n)
    return assert(cxb.http.request({ url = "http+unix:" .. host:socket(n) .. ":/health/fleet" })).body
  end

  local function listener()
    local p = world:start({ "python3", "-c", LISTENER:format(host.dir .. "/notify") })
    World.wait_until("the listener", function() return p:output():find("bound") end)
    return p
  end

  describe("reloaded during a call", function()
    it("still knows the call: its status, its hang-up, who listens in", function()
      host:start(1)
      local d, session = call_in_session(1, "echo")
      for _ = 1, 3 do assert.is_true(control(1, { verb = "reload" }).ok) end
      assert.equal(4, health(1).generation)
      local status = World.wait_until("the end of those between", function()
        local told = control(1, { verb = "status" })
        return told.generations == 2 and told
      end)
      assert.equal(session, status.session_id)
      local claims = { aud = "core-listen", session_id = session, jti = "j",
        exp = math.floor(cxb.time.now() / 1000) + 50 }
      local ticket = jwt.sign(claims, cxb.crypto.hkdf_sha256(SECRET, "core-listen", 32))
      local ws = assert(cxb.ws.connect(("ws+unix:%s:/monitor/%s?ticket=%s"):format(host:socket(1),
        session, ticket)))
      assert.equal("binary", (ws:receive(30000)))
      assert.equal(200, host:post(1, "/calls/" .. session .. "/hangup").status)
      assert.is_true(d:wait_closed())
      local result = json.decode(host:delivery(1).body)
      assert.same({ "bot", 1 }, { result.disconnected_by, result.pipeline_config.generation })
      World.wait_until("one generation", function()
        return control(1, { verb = "status" }).generations == 1
      end)
      assert.equal(404, host:post(1, "/calls/" .. session .. "/hangup").status)
    end)

    it("ends that call with a committed result on a second TERM, though its flow goes on", function()
      host:start(1)
      local d = call_in_session(1, "stubborn")
      assert.is_true(control(1, { verb = "reload" }).ok)
      host:mode("503")
      host.workers[1]:kill("TERM")
      World.wait_until("draining", function() return health(1).draining end)
      host.workers[1]:kill("TERM")
      assert.is_true(d:wait_closed())
      assert.equal(1001, d.code)
      assert.equal(0, host.workers[1]:wait())
      host:mode("200")
      host:start(1)
      local result = json.decode(host:delivery(1).body)
      assert.same({ "error", "shutdown" }, { result.disconnected_by, result.error })
    end)
  end)

  it("reads its settings once: a reload changes no secret", function()
    host.env.CXBCORE_SECRET = nil
    world:write(host.state .. "/secrets.env", "CXBCORE_SECRET=" .. SECRET .. "\n")
    host:start(1)
    local function outbox(secret)
      return assert(cxb.http.request({ url = "http+unix:" .. host:socket(1) .. ":/outbox",
        headers = { ["x-cxb-core-secret"] = secret } })).status
    end
    assert.same({ 200, 403 }, { outbox(SECRET), outbox("another-secret") })
    world:write(host.state .. "/secrets.env", "CXBCORE_SECRET=another-secret\n")
    assert.is_true(control(1, { verb = "reload" }).ok)
    assert.equal(2, health(1).generation)
    assert.same({ 200, 403 }, { outbox(SECRET), outbox("another-secret") })
  end)

  it("listens on TCP when it is told to, and is the worker CXB_WORKER_ID says", function()
    local port = world:port()
    host.env.CXB_LISTEN, host.env.CXB_WORKER_ID = "tcp:127.0.0.1:" .. port, "2"
    world:service("core.lua", host.env, function()
      return World.get_json("http://127.0.0.1:" .. port .. "/health")
    end)
    assert.equal("2", World.get_json("http://127.0.0.1:" .. port .. "/health").worker_id)
    local d = assert(dialler.connect("ws://127.0.0.1:" .. port, "echo")):begin()
    d:speak(dialler.tone(200))
    d:hangup()
    assert.truthy(host:delivery(1))
  end)

  describe("that has served long", function()
    it("ends by itself when it is idle, with exit 0, counting across reloads", function()
      host:start(1, { CXB_WORKER_MAX_CALLS = "2" })
      host:short_call(1)
      host:idle(1)
      assert.is_true(control(1, { verb = "reload" }).ok)
      assert.equal(1, control(1, { verb = "status" }).served)
      host:short_call(1)
      assert.equal(0, host.workers[1]:wait())
      assert.truthy(host.workers[1]:logged("worker recycles"))
      assert.truthy(host:delivery(2))
    end)

    it("ends when it has grown, and never during a call", function()
      -- Every worker is above one MiB: it lives only as long as its call.
      local d = World.wait_until("a call before the first look", function()
        return pcall(host.start, host, 1, { CXB_WORKER_MAX_RSS_MB = "1" }) and host:call(1, "park")
      end)
      World.wait_until("two looks at its size", function()
        return (host:metric(1, "cxb_loop_lag_seconds_count") or 0) >= 3
      end)
      assert.equal(1, health(1).worker_calls)
      d:hangup()
      assert.equal(0, host.workers[1]:wait())
    end)
  end)

  it("that was killed is unreachable within six seconds, in no sum", function()
    host:start(1)
    host:start(2)
    assert.equal(('{"status":"ok","fleet_calls":0,"fleet_max":2,"fleet_available":2,"workers":['
      .. '{"id":"1","calls":0,"max":1,"pid":%d},{"id":"2","calls":0,"max":1,"pid":%d}]}')
      :format(host.workers[1].pid, host.workers[2].pid), fleet(1))
    host:kill(2)
    World.wait_until("unreachable", function()
      return fleet(1) == ('{"status":"ok","fleet_calls":0,"fleet_max":1,"fleet_available":1,'
        .. '"workers":[{"id":"1","calls":0,"max":1,"pid":%d},{"id":"2","status":"unreachable"}]}')
        :format(host.workers[1].pid)
    end, 6000)
  end)

  it("that hangs is unreachable within six seconds, and back when it goes on", function()
    host:start(1)
    host:start(2)
    host.workers[2]:kill("STOP")
    World.wait_until("unreachable", function()
      return fleet(1):find('{"id":"2","status":"unreachable"}', 1, true)
    end, 7000)
    host.workers[2]:kill("CONT")
    World.wait_until("back", function() return fleet(1):find('"fleet_max":2', 1, true) end)
  end)

  it("caps fleet_available for ingress checks bounded there", function()
    host:start(1, { CXB_FLEET_AVAILABLE_CAP = "1" })
    host:start(2)
    assert.matches('"fleet_max":2,"fleet_available":1,', fleet(1), 1, true)
    assert.matches('"fleet_max":2,"fleet_available":2,', fleet(2), 1, true)
  end)

  it("is no free worker of the host while it drains", function()
    host:start(1)
    host:start(2)
    assert.is_true(control(2, { verb = "drain" }).ok)
    World.wait_until("one free", function()
      return fleet(1):find('"fleet_max":2,"fleet_available":1,', 1, true)
    end)
    assert.is_true(control(2, { verb = "undrain" }).ok)
    World.wait_until("two free", function() return fleet(1):find('"fleet_available":2,', 1, true) end)
  end)

  it("tells the service manager whether it is idle or for how long it has a call", function()
    local told = listener()
    host:start(1, { NOTIFY_SOCKET = host.dir .. "/notify" })
    local function said(pattern)
      World.wait_until(pattern, function() return told:output():find(pattern) end)
    end
    said("READY=1")
    said("STATUS=idle, generation 1, outbox 0")
    local d = call_in_session(1, "park")
    said("STATUS=call %d+s, generation 1")
    world:write(host.dir .. "/flows/park.lua", "return function(call) oops oops end")
    host.workers[1]:kill("HUP")
    said("RELOADING=1 MONOTONIC_USEC=%d+")
    said("STATUS=call %d+s, reload failed: .-park.lua:1")
    host.workers[1]:kill("TERM")
    said("STOPPING=1")
    said("STATUS=draining, call %d+s")
    d:hangup()
    assert.equal(0, host.workers[1]:wait())
  end)
end)

describe("the service manager's watchdog", function()
  it("is fed by the loop, and not while the loop stands", function()
    local world = World.new()
    local dir = world:folder()
    local told = world:start({ "python3", "-c", LISTENER:format(dir .. "/notify") })
    World.wait_until("the listener", function() return told:output():find("bound") end)
    world:write(dir .. "/service.lua", ([[
return { name = "t", listen = { { addr = "unix:%s/ctl.sock", control = true } },
  control = { hang = function()
    jit.off()
    local t = cxb.time.mono() while cxb.time.mono() - t < 5000 do end
    return {}
  end } }
]]):format(dir))
    local child = world:start({ World.program, dir .. "/service.lua" }, {
      NOTIFY_SOCKET = dir .. "/notify", WATCHDOG_USEC = "600000", CXB_TASK_STALL_END_MS = "60000",
    })
    local function beats()
      local at = {}
      for time in told:output():gmatch("([%d.]+) WATCHDOG=1") do at[#at + 1] = tonumber(time) end
      return at
    end
    World.wait_until("three beats", function() return #beats() >= 3 end)
    assert(cxb.process.control(dir .. "/ctl.sock", { verb = "hang" }, 60000))
    local before = #beats()
    World.wait_until("beats again", function() return #beats() > before + 1 end)
    local widest = 0
    for i, time in ipairs(beats()) do
      widest = math.max(widest, time - (beats()[i - 1] or time))
    end
    -- The listener may itself be late, so that it saw less of the gap.
    assert.is_true(widest >= 1.5, "fed while the loop stood: widest gap " .. widest)
    assert.is_nil(child.ended)
    world:close()
  end)
end)
