local bounded = require("cxb.bounded")

describe("a bounded map", function()
  it("keeps what it is given, and lets go of what is removed", function()
    local map = bounded.new(2)
    map:set("a", 1)
    map:set("a", 2)
    map:set("b", 3)
    assert.same({ 2, 3 }, { map:get("a"), map:get("b") })
    map:set("a", nil)
    map:set("a", nil)
    map:set("c", 4)
    assert.same({ [2] = 3, [3] = 4 }, { map:get("a"), map:get("b"), map:get("c") })
  end)

  it("never holds more than so many", function()
    local map = bounded.new(10)
    for i = 1, 1000 do
      map:set(i, i)
      map:set(i, -i)
      local held = 0
      for key = 1, i do
        held = held + (map:get(key) and 1 or 0)
      end
      assert.is_true(held >= 1 and held <= 10)
      assert.equal(-i, map:get(i))
    end
  end)
end)
