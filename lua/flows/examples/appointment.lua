-- Books an appointment with two of the bot's tools: free_slots(day) answers {"slots": ["nine", …]},
-- book(day, slot) answers {"reference": "A 7"}.
local intent = require("cxb.intent")

local days = intent.compile({
  Monday = { "monday" }, Tuesday = { "tuesday" }, Wednesday = { "wednesday" },
  Thursday = { "thursday" }, Friday = { "friday" },
})
local agreed = intent.compile({
  yes = { "yes", "yeah", "sure", "please", "that is fine", "okay", "correct" },
  no = { "no", "nope", "not", "another" },
})
local day_words = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday" }
local most_offers = 3

-- (waits) A day, nil when none was understood; and whether the caller has gone.
local function ask_day(call, question)
  for _ = 1, 3 do
    local heard = call:ask(question, { hints = day_words })
    if heard.hangup then
      return nil, true
    end
    local day = heard.text and intent.match(days, heard.text)
    if day then
      return day
    end
    question = "Sorry, which day, from Monday to Friday?"
  end
end

-- (waits) The slot that suits, nil when none does.
local function offer(call, day, slots)
  for i = 1, math.min(#slots, most_offers) do
    local heard = call:ask(("On %s I have %s. Does that suit you?"):format(day, slots[i]))
    if heard.hangup then
      return nil, true
    elseif heard.text and intent.match(agreed, heard.text) == "yes" then
      return slots[i]
    end
  end
end

local function book(call, day, slot)
  local answer = call:tool("book", { day = day, slot = slot })
  if answer.error then
    return call:say("I am sorry, I could not book it. Please call again later.")
  end
  call:intent("appointment", { day = day, slot = slot })
  call:set("reference", answer.value.reference)
  call:say(("You are booked for %s at %s. Your reference is %s."):format(day, slot,
    answer.value.reference))
end

return function(call)
  local question = "Hello. Which day would you like to come?"
  for _ = 1, 3 do
    local day, gone = ask_day(call, question)
    if gone then
      return
    elseif not day then
      return call:say("I could not understand the day. Please call again. Goodbye.")
    end
    local free = call:tool("free_slots", { day = day })
    local slots = not free.error and free.value.slots or {}
    local slot
    slot, gone = offer(call, day, slots)
    if gone then
      return
    elseif slot then
      return book(call, day, slot)
    end
    question = (#slots == 0 and "Nothing is free on %s. Which other day?"
      or "That was all for %s. Which other day would you like?"):format(day)
  end
  call:say("I am sorry that nothing suits you. Goodbye.")
end
