-- Three questions answered from one to five, by voice or key, and a comment in free words.
-- Settings: questions = {{name, text}, …}. The answers are variables of the call.
local numbers = require("cxb.numbers")

local default_questions = {
  { name = "friendly", text = "How friendly were we?" },
  { name = "fast", text = "How fast did we help you?" },
  { name = "again", text = "How likely are you to call us again?" },
}
local scale = "From one, not at all, to five, very much."
local hints = { "one", "two", "three", "four", "five" }

local function mark_of(heard)
  local digits = heard.dtmf or numbers.digits(heard.text or "")
  return digits:match("^[1-5]$")
end

-- (waits) "1" … "5", nil when there was no answer; and whether the caller has gone.
local function ask(call, text)
  local question = text .. " " .. scale
  for _ = 1, 2 do
    local heard = call:ask(question, { dtmf = { max = 1 }, hints = hints, timeout = 6 })
    if heard.hangup then
      return nil, true
    end
    local mark = mark_of(heard)
    if mark then
      return mark
    end
    question = "Please say a number from one to five, or press it."
  end
end

return function(call)
  local questions = call.settings.questions or default_questions
  local given = 0
  call:say("Thank you for helping us to do better.")
  for _, question in ipairs(questions) do
    local mark, gone = ask(call, question.text)
    if gone then
      break
    elseif mark then
      given = given + 1
      call:set(question.name, tonumber(mark))
    else
      call:say("Never mind.")
    end
  end
  call:event("survey", { answered = given, asked = #questions })
  local comment = call:ask("Is there anything you would like to tell us?", { timeout = 5 })
  if comment.hangup then
    return
  elseif comment.text and comment.text ~= "" then
    call:set("comment", comment.text)
  end
  call:say("Thank you. Goodbye.", { barge = false })
end
