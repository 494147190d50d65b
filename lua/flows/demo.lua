-- The demonstration: opening hours, an account number by voice or keypad, a colleague, goodbye.
-- Settings (flow_settings of the bot): hours, greeting, account_digits {min, max}.
local intent = require("cxb.intent")
local numbers = require("cxb.numbers")
local text = require("cxb.text")

local wants = intent.compile({
  hours = {
    "opening hours", "business hours", "office hours", "hours", "our hours", "opening",
    "what time open", "when open", "open", "are you open", "close", "closing", "what time close",
    "how late", "until when", "opening times", "timings", "time do you", "what times", "weekend",
    "saturday", "sunday", "today open", "working hours", "schedule", "shut",
  },
  account = {
    "account", "account number", "my account", "balance", "account balance", "give number",
    "my number", "customer number", "number is", "enter number", "bill", "statement",
  },
  agent = {
    "agent", "human", "real person", "person", "representative", "operator", "transfer",
    "transfer me", "talk to someone", "speak to someone", "talk to somebody", "speak to somebody",
    "speak with", "talk with", "colleague", "customer service", "connect me", "put me through",
    "talk to", "speak to", "can i talk", "can i speak",
    "advisor", "adviser", "manager", "staff", "support", "someone else",
  },
  bye = {
    "goodbye", "bye", "bye bye", "that is all", "thats all", "that was all", "nothing else",
    "nothing more", "hang up", "no thank you", "no thanks", "that will be all", "thatll be all",
    "im done", "i am done", "im finished", "thats it", "that is it", "end call", "see you",
    "have a nice day", "nothing", "im good", "all done",
  },
  again = { "repeat", "say again", "pardon", "say that again", "come again", "what did you say" },
})

local answers = intent.compile({
  yes = {
    "yes", "yeah", "yep", "yup", "right", "correct", "thats right", "that is right", "ok", "okay",
    "sure", "exactly", "perfect", "thats correct", "it is", "yes it is", "fine", "good", "true",
    "absolutely", "indeed", "affirmative", "rite", "write",
  },
  no = {
    "no", "nope", "nah", "wrong", "incorrect", "not right", "not correct", "isnt", "is not",
    "thats wrong", "no thats wrong", "mistake", "change it", "false", "negative", "not",
  },
})

local keys = { ["1"] = "hours", ["2"] = "account", ["3"] = "agent", ["9"] = "bye" }

local digit_words = { "zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight",
  "nine", "double" }
local yes_no_words = { "yes", "no", "yeah", "right", "wrong", "correct", "that is right" }
-- Whole phrases more than words: noise takes a word, seldom all of them.
local menu_words = { "hours", "open", "opening", "close", "agent", "human", "colleague", "person",
  "transfer", "account", "number", "goodbye", "what are", "your opening hours", "opening hours",
  "what time", "are you open", "when are you open", "today", "weekend", "Saturday",
  "account number", "account balance", "my account", "human agent", "real person",
  "customer service", "connect me", "transfer me", "speak to", "talk to", "thank you",
  "no thank you", "that is all" }
