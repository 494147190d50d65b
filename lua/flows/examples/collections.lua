-- Calls somebody about an open bill. Nothing about it is said before the person has given the last
-- four digits of the account. Variables: crm.name, crm.account_last4, crm.amount, crm.due_date.
local intent = require("cxb.intent")
local numbers = require("cxb.numbers")

local answers = intent.compile({
  yes = { "yes", "speaking", "this is", "yeah", "that is me" },
  no = { "no", "not here", "wrong number", "wrong person" },
})
local outcomes = intent.compile({
  paid = { "already paid", "have paid", "paid it", "paid yesterday", "paid last week" },
  promise = { "will pay", "pay tomorrow", "pay today", "next week", "pay on", "yes" },
  dispute = { "not mine", "wrong amount", "dispute", "do not owe", "never ordered" },
  refuse = { "cannot pay", "no money", "not pay", "no" },
})
local digit_words = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
  "nine" }

-- (waits) Whether it is the person who is meant.
local function is_right_person(call)
  local heard = call:ask("Hello, this is the customer service of Example Energy. "
    .. "Am I speaking to {{crm.name}}?")
  return heard.text ~= nil and intent.match(answers, heard.text) == "yes"
end

-- (waits) Whether the person knows the last four digits, in two attempts.
local function is_verified(call)
  local question = "For your security, please tell me the last four digits of your account."
  for _ = 1, 2 do
    local heard = call:ask(question, { digits = true, hints = digit_words, dtmf = { max = 4 } })
    local digits = heard.dtmf or numbers.digits(heard.text or "")
    if digits == call.vars["crm.account_last4"] then
      return true
    elseif heard.hangup then
      return false
    end
    question = "Those are not the digits I have. Please try once more."
  end
  return false
end

local closing = {
  paid = "Thank you. Then please disregard this call.",
  promise = "Thank you. I have noted that you will pay.",
  dispute = "I see. A colleague will look into it and write to you.",
  refuse = "I understand. A colleague will call you about a plan that you can afford.",
}

return function(call)
  local function close(disposition, words)
    call:set("disposition", disposition)
    call:intent(disposition)
    if words then
      call:say(words .. " Goodbye.")
    end
  end

  if not is_right_person(call) then
    return close("wrong_person", "Excuse me, then I have the wrong number.")
  elseif not is_verified(call) then
    return close("not_verified", "I am sorry, then I cannot talk about the account.")
  end
  local question = "Thank you. {{crm.amount}} have been due since {{crm.due_date}}. "
    .. "When will you be able to pay?"
  for _ = 1, 2 do
    local heard = call:ask(question, { timeout = 10 })
    if heard.hangup then
      return close("hung_up")
    end
    local outcome = heard.text and intent.match(outcomes, heard.text)
    if outcome then
      call:set("said", heard.text)
      return close(outcome, closing[outcome])
    end
    question = "Sorry, will you pay, have you paid already, or is something wrong with the bill?"
  end
  close("unclear", "Thank you. A colleague will call you again.")
end
