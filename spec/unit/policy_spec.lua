local english = require("cxb.policy.english")
local hindi = require("cxb.policy.hindi")
local policy = require("cxb.policy")
local values = require("cxb.policy.values")

describe("a number in words", function()
  local vectors = {
    { 0, "zero", "शून्य" },
    { 1, "one", "एक" },
    { 19, "nineteen", "उन्नीस" },
    { 20, "twenty", "बीस" },
    { 29, "twenty-nine", "उनतीस" },
    { 48, "forty-eight", "अड़तालीस" },
    { 75, "seventy-five", "पचहत्तर" },
    { 89, "eighty-nine", "नवासी" },
    { 99, "ninety-nine", "निन्यानवे" },
    { 100, "one hundred", "एक सौ" },
    { 101, "one hundred one", "एक सौ एक" },
    { 999, "nine hundred ninety-nine", "नौ सौ निन्यानवे" },
    { 1000, "one thousand", "एक हज़ार" },
    { 12345, "twelve thousand three hundred forty-five", "बारह हज़ार तीन सौ पैंतालीस" },
    { 99999, "ninety-nine thousand nine hundred ninety-nine", "निन्यानवे हज़ार नौ सौ निन्यानवे" },
    { 100000, "one lakh", "एक लाख" },
    { 250000, "two lakh fifty thousand", "दो लाख पचास हज़ार" },
    { 9999999, "ninety-nine lakh ninety-nine thousand nine hundred ninety-nine",
      "निन्यानवे लाख निन्यानवे हज़ार नौ सौ निन्यानवे" },
    { 10000000, "one crore", "एक करोड़" },
    { 12345678, "one crore twenty-three lakh forty-five thousand six hundred seventy-eight",
      "एक करोड़ तेईस लाख पैंतालीस हज़ार छह सौ अठहत्तर" },
    { 2500000000, "two hundred fifty crore", "दो सौ पचास करोड़" },
  }

  it("is right in English and Hindi, from zero over lakh to crore", function()
    for _, v in ipairs(vectors) do
      assert.same({ v[2], v[3] }, { english.number(v[1]), hindi.number(v[1]) })
    end
  end)

  it("has a word of its own for each number below a hundred", function()
    local seen = {}
    for n = 0, 99 do
      for _, words in ipairs({ english.number(n), hindi.number(n) }) do
        assert.is_nil(seen[words], words)
        seen[words] = n
      end
    end
  end)
end)

describe("an amount of rupees", function()
  it("is read in each way CRMs write it", function()
    for _, v in ipairs({
      { 5000, 5000, 0 }, { "5000", 5000, 0 }, { "₹1,25,000.50", 125000, 50 },
      { "Rs. 5000/-", 5000, 0 }, { "Rs 1,234.5", 1234, 50 }, { "INR 5,000", 5000, 0 },
      { "0.05", 0, 5 }, { 1234.56, 1234, 56 }, { "9.999", 10, 0 },
    }) do
      assert.same({ v[2], v[3] }, { values.amount(v[1]) })
    end
  end)

  it("that is none is shown as it is and not put into words", function()
    for _, text in ipairs({ "soon", "-5", "", "1.2.3", ("9"):rep(15), "5 lakh" }) do
      assert.is_nil(values.amount(text))
      assert.same({ shown = text }, values.spoken("amount", text))
    end
  end)

  it("is said with paise, and in the singular when it is one", function()
    for _, v in ipairs({
      { "125000.50", "₹1,25,000.50", "one lakh twenty-five thousand rupees and fifty paise",
        "एक लाख पच्चीस हज़ार रुपये पचास पैसे" },
      { 1, "₹1", "one rupee", "एक रुपया" },
      { "0.01", "₹0.01", "one paisa", "एक पैसा" },
      { 0, "₹0", "zero rupees", "शून्य रुपये" },
      { 50000000, "₹5,00,00,000", "five crore rupees", "पाँच करोड़ रुपये" },
    }) do
      assert.same({ shown = v[2], en = v[3], hi = v[4] }, values.spoken("amount", v[1]))
    end
  end)
end)

describe("a date", function()
  it("is read in each way CRMs write it, the day before the month", function()
    for _, text in ipairs({ "2026-04-24", "2026-04-24T10:00:00Z", "24/04/2026", "24-04-2026",
      "24.4.2026", "24-Apr-2026", "24 April 2026", "24th April, 2026", "April 24, 2026",
      "24/04/2026 10:30" }) do
      assert.same({ 2026, 4, 24 }, { values.date(text) }, text)
    end
  end)

  it("that does not exist is none", function()
    for _, text in ipairs({ "31/02/2026", "2026-13-01", "24/04/26", "tomorrow", "1/1/20260",
      "24 Foo 2026" }) do
      assert.is_nil(values.date(text), text)
    end
  end)

  it("is said in English and Hindi", function()
    for _, v in ipairs({
      { "2026-04-24", "the twenty-fourth of April twenty twenty-six",
        "चौबीस अप्रैल दो हज़ार छब्बीस" },
      { "2005-01-01", "the first of January two thousand five", "पहली जनवरी दो हज़ार पाँच" },
      { "1999-12-31", "the thirty-first of December nineteen ninety-nine",
        "इकतीस दिसंबर उन्नीस सौ निन्यानवे" },
      { "1905-02-12", "the twelfth of February nineteen oh five", "बारह फ़रवरी उन्नीस सौ पाँच" },
    }) do
      local spoken = values.spoken("date", v[1])
      assert.same({ v[2], v[3] }, { spoken.en, spoken.hi })
    end
  end)
end)