for i = 1, 11 do
  menu_words[#menu_words + 1] = digit_words[i]
end

local menu = "You can ask for our opening hours, give me your account number, "
  .. "or ask for a colleague."
local key_menu = "Press one for opening hours, two for your account number, "
  .. "three for a colleague, or nine to finish."

-- Digits that answer "your account number": none, or a plausible number of them.
local function account_in(call, heard)
  local limits = call.settings.account_digits or {}
  local digits = heard.dtmf and heard.dtmf:gsub("%D", "") or numbers.digits(heard.text or "")
  local most = limits.max or 16
  if #digits >= (limits.min or 3) and #digits <= most then
    return digits
  end
end

-- What was asked for, from words or a key.
local function wanted(call, heard)
  if heard.dtmf then
    if #heard.dtmf > 1 then
      return account_in(call, heard) and "account"
    end
    return keys[heard.dtmf]
  end
  local said = heard.text or ""
  local name = intent.match(wants, said)
  if account_in(call, heard) and (not name or name == "account") then
    return "account"
  end
  if not name and text.count_words(said) <= 3 then
    local answer = intent.match(answers, said)
    return answer == "no" and "bye" or nil
  end
  return name
end

local function yes_or_no(heard)
  if heard.dtmf then
    local key = heard.dtmf:sub(1, 1)
    return key == "1" and "yes" or key == "2" and "no" or heard.terminator and "yes" or nil
  end
  local words = text.words(heard.text or "")
  for _, word in ipairs(words) do
    if word == "no" or word == "not" or word == "nope" or word == "wrong" then
      return "no"
    end
  end
  return (intent.match(answers, heard.text or ""))
end

-- Reads digits back until the caller says they are right: the digits, or nil.
local function confirm(call, digits)
  for attempt = 1, 4 do
    local question = attempt == 1 and "Is that right?"
      or "Please say, that is right, or, no, that is wrong. You can also press one for yes, "
      .. "or two for no."
    local heard = call:ask(("I have %s. %s"):format(numbers.spell(digits), question), {
      dtmf = { max = 1 }, timeout = 8, hints = yes_no_words,
    })
    if heard.hangup then
      return nil, true
    end
    local corrected = not heard.dtmf and account_in(call, heard)
    local answer = yes_or_no(heard)
    if corrected and corrected ~= digits then
      digits = corrected
    elseif answer == "yes" or corrected then
      return digits
    elseif answer == "no" then
      return nil
    end
  end
end

local function ask_account(call, first)
  local digits = first and account_in(call, first)
  local question = "Please say your account number, or key it in and press hash."
  for _ = 1, 3 do
    if not digits then
      local heard = call:ask(question, {
        dtmf = { max = 16 }, timeout = 10, hints = digit_words, digits = true,
      })
      if heard.hangup then
        return
      end
      digits = account_in(call, heard)
      if not digits and intent.match(wants, heard.text or "") == "bye" then
        return
      end
    end
    if digits then
      local right, gone = confirm(call, digits)
      if gone then
        return
      elseif right then
        call:intent("account_number", { digits = right })
        call:set("account", right)
        call:say(("Okay, thank you, I have noted account number %s."):format(numbers.spell(right)),
          { barge = false }) -- what follows a "yes" is no new question
        return
      end
      question = "Let us try again. Please say your account number, one digit at a time."
    else
      question = "Sorry, I did not get the number. Please say it one digit at a time, "
        .. "or key it in and press hash."
    end
    digits = nil
  end
  call:say("Sorry, I could not get your account number.")
end

local politeness = { thank = true, thanks = true, you = true, please = true, great = true,
  it = true, is = true, thats = true, that = true, very = true, much = true, well = true }

-- "Yes, right, thank you": an answer to something already settled.
local function only_agrees(said)
  local words = text.words(said)
  for _, word in ipairs(words) do
    if not politeness[word] and intent.match(answers, word) ~= "yes" then
      return false
    end
  end
  return #words > 0
end

-- Each answers true when the call is over.
local tasks = {}

function tasks.hours(call)
  call:intent("opening_hours")
  call:say(call.settings.hours
    or "We are open from nine in the morning to six in the evening, Monday to Friday.")
end

function tasks.account(call, heard)
  ask_account(call, heard)
end

function tasks.agent(call)
  call:intent("transfer")
  local done = call:transfer(nil, "caller asked for a colleague")
  if done.ok or done.hangup then
    return true
  end
  if done.reason == "unsupported" then
    call:say("I am sorry, I cannot transfer you on this line.")
  else
    call:say("I am sorry, I could not reach a colleague just now.")
  end
end

local function say_goodbye(call)
  call:say("Thank you for calling. Goodbye.", { barge = false })
  return call:hangup()
end

return function(call)
  local opening = call.config.opening_message
  local prompt = call.settings.greeting or (opening ~= "" and opening)
    or "Hello, this is the demo line. " .. menu .. " What can I do for you?"
  local misses, silences, last = 0, 0, prompt
  while true do
    local heard = call:ask(prompt, {
      dtmf = { max = 16, timeout = 1.5 }, timeout = 8, hints = menu_words,
    })
    if heard.hangup then
      return
    end
    local name = not heard.silence and wanted(call, heard)
    if heard.silence then
      silences = silences + 1
      if silences > 2 then
        call:say("I cannot hear you. Please call again. Goodbye.", { barge = false })
        return call:hangup("no_response")
      end
      call:event("re_engagement", { attempt = silences })
      prompt = silences == 1 and "Are you still there? " .. menu
        or "I did not hear anything. " .. key_menu
    elseif name == "bye" then
      return say_goodbye(call)
    elseif name == "again" then
      prompt = last
    elseif not name and not heard.unclear and not heard.dtmf and only_agrees(heard.text) then
      prompt = "What can I do for you?"
    elseif name then
      misses, silences = 0, 0
      if tasks[name](call, heard) then
        return
      end
      prompt = "Is there anything else I can do for you?"
      last = prompt
    else
      misses = misses + 1
      prompt = "Sorry, I did not understand. " .. (misses < 2 and menu or key_menu)
      last = prompt
    end
  end
end
