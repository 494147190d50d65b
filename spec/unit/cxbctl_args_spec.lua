describe("cxbctl's command line", function()
  local args = require("cxbctl.args")

  local verb = {
    summary = "starts",
    example = "cxbctl start --workers 2",
    options = {
      { name = "workers", value = "N", type = "int", min = 1, max = 512, default = 4, help = "how many" },
      { name = "wav", value = "F", many = true, help = "files" },
      { name = "transport", value = "T", choices = { "cxb", "twilio" }, default = "cxb", help = "wire" },
      { name = "now", help = "at once" },
    },
  }
  local function parse(...) return args.parse(verb, { "start", ... }, 2) end

  it("gives defaults, and lists of what may be given often", function()
    local options, rest = parse("--wav", "a.wav", "core", "--wav=b.wav")
    assert.same({ workers = 4, transport = "cxb", wav = { "a.wav", "b.wav" } }, options)
    assert.same({ "core" }, rest)
  end)

  it("knows --json and --help for every verb", function()
    local options = parse("--json", "-h", "--now")
    assert.is_true(options.json and options.help and options.now)
  end)

  it("names an option it does not know", function()
    local options, _, why = parse("--worker", "3")
    assert.is_nil(options)
    assert.equal("--worker is not an option here", why)
  end)

  it("names option, value and rule of a bad value", function()
    for value, rule in pairs({ ["0"] = "whole number from 1 to 512", ["2.5"] = "whole number",
      ["x"] = "whole number", ["513"] = "from 1 to 512" }) do
      local _, _, why = parse("--workers", value)
      assert.matches("--workers is \"" .. value .. "\"", why, 1, true)
      assert.matches(rule, why, 1, true)
    end
    local _, _, why = parse("--transport", "sip")
    assert.equal('--transport is "sip": expected one of cxb, twilio', why)
  end)

  it("asks for a missing value", function()
    local _, _, why = parse("--workers")
    assert.equal("--workers needs N", why)
  end)

  it("writes help with every option, its default and an example", function()
    local text = args.help("start", verb)
    for _, part in ipairs({ "--workers N", "(4)", "--now", "--json", "example: cxbctl start" }) do
      assert.matches(part, text, 1, true)
    end
  end)
end)
