local json = require("cxb.json")
local testing = require("cxb.testing")

local function appointment(script, slots)
  local tools = {
    free_slots = { answer = json.encode({ slots = json.array(slots) }) },
    book = { answer = '{"reference":"A 7"}' },
  }
  return testing.call({ flow = "lua/flows/examples/appointment.lua", tools = tools }, script), tools
end

describe("the appointment", function()
  it("is booked at the time that suits", function()
    local call, tools = appointment(function(caller)
      caller:says("On Tuesday please.")
      caller:hears("On Tuesday I have nine in the morning.")
      caller:says("No, later.")
      caller:hears("two in the afternoon")
      caller:says("Yes, that is fine.")
      caller:hears("Your reference is A 7.")
    end, { "nine in the morning", "two in the afternoon" })
    assert.same({ day = "Tuesday" }, json.decode(tools.free_slots.asked))
    assert.same({ day = "Tuesday", slot = "two in the afternoon" }, json.decode(tools.book.asked))
    assert.equal("A 7", call.vars.reference)
    assert.equal("bot", call.disconnected_by)
  end)

  it("is offered on another day when nothing is free", function()
    appointment(function(caller)
      caller:says("Friday")
      caller:hears("Nothing is free on Friday. Which other day?")
    end, {})
  end)

  it("asks for the day again", function()
    appointment(function(caller)
      caller:says("As soon as possible.")
      caller:hears("which day, from Monday to Friday?")
    end, {})
  end)

  it("says so when the booking fails", function()
    local call = testing.call({ flow = "lua/flows/examples/appointment.lua", tools = {
      free_slots = { answer = '{"slots":["nine"]}' },
      book = { answer = '{"error":"timeout"}', error = "timeout" },
    } }, function(caller)
      caller:says("Monday")
      caller:says("yes")
      caller:hears("I could not book it")
    end)
    assert.is_nil(call.vars.reference)
  end)
end)
