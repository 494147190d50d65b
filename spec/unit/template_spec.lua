local pure = require("spec.support.pure")
local json = require("cxb.json")
local template = require("cxb.template")
local variables = require("cxb.variables")

describe("a template", function()
  local vars = {
    ["call.name"] = "Call", ["crm.name"] = "Crm", ["system.name"] = "System", ["name.full"] = "exact",
    ["crm.city"] = "Pune", ["call.city"] = "Delhi", ["call.only"] = "wire", ["result.duration"] = 7,
    ["analysis.DISPOSITION"] = "Paid", amount = 1500, ratio = 0.25, yes = true, off = false,
  }

  it("looks a flat name up as it stands, then in system, crm and call, and nowhere else", function()
    local text, missing = template.render(
      "{{name}} {{city}} {{ only }} {{name.full}} {{call.city}} {{amount}} {{ratio}} {{yes}} {{duration}}", vars)
    assert.equal("System Pune wire exact Delhi 1500 0.25 true {{duration}}", text)
    assert.same({ "duration" }, missing)
    assert.equal("7 Paid", (template.render("{{result.duration}} {{analysis.DISPOSITION}}", vars)))
  end)

  it("shows whole numbers in digits, however large", function()
    assert.equal("12345678901234567168 1234567890123456 0 -7", (template.render("{{a}} {{b}} {{c}} {{d}}",
      { a = 12345678901234567890, b = 1234567890123456, c = -0, d = -7 })))
  end)

  it("taken apart once renders as the text itself does, every time", function()
    for text, expected in pairs({ [""] = "", plain = "plain", ["{{yes}}"] = "true",
      ["{{yes}}{{off}}"] = "truefalse", ["{{{yes}}}"] = "{true}", ["{{ {{yes}} }}"] = "{{ true }}",
      ["{{yes}} {{ no.body }}"] = "true {{ no.body }}", ["{{yes} }{{}}"] = "{{yes} }{{}}" }) do
      local compiled = template.compile(text)
      for _ = 1, 2 do
        assert.equal(expected, (template.render_compiled(compiled, vars)))
      end
      assert.equal(expected ~= text or text:find("no.body", 1, true) ~= nil, compiled.open)
      assert.equal(expected, (template.render(text, vars)))
    end
  end)

  it("never expands a value again, nor one that names itself", function()
    assert.equal("{{name}} {{self}}", (template.render("{{a}} {{self}}", {
      a = "{{name}}", name = "x", self = "{{self}}" })))
  end)

  it("shows an unknown name in a prompt and leaves it out of speech", function()
    assert.equal("Dear {{who}}, hi.", (template.render("Dear {{who}}, hi.", {})))
    local text, missing = template.speech("Dear {{who}}, it is {{who}} {{when}}.", {})
    assert.equal("Dear, it is.", text)
    assert.same({ "who", "when" }, missing)
    assert.equal("Two  blanks , stay", (template.speech("Two  blanks , stay", {})))
  end)

  it("escapes values for the place they are put into", function()
    local nasty = { v = 'a "b"\\\r\nX: 1 & /ü' }
    local function put(escape)
      return (template.render("<{{v}}>", nasty, nil, template.escapes[escape]))
    end
    assert.equal("<a%20%22b%22%5C%0D%0AX%3A%201%20%26%20%2F%C3%BC>", put("url"))
    assert.equal('<a "b"\\ X: 1 & /ü>', put("header"))
    assert.equal(nasty.v, json.decode('["' .. put("json"):sub(2, -2) .. '"]')[1])
  end)

  it("that is one name and nothing else keeps the value's type", function()
    local unknown = {}
    local body = template.fill({ n = "{{amount}}", text = "Rs {{amount}}", list = { "{{yes}}", "{{nope}}", "{{off}}" },
      deep = { id = "{{crm.city}}" }, none = json.array() }, vars, unknown)
    assert.same({ n = 1500, text = "Rs 1500", list = { true, "{{nope}}", false }, deep = { id = "Pune" },
      none = {} }, body)
    assert.same({ "nope" }, unknown)
    assert.matches('"none":%[%]', json.encode(body))
  end)
end)

describe("the variables of a call", function()
  after_each(pure.restore)

  it("hold no result, analysis or qc before the call is over", function()
    local vars = variables.of_call({ ["crm.name"] = "Asha", crm = { city = "Pune" }, ["result.x"] = 1,
      analysis = { y = 2 }, ["qc.z"] = 3 }, { callerId = "+91", crm = { city = "no" } })
    assert.same({ ["crm.name"] = "Asha", ["crm.city"] = "Pune", ["call.callerId"] = "+91",
      ["call.crm.city"] = "no" }, vars)
    local after = variables.after_call(vars, { result = { call_id = "c" }, analysis = { y = 2 } })
    assert.equal("c", after["result.call_id"])
    assert.equal(2, after["analysis.y"])
    assert.is_nil(vars["result.call_id"])
  end)

  it("know date and time in the bot's zone, anew each time", function()
    local clock = pure.install() -- 2026-04-24 09:00 UTC
    local vars = variables.renew({}, "Asia/Kolkata")
    assert.equal("2026-04-24 14:30:00", vars["system.current_datetime"])
    clock.ms = clock.ms + 10 * 3600 * 1000
    variables.renew(vars, "Asia/Kolkata")
    assert.same({ "2026-04-25", "00:30", "Asia/Kolkata" },
      { vars["system.current_date"], vars["system.current_time"], vars["system.timezone"] })
    assert.equal("UTC", variables.renew({}, "Mars/Olympus")["system.timezone"])
  end)
end)
