require("spec.support.pure")
local Context = require("cxb.context")

local function lines(context, instruction)
  local out = {}
  for i, message in ipairs(context:messages(instruction)) do
    out[i] = message.role .. ": " .. message.content
  end
  return out
end

describe("the context of a model", function()
  it("has the prompts, the turns in order, and an instruction for once", function()
    local c = Context.new({ "Be kind.", "" })
    c:user("Hello.")
    c:assistant("Hello, how can I help?")
    assert.same({ "system: Be kind.", "user: Hello.", "assistant: Hello, how can I help?" }, lines(c))
    assert.equal("system: Ask.", lines(c, "Ask.")[4])
    assert.equal(3, #lines(c))
  end)

  it("joins what the caller says before an answer, and forgets an answer nobody heard", function()
    local c = Context.new({})
    c:user("When do you open?")
    c:assistant("")
    c:user("On Sundays.")
    assert.same({ "user: When do you open? On Sundays." }, lines(c))
  end)

  it("takes back what was only thought about", function()
    local c = Context.new({})
    c:user("I want")
    c:take_back()
    assert.same({}, lines(c))
    c:user("When do you open?")
    c:user("On Sundays?")
    local sent = c:messages()
    c:take_back()
    assert.same({ "user: When do you open?" }, lines(c))
    assert.equal("When do you open? On Sundays?", sent[1].content)
  end)

  it("keeps a tool's answer behind the request it belongs to, also without words", function()
    local c = Context.new({})
    c:user("Look.")
    c:assistant("", { { id = "1", name = "look", arguments = "{}" } })
    c:tool("1", '{"x":1}')
    local messages = c:messages()
    assert.equal("look", messages[2].tool_calls[1]["function"].name)
    assert.equal("1", messages[3].tool_call_id)
  end)

  it("holds 64 KiB: the oldest turns shrink to a line, never the one under way", function()
    local c = Context.new({ "Be kind." })
    for i = 1, 200 do
      c:user(("question %d "):format(i) .. ("x"):rep(500))
      c:assistant(("answer %d "):format(i) .. ("y"):rep(500))
    end
    assert.truthy(c:size() <= 65536)
    local all = lines(c)
    assert.equal("system: Be kind.", all[1])
    assert.truthy(all[2]:find("^system: Earlier in this call, shortened:"))
    assert.truthy(all[2]:find("Caller: question 1", 1, true))
    assert.truthy(#all[2] < 9000)
    assert.truthy(all[#all]:find("^assistant: answer 200"))
    assert.truthy(all[3]:find("^user: question"))
    local small = Context.new({}, 1000)
    small:user(("z"):rep(5000))
    assert.equal(5000 + #"user: ", #lines(small)[1])
  end)
end)
