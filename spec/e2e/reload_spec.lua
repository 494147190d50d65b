-- timeout: 300
-- A hundred reloads during one call: no frame is missing at the caller, the call ends on the flow it
-- began with, the next follows the edit, and closed generations are freed.

local call_site = require "support.call_site"
local dialler = require "support.dialler"
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
    local caller = site:call()
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
    support.wait_until("the whole echo", function() return #caller:heard() >= 12000 * 16 end)
    caller:hangup()
    local stored = site:stored()
    assert.equal(0, version_of(stored))
    assert.equal(1, stored.pipeline_config.generation)
    support.wait_until("one generation is left", function()
      return cxb.process.control(control, { verb = "status" }).generations == 1
    end)

    local second = site:call()
    support.wait_until("the second call's flow", function()
      for _, record in ipairs(site:journal() or {}) do
        if record.data and record.data.type == "version" then return record.data.data.v == 100 end
      end
    end)
    second:hangup()
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
    local caller = site:call()
    support.wait_until("the first flow's call", function()
      for _, record in ipairs(site:journal() or {}) do
        if record.data and record.data.type == "version" then return record.data.data.v == 1 end
      end
    end)
    caller:hangup()
  end)
end)