describe("a policy's prompt", function()
  local build = policy.build_policy_system_prompt

  it("is the bot's own, rendered, for an unknown type and for one that is off", function()
    for _, given in ipairs({ false, { type = "tax" }, { type = "collection_recovery",
      enabled = false } }) do
      local prompt, missing = build("Hello {{name}} {{x}}", given or nil, { ["crm.name"] = "Asha" })
      assert.equal("Hello Asha {{x}}", prompt)
      assert.same({ "x" }, missing)
    end
  end)

  it("of each type holds the bot's words, how to behave and what may come up", function()
    for name in pairs(policy.kinds) do
      local prompt = build("You are Tara.", { type = name }, {})
      assert.equal("You are Tara.", prompt:match("^[^\n]*"))
      assert.matches("## How to behave\n%- ", prompt)
      assert.matches("## If it comes up\n%- ", prompt)
      assert.is_nil(prompt:find("## Facts", 1, true))
    end
  end)

  it("names facts in figures and in words of both languages", function()
    local prompt = build("", { type = "collection_recovery" }, { ["crm.overdue_amount"] = "125000",
      ["call.due_date"] = "24/04/2026" })
    assert.truthy(prompt:find("- Overdue: ₹1,25,000 (say in English: one lakh twenty-five "
      .. "thousand rupees; in Hindi: एक लाख पच्चीस हज़ार रुपये)", 1, true))
    assert.truthy(prompt:find("in Hindi: चौबीस अप्रैल दो हज़ार छब्बीस", 1, true))
  end)

  it("finds a fact by its exact name, then in crm, call and system", function()
    local all = { ["OVERDUE_AMOUNT"] = 1, ["crm.OVERDUE_AMOUNT"] = 2, ["call.OVERDUE_AMOUNT"] = 3,
      ["system.OVERDUE_AMOUNT"] = 4 }
    for i, name in ipairs({ "OVERDUE_AMOUNT", "crm.OVERDUE_AMOUNT", "call.OVERDUE_AMOUNT",
      "system.OVERDUE_AMOUNT" }) do
      assert.truthy(build("", { type = "collection_recovery" }, all):find("Overdue: ₹" .. i, 1,
        true))
      all[name] = i == 2 and "" or nil -- a blank is no value
    end
  end)

  it("takes a fact from the variable that the policy names", function()
    local prompt = build("", { type = "collection_recovery",
      facts = { overdue_amount = "balance", lender_name = "{{crm.bank}} Bank" } },
      { ["crm.balance"] = 70, ["crm.OVERDUE_AMOUNT"] = 5, ["crm.bank"] = "Meru" })
    assert.truthy(prompt:find("Overdue: ₹70", 1, true))
    assert.truthy(prompt:find("Lender: Meru Bank", 1, true))
  end)

  it("pairs names with their Hindi form", function()
    local prompt = build("", { type = "insurance_renewal_motor" },
      { ["crm.CUSTOMER_NAME"] = "Asha", ["crm.CUSTOMER_NAME_HI"] = "आशा",
        ["crm.VEHICLE_MODEL"] = "Swift" })
    assert.truthy(prompt:find("- Customer: Asha (say in English: Asha; in Hindi: आशा)", 1, true))
    assert.truthy(prompt:find("- Vehicle: Swift\n", 1, true))
  end)

  it("offers its facts to the bot's own words", function()
    local prompt = build("Owes {{policy.overdue_amount}}: {{policy.overdue_amount_words_hi}}.",
      { type = "collection_early_dpd" }, { overdue_amount = 500 })
    assert.equal("Owes ₹500: पाँच सौ रुपये.", prompt:match("^[^\n]*"))
  end)

  it("holds a scenario while its conditions do", function()
    local function with(fee)
      return build("", { type = "collection_early_dpd" }, { ["crm.late_fee"] = fee })
    end
    assert.truthy(with(300):find("A late fee has come up", 1, true))
    assert.is_nil(with(nil):find("A late fee has come up", 1, true))
    for _, case in ipairs({ { "at_least", 5, 5, 4 }, { "at_most", 5, "5.00", 6 },
      { "equals", "Gold", "gold", "red" }, { "differs", "gold", "red", "GOLD" },
      { "absent", nil, nil, 1 } }) do
      local own = { { id = "mine", instructions = "Sing.",
        when = { { fact = "tier", is = case[1], value = case[2] } } } }
      local function sings(tier)
        return build("", { type = "collection_pre_due", scenarios = own },
          { ["crm.tier"] = tier }):find("Sing.", 1, true) ~= nil
      end
      assert.same({ true, false }, { sings(case[3]), sings(case[4]) }, case[1])
    end
  end)

  it("leaves a disabled scenario out although it is always there", function()
    local function count(change)
      change.id = "wrong_person"
      local prompt = build("", { type = "collection_recovery", scenarios = { change } }, {})
      return select(2, prompt:gsub("Somebody else answers", ""))
    end
    assert.equal(1, count({}))
    assert.equal(0, count({ enabled = false, always = true }))
    local own = { { id = "mine", instructions = "Sing.", always = true, enabled = false } }
    assert.is_nil(build("", { type = "collection_pre_due", scenarios = own }, {}):find("Sing."))
  end)

  it("does not expand what a value holds", function()
    local prompt = build("{{crm.customer_name}}", { type = "collection_pre_due" },
      { ["crm.customer_name"] = "{{crm.secret}}", ["crm.secret"] = "x" })
    assert.truthy(prompt:find("- Customer: {{crm.secret}}\n", 1, true))
    assert.is_nil(prompt:find("- Customer: x", 1, true))
  end)
end)
