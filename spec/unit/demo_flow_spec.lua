-- The demo flow's turns, with a caller whose answers are given.
require("spec.support.pure")
local fake_call = require("spec.support.fake_call")

local flow = dofile("lua/flows/demo.lua")

local function run(answers, o)
  local call = fake_call.new(answers, o)
  flow(call)
  call.all = table.concat(call.said, "\n")
  return call
end

local function say(text)
  return { text = text }
end

describe("the demo flow", function()
  it("takes an account number by voice, reads it back and notes it", function()
    local call = run({ say("I have an account number"), say("four two one seven"), say("Yes.") })
    assert.truthy(call.all:find("I have four two one, seven. Is that right?", 1, true))
    assert.equal("4217", call.vars.account)
    assert.same({ "account_number", { digits = "4217" } }, call.intents[1])
  end)

  it("takes it from the keypad, where 1 means right", function()
    local call = run({ { dtmf = "2" }, { dtmf = "80125", terminator = "#" }, { dtmf = "1" } })
    assert.equal("80125", call.vars.account)
  end)

  it("takes digits that are keyed at once", function()
    assert.equal("80125", run({ { dtmf = "80125", terminator = "#" }, { dtmf = "1" } }).vars.account)
  end)

  it("asks again after a no, and takes a correction instead of an answer", function()
    local call = run({ say("my account number is 1 2 3 4"), say("No."), say("5 6 7 8"),
      say("no it is 5 6 7 9"), say("yes") })
    assert.equal("5679", call.vars.account)
  end)

  it("asks for a clear answer when yes or no was not understood", function()
    local call = run({ say("1 2 3 4"), { text = "", unclear = true }, say("That is right.") })
    assert.truthy(call.all:find("press one for yes", 1, true))
    assert.equal("1234", call.vars.account)
  end)

  it("says that it cannot transfer here, and goes on", function()
    local call = run({ say("an agent please"), say("what are your opening hours") })
    assert.truthy(call.all:find("cannot transfer you on this line", 1, true))
    assert.truthy(call.all:find("nine in the morning", 1, true))
  end)

  it("is over after a transfer", function()
    local call = run({ say("an agent please"), say("hello") }, { transfer = { ok = true } })
    assert.equal(1, call.at)
  end)

  it("asks again when it did not understand, and offers keys the second time", function()
    local call = run({ say("purple elephants"), { text = "", unclear = true }, { dtmf = "1" } })
    assert.truthy(call.said[2]:find("^Sorry, I did not understand. You can ask"))
    assert.truthy(call.said[3]:find("^Sorry, I did not understand. Press one"))
    assert.truthy(call.all:find("nine in the morning", 1, true))
  end)

  it("asks twice into silence, then gives up", function()
    local call = run({ { silence = true }, { silence = true }, { silence = true } })
    assert.truthy(call.said[2]:find("Are you still there", 1, true))
    assert.equal("no_response", call.hung_up)
  end)

  it("says what its settings say", function()
    local call = run({ say("opening hours"), say("goodbye") },
      { settings = { greeting = "Welcome.", hours = "Never." } })
    assert.equal("Welcome.", call.said[1])
    assert.equal("Never.", call.said[2])
    assert.equal("flow", call.hung_up)
  end)

  it("takes what follows an answer for no question", function()
    local call = run({ say("my account number is 4 0 7 2"), say("Yes."), say("That is right."),
      say("Yeah, thank you.") })
    assert.is_nil(call.all:find("did not understand", 1, true))
    assert.equal("What can I do for you?", call.said[#call.said])
  end)

  it("repeats its question when asked to", function()
    local call = run({ say("Can you repeat that?") })
    assert.equal(call.said[1], call.said[2])
  end)
end)
