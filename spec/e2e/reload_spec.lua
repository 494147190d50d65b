-- timeout: 300
-- A hundred reloads during one call: no frame is missing at the caller, the call ends on the flow it
-- began with, the next follows the edit, and closed generations are freed.

local call_site = require "support.call_site"
local core_host = require "support.core_host"
local dialler = require "support.dialler"
local json = require "cjson.safe"
local support = require "support.world"

-- Echoes the caller, and names its version at the end.
local function flow(version)
  return ([[
local echo = require("flows.echo")
return function(call)
  call:event("version", { v = %d })
  return echo(call)
end
]]):format(version)
end

local function version_of(stored)
  for _, event in ipairs(stored.events) do
    if event.type == "version" then return event.data.v end
  end
end

describe("reloading", function()
  local world
  before_each(function() world = support.new() end)
  after_each(function() world:close() end)

  it("100 times during a call, each time with a changed flow, loses no frame and frees all generations", function()
    local site = call_site.start(world, { flow = flow(0) })
    local control = site.dir .. "/ctl/core-1.sock"
    local caller = site:call():hear_self()
    local talking = cxb.task.spawn("talk", function()
      caller:speak(dialler.tone(12000, 440))
      return true
    end)
    support.wait_until("the echo", function() return #caller.audio > 10 end)
    for i = 1, 100 do
      world:write(site.flows_dir .. "/spec.lua", flow(i))
      local answer = assert(cxb.process.control(control, { verb = "reload" }, 60000))
      assert.is_true(answer.ok, answer.message)
    end
    assert.equal(101, cxb.process.control(control, { verb = "status" }).generation)
    support.wait_until("all but a few generations are freed", function()
      return cxb.process.control(control, { verb = "status" }).generations <= 3
    end)
    assert.is_true(talking:wait(60000))
    -- every frame of 20 ms that was spoken comes back
    support.wait_until("the whole echo", function() return #caller:heard() >= 12200 * 16 end)
    caller:hangup()
    local stored = site:stored()
    assert.equal(0, version_of(stored))
    assert.equal(1, stored.pipeline_config.generation)
    support.wait_until("one generation is left", function()
      return cxb.process.control(control, { verb = "status" }).generations == 1
    end)

    support.wait_until("the free slot", function() return site:health().worker_calls == 0 end)
    local second = site:call()
    support.wait_until("the second call's flow", function()
      for _, record in ipairs(site:journal() or {}) do
        if record.data and record.data.type == "version" then return record.data.data.v == 100 end
      end
    end)
    second:hangup()
  end)

  it("100 times by signal, while calls come and go on every worker, drops none of them", function()
    local host = core_host.new(world, { workers = 3 })
    host.env.CXB_FLOWS_DIR = host.dir .. "/flows"
    world:write(host.dir .. "/flows/echo.lua", "return require('flows.echo')")
    for n = 1, 3 do host:start(n) end
    local over, calls = false, {}
    for n = 1, 3 do
      calls[n] = cxb.task.spawn("calls on " .. n, function()
        local made = 0
        repeat
          local d = support.wait_until("a free slot", function() return (host:call(n)) end)
          d:speak(dialler.tone(300))
          support.wait_until("the echo", function() return #d:heard() >= 300 * 16 or d.closed end)
          assert(not d.closed, "closed by " .. tostring(d.code))
          d:hangup()
          assert(d:wait_closed() and d.code == 1000)
          made = made + 1
        until over
        return made
      end)
    end
    for i = 1, 100 do
      if i % 10 == 0 then
        world:write(host.dir .. "/flows/echo.lua",
          ("local round = %d return require('flows.echo'), round"):format(i))
      end
      local worker = host.workers[i % 3 + 1]
      worker:kill("HUP")
      if i % 3 == 0 then cxb.time.sleep(20) end -- signals come in bursts, and one by one
    end
    over = true
    local made = 0
    for n = 1, 3 do
      local count, _, why = calls[n]:wait(60000)
      assert(count, why)
      made = made + count
    end
    local delivered = support.wait_until("all results", function()
      local list = host:got()
      return #list == made and list
    end)
    for _, delivery in ipairs(delivered) do
      assert.equal("customer", json.decode(delivery.body).disconnected_by)
    end
    for n = 1, 3 do
      support.wait_until("one generation on " .. n, function()
        local status = cxb.process.control(("%s/ctl/core-%d.sock"):format(host.dir, n),
          { verb = "status" })
        return status.generations == 1 and status.generation > 1 and status.reload == "ok"
      end)
    end
  end)

  it("keeps the old flow and says why when the edit is broken", function()
    local site = call_site.start(world, { flow = flow(1) })
    local control = site.dir .. "/ctl/core-1.sock"
    world:write(site.flows_dir .. "/spec.lua", "return function(call)\n  call:say('x'\nend")
    local answer = cxb.process.control(control, { verb = "reload" }, 60000)
    assert.is_false(answer.ok)
    assert.matches("spec.lua:%d+", answer.message)
    local health = site:health()
    assert.equal("failed", health.reload)
    assert.matches("spec.lua:%d+", health.reload_error)
    assert.equal(1, health.generation)
    local said = support.wait_until("a log line", function()
      for _, line in ipairs(site.worker.log) do
        local record = json.decode(line)
        if type(record) == "table" and record.code == "reload" then return record end
      end
    end)
    assert.same({ "error", 3 }, { said.level, said.line })
    assert.matches("spec.lua$", said.file)
    assert.matches("^reload failed: ", said.msg)
    local metrics = assert(cxb.http.request({
      url = "http+unix:" .. site.socket .. ":/metrics" })).body
    assert.matches("\ncxb_reload_failures_total 1\n", metrics, 1, true)
    local caller = site:call()
    support.wait_until("the first flow's call", function()
      for _, record in ipairs(site:journal() or {}) do
        if record.data and record.data.type == "version" then return record.data.data.v == 1 end
      end
    end)
    caller:hangup()
  end)
end)
