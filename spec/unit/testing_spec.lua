-- The fakes of cxb.testing are as the stubs say (lua/types/cxb.lua), and what they lack is named.
require("spec.support.pure")
local Leg = require("cxb.testing.leg")
local testing = require("cxb.testing")

local function stubs()
  local file = assert(io.open("lua/types/cxb.lua"))
  local text = file:read("*a")
  file:close()
  return text
end

describe("the fake leg", function()
  it("has every method of a leg", function()
    local count = 0
    for name in stubs():gmatch("\nfunction leg:([%w_]+)") do
      assert.equal("function", type(Leg[name]), name)
      count = count + 1
    end
    assert.is_true(count > 20)
  end)
end)

describe("a flow on virtual time", function()
  local function failure(flow)
    local ok, why = pcall(testing.call, { flow = flow })
    assert.is_false(ok)
    return why
  end

  it("is told what is not there", function()
    assert.matches("cxb.http is not there on virtual time", failure(function()
      return cxb.http.request({ url = "http://127.0.0.1/" })
    end), 1, true)
  end)

  it("gives the host back whatever happens", function()
    local before = rawget(_G, "cxb")
    failure(function() error("on purpose") end)
    assert.equal(before, rawget(_G, "cxb"))
  end)

  it("may fail where that is what the spec is about", function()
    local call = testing.call({ flow = function() error("on purpose") end, may_fail = true })
    assert.same({ "error", "script" }, { call.disconnected_by, call.error })
  end)

  it("ends with the script of its caller, after the last words", function()
    local call = testing.call({ flow = function(c)
      repeat local heard = c:ask("Still here?") until heard.hangup
    end })
    assert.equal("bot: Still here?", call:conversation())
    assert.equal("customer", call.disconnected_by)
  end)
end)
