-- The stubs flow authors work with name what a call has, no more and no less.
require("spec.support.pure")

-- Used between Core's own parts; no flow needs them.
local inner = { new = true, next = true, leave = true, take_over = true }

describe("the stubs of a call", function()
  it("declare each of its functions, and no other", function()
    local declared, real = {}, {}
    for line in io.lines("lua/types/call.lua") do
      local name = line:match("^function call:([%w_]+)%(")
      declared[#declared + 1] = name
    end
    for name, value in pairs(require("cxb.call")) do
      if type(value) == "function" and not inner[name] then
        real[#real + 1] = name
      end
    end
    table.sort(declared)
    table.sort(real)
    assert.same(real, declared)
  end)

  it("are told about in the guide", function()
    local file = assert(io.open("docs/flows.md"))
    local guide = file:read("*a")
    file:close()
    for _, name in ipairs({ "say", "listen", "ask", "dtmf", "llm", "tool", "play", "transfer", "handoff",
      "voicemail", "hangup", "intent", "event", "set", "record", "every" }) do
      assert.truthy(guide:find("call:" .. name .. "[%({]"), name)
    end
  end)
end)
