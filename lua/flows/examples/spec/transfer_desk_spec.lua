local testing = require("cxb.testing")

local function target(id, value)
  return { id = id, label = id, value = value, type = "extension",
    method = "websocket_reverse_transfer" }
end

local CONFIG = { transfer_targets = { target("sales", "201"), target("support", "202"),
  target("accounting", "203") }, pre_transfer_message = "One moment please." }

local function desk(script, transfer)
  return testing.call({ flow = "lua/flows/examples/transfer_desk.lua", config = CONFIG,
    transfer = transfer }, script)
end

describe("the transfer desk", function()
  it("puts the caller through to whom they name, with the reason", function()
    local call = desk(function(caller)
      caller:says("Somebody in support please, my router is broken.")
      caller:hears("And what is it about?")
      caller:says("The light is red.")
    end, { ok = true })
    assert.same({ to = "202", type = "extension", target = "support",
      reason = "The light is red." }, call.transferred)
    assert.is_true(call:has_said("One moment please."))
    assert.equal("bot", call.disconnected_by)
  end)

  it("takes a message when nobody answers", function()
    local call = desk(function(caller)
      caller:says("The sales team")
      caller:says("A new offer.")
      caller:hears("nobody in sales answers")
      caller:says("Please call me back.")
      caller:hears("I will pass that on")
    end, { ok = false, reason = "busy" })
    assert.equal("Please call me back.", call.vars.message)
    assert.same({ name = "message", data = { ["for"] = "sales" } }, call.intents[1])
  end)

  it("names whom it knows when it did not understand", function()
    local call = desk(function(caller)
      caller:says("The king of Spain.")
      caller:hears("I can put you through to sales, support, accounting.")
      caller:says("It is about an invoice.")
      caller:silent(8)
    end, { ok = true })
    assert.equal("203", call.transferred.to)
    assert.equal("not said", call.transferred.reason)
  end)

  it("ends with a goodbye after three misses", function()
    local call = desk(function(caller)
      for _ = 1, 3 do
        caller:says("The king of Spain.")
      end
      caller:hears("I do not know who that is")
    end, { ok = true })
    assert.is_nil(call.transferred)
  end)
end)
