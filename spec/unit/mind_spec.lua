-- The language model of a call, its connection opened ahead.
local pure = require("spec.support.pure")
local sched_of = require("cxb.testing.sched")

describe("a call's mind", function()
  local sched, made

  before_each(function()
    local clock, fake = pure.install()
    sched = sched_of.install(fake, clock)
    made = {}
    package.loaded["providers.llm_rules"] = { open = function()
      local llm = { streams = 0 }
      made[#made + 1] = llm
      cxb.time.sleep(#made == 1 and 300 or 100)
      function llm.stream(self)
        self.streams = self.streams + 1
        for _ = 1, 50 do
          cxb.time.sleep(20)
          if self.cancelled then return nil, "cancelled" end
        end
        return { text = "", tool_calls = {} }
      end
      function llm.cancel(self) self.cancelled = true end
      llm.close = llm.cancel
      return llm
    end }
  end)
  after_each(function()
    package.loaded["providers.llm_rules"] = nil
    pure.restore()
  end)

  it("ends the request at work though its connection was asked for twice", function()
    local mind = require("cxb.core.mind").new({
      chain = require("cxb.failover").new({ stage = "llm", config = { provider = "rules" },
        on_error = function() end, on_switch = function() end }),
      settings = {}, vars = {},
    })
    local code
    sched.run(function()
      mind:connect()
      local task = cxb.task.spawn("stream", function()
        code = select(2, mind:stream({ messages = {} }))
      end)
      cxb.time.sleep(400)
      mind:cancel()
      task:wait(100)
    end)
    assert.equal("cancelled", code)
    assert.equal(2, #made)
  end)
end)
