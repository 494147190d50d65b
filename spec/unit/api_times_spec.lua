local times = require("cxb.times")

describe("times", function()
  it("reads what it writes, to the millisecond", function()
    for _, ms in ipairs({ 0, 1, 951782400000, 1777021200123, 4102444799999, -1 }) do
      assert.equal(ms, times.parse(times.format(ms)))
    end
    assert.equal("2026-04-24T09:00:00.123Z", times.format(1777021200123))
  end)

  it("counts zones against the sign", function()
    assert.equal(times.parse("2026-04-24T09:00:00Z"), times.parse("2026-04-24T14:30:00+05:30"))
    assert.equal(times.parse("2026-04-25T02:00:00Z"), times.parse("2026-04-24T22:00:00.000-04:00"))
  end)

  it("knows leap days", function()
    assert.truthy(times.parse("2024-02-29T00:00:00Z"))
    assert.is_nil(times.parse("2023-02-29T00:00:00Z"))
    assert.is_nil(times.parse("2100-02-29T00:00:00Z"))
  end)

  it("refuses what has no zone or no such hour", function()
    for _, text in ipairs({ "", "2026-04-24", "2026-04-24T09:00:00", "2026-04-24T25:00:00Z",
      "2026-13-01T00:00:00Z", "2026-04-24T09:00:00.Z", "2026-04-24T09:00:00+5", "now" }) do
      assert.is_nil(times.parse(text), text)
    end
  end)
end)
