-- timeout: 300
-- waits: 12
-- A host's calls through the real front: as many as workers, no more, each slot used again at once,
-- and nothing left of any of them.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local front_of = require("support.front")

describe("a host of real workers", function()
  local world, host, front

  local function start(workers)
    world = World.new()
    host = CoreHost.new(world, { workers = workers })
    front = front_of.start(world, { workers = workers, started = 0, dir = host.dir })
    for n = 1, workers do host:start(n) end
  end
  after_each(function() world:close() end)

  local function call()
    local d, code, message = dialler.connect(front.ws, "echo")
    return d and d:begin(), code, message
  end

  local function fleet_calls()
    local fleet = World.get_json(front.url .. "/health/fleet")
    return fleet and fleet.fleet_calls
  end

  it("carries a call on each, heard both ways, refuses the next in JSON, and gives a freed slot away",
    function()
      start(3)
      local calls, talking = {}, {}
      for n = 1, 3 do calls[n] = assert(call()) end
      World.wait_until("three calls", function() return fleet_calls() == 3 end)
      for n, d in ipairs(calls) do
        talking[n] = cxb.task.spawn("caller " .. n, function()
          d:hear_self()
          d:speak(dialler.tone(1500, 300 + 100 * n))
          World.wait_until("the whole echo", function() return #d:heard() >= 1700 * 16 end)
          local own = dialler.tone(200, 300 + 100 * n)
          assert(d:heard():find(own, 1, true), "the echo is somebody else's")
          return true
        end)
      end
      for _ = 1, 3 do
        local status, body, headers = front:refused("/ws/echo")
        assert.same({ 503, "at_capacity", "1" }, { status, body.error, headers["retry-after"] })
        status, body = front:post("/attach", "{}", { ["x-cxb-core-secret"] = CoreHost.SECRET })
        assert.same({ 429, "at_capacity" }, { status, body.error })
      end
      for n = 1, 3 do assert.is_true(talking[n]:wait(90000)) end
      calls[2]:hangup()
      assert.is_true(calls[2]:wait_closed())
      World.wait_until("the freed slot", function() return fleet_calls() == 2 end)
      local again = assert(call()) -- the worker that has just answered 429
      again:speak(dialler.tone(300))
      World.wait_until("its echo", function() return #again:heard() >= 300 * 16 end)
      for _, d in ipairs({ calls[1], calls[3], again }) do d:hangup() end
      assert.truthy(host:delivery(4))
    end)

  it("keeps nothing of sixty calls: no descriptor, no thread, no file, no row", function()
    start(2)
    local function round(times)
      local tasks = {}
      for n = 1, 2 do
        tasks[n] = cxb.task.spawn("calls", function()
          for _ = 1, times do
            host:short_call(n)
            host:idle(n)
          end
          return true
        end)
      end
      for n = 1, 2 do assert.is_true(tasks[n]:wait(120000)) end
    end
    local function held(n)
      local pid = host.workers[n].pid
      return { #cxb.fs.list(("/proc/%d/fd"):format(pid)), #cxb.fs.list(("/proc/%d/task"):format(pid)) }
    end
    round(3)
    host:delivery(6)
    local before = { held(1), held(2) }
    round(27)
    host:delivery(60, 60000)
    for n = 1, 2 do
      -- A few connections to the API are kept, now more, now less; one a call would be 27.
      World.wait_until("what it held before", function()
        local now = held(n)
        return now[1] <= before[n][1] + 8 and now[2] <= before[n][2] + 4
      end)
    end
    for _, folder in ipairs({ "/state/journal", "/tickets" }) do
      for _, name in ipairs(cxb.fs.list(host.dir .. folder)) do
        assert.is_nil(name:match("%.jnl$"), name)
        assert.equal("/state/journal", folder, name)
      end
    end
    for n = 1, 2 do
      local status = cxb.process.control(("%s/ctl/core-%d.sock"):format(host.dir, n),
        { verb = "status" })
      assert.same({ "", 0, 30 }, { status.session_id, status.calls, status.served })
      assert.same({}, host:outbox(n, "ready"))
    end
    assert.equal(0, fleet_calls())
  end)
end)
