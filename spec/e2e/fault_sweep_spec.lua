-- waits: 42
-- kill -9 at each named step of a call's life and at sixty random points. The whole sweep of 2,000
-- points is `make sweep`.

local CoreHost = require "support.core_host"
local World = require "support.world"

describe("kill -9", function()
  local world = World.new()
  after_each(function() world:close() end)

  it("at every named step and at random points loses no result, doubles none, tears no recording",
    function()
      local p = world:start({ World.program, cxb.root .. "/spec/soak/fault_sweep.lua", "100",
        "--seed", tostring(os.time()) }, cxb.process.environ())
      local code = p:wait(600000)
      if code == nil then p:stop(20000) end
      assert.equal(0, code, p:output())
      local kills, named = p:output():match("(%d+) kills, (%d+) of them at named steps")
      assert.is_true(tonumber(kills) >= 100 and tonumber(named) >= 30, p:output())
      assert.truthy(p:output():find("0 lost, 0 doubled, 0 other failures", 1, true), p:output())
    end)

  it("comes from a named step in development only", function()
    local host = CoreHost.new(world, { env = { CXB_CRASH_AT = "journal.answer" } })
    local worker = host:start(1)
    host:short_call(1)
    assert.equal("result:s1", host:delivery(1).key)
    worker:stop()
    worker = host:start(1, { CXB_DEV = "1" })
    assert(host:call(1))
    assert.same({ nil, 9 }, { nil, select(2, worker:wait(60000)) })
  end)
end)
