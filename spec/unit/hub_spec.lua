-- What a call tells while it happens.
local hub = require("cxb.core.hub")
local record = require("cxb.record")

describe("a call's hub", function()
  it("tells facts of the record as events, in order, to whoever listens", function()
    local facts = record.new()
    local told, heard = hub.new(facts), {}
    local leave = told:listen(function(event) heard[#heard + 1] = event end)
    facts:add("answer", { t_ms = 5 })
    facts:add("turn", { turn = 1, role = "bot", text = "Hello.", start_ms = 10, end_ms = 90 })
    facts:add("usage", { stt_seconds = 1 })
    facts:add("event", { t_ms = 95, type = "dtmf", data = { digit = "1" } })
    assert.same({
      { type = "state", t_ms = 5, data = { value = "answered" } },
      { type = "transcript", t_ms = 90, data = { turn = 1, role = "bot", text = "Hello." } },
      { type = "dtmf", t_ms = 95, data = { digit = "1" } },
    }, heard)
    leave()
    facts:add("event", { t_ms = 99, type = "tick", data = {} })
    assert.equal(3, #heard)
  end)

  it("is over with the call", function()
    local facts = record.new()
    local told = hub.new(facts)
    assert.falsy(told.over)
    facts:add("event", { t_ms = 1, type = "call_ended", data = { disconnected_by = "bot" } })
    assert.is_true(told.over)
  end)

  it("may be left by a listener while it tells", function()
    local told, heard = hub.new(record.new()), 0
    local leave
    leave = told:listen(function() leave() end)
    told:listen(function() heard = heard + 1 end)
    told:tell({ type = "a" })
    told:tell({ type = "b" })
    assert.equal(2, heard)
  end)
end)
