local phone = cxb.phone

describe("a telephone number", function()
  it("is read as people write it, in the plan of its region", function()
    for _, text in ipairs({ "98765 43210", "098765-43210", "+91 (98765) 43210", "00919876543210",
      "+91\194\16098765.43210" }) do
      local number = assert(phone.parse(text, "IN"), text)
      assert.same({ e164 = "+919876543210", region = "IN", possible = true, valid = true }, number)
    end
    assert.equal("+14155552671", phone.parse("(415) 555-2671", "US").e164)
  end)

  it("is the same with what a spreadsheet adds to its cell", function()
    for _, text in ipairs({ "'+919876543210", "'9876543210", "9876543210.0", "919876543210.00",
      "+919876543210.0" }) do
      assert.equal("+919876543210", assert(phone.parse(text, "IN"), text).e164)
    end
    assert.is_nil(phone.parse("''9876543210", "IN"))
    assert.equal("+33123456780", phone.parse("01.23.45.67.80", "FR").e164)
  end)

  it("is refused with fewer than eight digits or with anything but a number in it", function()
    for _, text in ipairs({ "", "1234567", "+", "9.87654E+9", "98765x43210", "phone_number",
      "+91+9876543210", ("9"):rep(40), "९८७६५४३२१०" }) do
      local number, code = phone.parse(text, "IN")
      assert.is_nil(number, text)
      assert.equal("invalid", code)
    end
  end)

  it("may be possible in length and yet not in its plan", function()
    local number = assert(phone.parse("+14150000000", "IN"))
    assert.is_true(number.possible)
    assert.is_false(number.valid)
    assert.is_false(phone.parse("+1415000000", "IN").possible)
  end)

  it("has the zones of its longest prefix, sorted", function()
    assert.equal("Asia/Calcutta", phone.zones("+919876543210"))
    assert.equal("America/New_York", phone.zones("+12125550100"))
    assert.equal("America/Los_Angeles", phone.zones("+14155552671"))
    assert.truthy(phone.zones("+18005550100"):find("America/Adak|America/Anchorage|", 1, true))
    assert.is_nil(phone.zones("+999123456"))
  end)

  it("of any country has the zones that another program finds", function()
    local run = assert(cxb.process.spawn({ capture = true,
      args = { "/usr/bin/python3", cxb.root .. "/spec/support/phone_zones.py" } }))
    local count = 0
    for line in function() return run:line() end do
      local number, zones = line:match("^(%S+) (%S+)$")
      assert.equal(zones, phone.zones(number) or "Etc/Unknown", number)
      assert.is_true(#number < 9 or phone.parse(number, "IN").valid, number)
      count = count + 1
    end
    assert.equal(0, run:wait(60000))
    assert.equal(2000, count)
  end)

  it("belongs to a known region or to none", function()
    assert.is_true(phone.known_region("IN"))
    assert.is_false(phone.known_region("XX"))
  end)
end)
