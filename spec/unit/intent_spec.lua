-- How well the demo understands: what people say, and what a recogniser makes of it on a telephone
-- line. Each line is a wording that was heard or is likely; the flow must go where it should.
require("spec.support.pure")
local testing = require("cxb.testing")

local wordings = {
  hours = {
    "What are your opening hours?", "When do you open?", "When are you open?",
    "What time do you close?", "How late are you open?", "Are you open on Saturday?",
    "I'd like to know your opening hours.", "opening hours", "Your hours please.",
    "What are your business hours?", "Could you tell me the opening times?",
    "When do you close today?", "Are you open now?", "What are you're opening ours?",
    "What are your open in hours?", "What time does the office open?", "Until when are you open?",
    "What are your openings hours.", "When you open?", "What are the working hours",
    "Tell me about your timings.", "opening our's", "What a your opening hours",
  },
  agent = {
    "I want to speak to an agent.", "Can I talk to a human?", "Please transfer me.",
    "Put me through to a colleague.", "I'd like to speak to someone.", "A real person please.",
    "Connect me to customer service.", "representative", "Can you transfer me to a college?",
    "Could I speak with a colleague?", "I want to talk to a person.", "operator",
    "Let me talk to your manager.", "Can I speak to somebody please?", "an agent please",
    "Transfer my call.", "I need a human being.", "I would like to talk to a colleague.",
  },
  account = {
    "I want to give you my account number.", "My account number is 4 2 1 7 9.", "account number",
    "It's about my account.", "I have an account number for you.", "My acount number",
    "one two three four five six", "4217.", "What is my account balance?",
    "Let me give you my customer number.", "my a count number is one two three four",
    "I'd like to give my account number.",
  },
  bye = {
    "Goodbye.", "Bye bye.", "No thank you, that's all.", "That's all, thanks.", "Nothing else.",
    "No, thanks.", "Good bye", "I'm done, thank you.", "That will be all.", "No.", "Hang up.",
    "Okay, goodbye.", "No, that's it.", "Thank you, bye.",
  },
  miss = {
    "The weather is lovely.", "Purple elephants dance.", "I like bananas.", "Hello?",
    "Can you hear me?", "My dog has three legs.", "Hmm.", "The quick brown fox jumps.",
    "How much is a ticket to London?",
  },
}

local confirmations = {
  yes = { "Yes.", "Yeah.", "That's right.", "Yes, that is right.", "Correct.", "Yep.", "Right.",
    "Yes it is.", "That is correct.", "Okay.", "Sure.", "Exactly.", "Thats rite" },
  no = { "No.", "No, that's wrong.", "Nope.", "That's not right.", "Incorrect.", "Wrong.",
    "No it isn't.", "That is wrong." },
}

-- What the flow did with one utterance after its greeting.
local function outcome(said)
  local reply
  testing.call({ flow = "demo" }, function(caller)
    caller:says(said)
    reply = caller:hears("")
  end)
  if reply:find("nine in the morning", 1, true) then
    return "hours"
  elseif reply:find("transfer you", 1, true) then
    return "agent"
  elseif reply:find("account number, or key", 1, true) or reply:find("^I have ") then
    return "account"
  elseif reply:find("Thank you for calling", 1, true) then
    return "bye"
  elseif reply:find("did not understand", 1, true) then
    return "miss"
  end
  return reply
end

describe("the demo", function()
  for kind, list in pairs(wordings) do
    for _, said in ipairs(list) do
      it(("takes %q for %s"):format(said, kind), function()
        assert.equal(kind, outcome(said))
      end)
    end
  end

  for kind, list in pairs(confirmations) do
    for _, said in ipairs(list) do
      it(("takes %q for %s when it asks whether the number is right"):format(said, kind), function()
        local call = testing.call({ flow = "demo" }, function(caller)
          caller:says("my account number is 1 2 3 4")
          caller:says(said)
        end)
        assert.equal(kind == "yes", call.vars.account == "1234")
        assert.equal(kind == "no", call:has_said("Let us try again"))
      end)
    end
  end
end)
