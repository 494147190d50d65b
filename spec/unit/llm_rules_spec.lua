require("spec.support.pure")
local json = require("cxb.json")
local rules = require("providers.llm_rules")

local function demo()
  local file = assert(io.open("lua/bots/assistant.rules.json"))
  local source = assert(json.decode_object(file:read("*a")))
  file:close()
  return source
end

local function open(source, vars)
  return assert(rules.open({ stage = { model = "x", extra = { rules = source } }, vars = vars }))
end

-- A conversation: each line of the caller, and what the model answered.
local function talk(llm, lines)
  local messages, answers = { { role = "system", content = "You are a bot." } }, {}
  for i, line in ipairs(lines) do
    messages[#messages + 1] = { role = "user", content = line }
    answers[i] = assert(llm:stream({ messages = messages }))
    messages[#messages + 1] = { role = "assistant", content = answers[i].text }
  end
  return answers, messages
end

describe("the demonstration's rules", function()
  it("answer opening hours, take an account number and end the call", function()
    local answers = talk(open(demo()), {
      "when do you open", "my account please", "four two four two", "yes that is right", "goodbye",
    })
    assert.matches("nine in the morning", answers[1].text)
    assert.matches("say your account number", answers[2].text)
    assert.matches("I have .*four.*Is that right", answers[3].text)
    assert.equal("4242", answers[3].set.account)
    assert.matches("noted your account number", answers[4].text)
    assert.same({ { id = "rule_5", name = "end_call", arguments = "{}" } }, answers[5].tool_calls)
    assert.equal("tool_calls", answers[5].finish)
  end)

  it("take keys for words", function()
    local answers = talk(open(demo()), { "[dtmf:1]", "account", "[dtmf:98765#]", "no", "[dtmf:4321#]" })
    assert.matches("nine in the morning", answers[1].text)
    assert.equal("98765", answers[3].set.account)
    assert.matches("try again", answers[4].text)
    assert.equal("4321", answers[5].set.account)
  end)

  it("greet when nobody has spoken, and ask again into silence", function()
    local llm = open(demo())
    local system = { role = "system", content = "x" }
    assert.matches("demo assistant", llm:stream({ messages = { system } }).text)
    local answer = llm:stream({ messages = { system, { role = "assistant", content = "Hello" } } })
    assert.equal("Are you still there?", answer.text)
  end)

  it("say what went wrong when a transfer did not succeed, and nothing after end_call", function()
    local llm = open(demo())
    local answers, messages = talk(llm, { "a human please" })
    local call = answers[1].tool_calls[1]
    assert.equal("transfer_call", call.name)
    messages[#messages].tool_calls = { { id = call.id, type = "function", ["function"] = call } }
    messages[#messages + 1] = { role = "tool", tool_call_id = call.id, content = '{"error":"no_target"}' }
    assert.matches("could not reach", llm:stream({ messages = messages }).text)
    messages[#messages - 1].tool_calls[1]["function"].name = "end_call"
    assert.equal("", llm:stream({ messages = messages }).text)
  end)
end)

describe("a rules model", function()
  local source = {
    rules = {
      { when = { pattern = "order (%d+) from (%a+)" }, set = { order = "{{1}}" },
        call = { name = "find_order", arguments = { id = "{{1}}", from = "{{2}}", who = "{{crm.name}}" } } },
      { when = { tool = "find_order" }, say = "Order {{order}} is {{tool.status}}." },
      { when = { phrases = { "again" } }, say = { "first", "second" } },
    },
    otherwise = { say = "Sorry, {{crm.name}}." },
    json = { { when = { pattern = "refund" }, value = { DISPOSITION = "Refund" } },
      { value = { DISPOSITION = "Other" } } },
  }

  it("fills patterns, variables and a tool's answer into what it says and calls", function()
    local llm = open(source, { ["crm.name"] = "Asha" })
    local answers, messages = talk(llm, { "Where is order 77 from Delhi?" })
    local call = answers[1].tool_calls[1]
    assert.same({ id = "77", from = "delhi", who = "Asha" }, json.decode(call.arguments))
    messages[#messages].tool_calls = { { id = call.id, ["function"] = call } }
    messages[#messages + 1] = { role = "tool", tool_call_id = call.id, content = '{"status":"on its way"}' }
    assert.equal("Order 77 is on its way.", llm:stream({ messages = messages }).text)
    assert.equal("Sorry, Asha.", talk(llm, { "mumble" })[1].text)
  end)

  it("gives the same answer to the same messages, however often and in whatever order", function()
    local llm = open(source)
    local all = { { role = "user", content = "again" }, { role = "assistant", content = "first" },
      { role = "user", content = "again" } }
    assert.equal("second", llm:stream({ messages = all }).text)
    assert.equal("first", llm:stream({ messages = { all[1] } }).text)
    assert.equal("second", llm:stream({ messages = all }).text)
    assert.equal("second", llm:stream({ messages = all }).text)
  end)

  it("hands its words on as a stream does, and answers a request for JSON", function()
    local llm, heard = open(source), {}
    llm:stream({ messages = { { role = "user", content = "again" } },
      on_text = function(piece) heard[#heard + 1] = piece end })
    assert.same({ "first" }, heard)
    local answer = llm:stream({ json = true, messages = { { role = "user", content = "a refund, please" } } })
    assert.same({ DISPOSITION = "Refund" }, json.decode(answer.text))
    answer = llm:stream({ json = true, messages = { { role = "user", content = "hello" } } })
    assert.same({ DISPOSITION = "Other" }, json.decode(answer.text))
  end)

  it("with a pattern that is none is refused by number", function()
    local llm, code, message = rules.open({ stage = { extra = { rules = { rules = {
      { when = { pattern = "ok" } }, { when = { pattern = "%" } } } } } } })
    assert.same({ nil, "invalid" }, { llm, code })
    assert.matches("rules%[2%].when.pattern", message)
    message = select(3, rules.open({ stage = { extra = { rules = { rules = { { when = { keys = "[" } } } } } } }))
    assert.matches("rules%[1%].when.keys", message)
    llm, code, message = rules.open({ stage = { model = "../secret" }, settings = { bots_dir = "/" } })
    assert.same({ nil, "invalid", "model: expected the name of a rules file" }, { llm, code, message })
  end)
end)
