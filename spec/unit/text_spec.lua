require("spec.support.pure")
local text = require("cxb.text")
local numbers = require("cxb.numbers")

describe("words", function()
  it("are lower case, without punctuation and apostrophes, in any script", function()
    assert.same({ "im", "its", "no", "5", "naïve", "नमस्ते", "आप", "ok" },
      text.words("I'm — it’s No.5 naïve, नमस्ते।आप॥ (OK)\n"))
    assert.same({}, text.words(" ,.'’ "))
  end)

  it("can be had each once, in order, so many at most, none too long", function()
    assert.same({ "a", "b", "c" }, text.distinct_words("a b A\ntoolong b c d", 3, 6))
    local words, expected = {}, {}
    for i = 1, 2000 do
      words[i] = "W" .. i % 700
      expected[i] = i <= 512 and "w" .. i % 700 or nil
    end
    assert.same(expected, text.distinct_words(table.concat(words, " "), 512, 6))
  end)
end)

describe("different words", function()
  it("are the words that were not there yet, whatever stands beside them", function()
    local parts = { "a", "B", "zz", "'", "’", " ", " ", "`", "@", "[", "{", "0", "9", "/", ":", "P",
      "\16", "\25", "é", "क", "।", "ª", "«", "\0", "word", "longerword", "eightchr", "~", "\127" }
    for _ = 1, 2000 do
      local source, seen, expected = {}, {}, {}
      for i = 1, math.random(0, 40) do
        source[i] = parts[math.random(#parts)]
      end
      source = table.concat(source)
      for _, word in ipairs(text.words(source)) do
        if not seen[word] and #word <= 12 and #expected < 9 then
          seen[word] = true
          expected[#expected + 1] = word
        end
      end
      assert.same(expected, text.distinct_words(source, 9, 12), source)
    end
  end)
end)

describe("words heard", function()
  it("are cut at a word boundary by share of time", function()
    assert.equal("Hello, this is", text.heard("Hello, this is Asha speaking.", 1000, 1900))
    assert.equal("", text.heard("Hello", 10, 1000))
    assert.equal("Hello there", text.heard("Hello there", 1000, 1000))
  end)
end)

describe("words heard by the voice's own times", function()
  local timed = { { start_ms = 0, end_ms = 400 }, { start_ms = 400, end_ms = 800 },
    { start_ms = 900, end_ms = 1300 } }

  it("count when half of them was heard", function()
    assert.equal("", text.heard_by_words("Hello there, Asha.", timed, 199))
    assert.equal("Hello", text.heard_by_words("Hello there, Asha.", timed, 250))
    assert.equal("Hello there,", text.heard_by_words("Hello there, Asha.", timed, 1000))
    assert.equal("Hello there, Asha.", text.heard_by_words("Hello there, Asha.", timed, 1100))
  end)

  it("are taken by share when the voice counts words otherwise", function()
    assert.equal("It costs Rs.", text.heard_by_words("It costs Rs. 500", timed, 700))
  end)
end)

describe("text", function()
  it("is limited at a word and never inside a character", function()
    assert.equal("one two", (text.limit("one two three", 9)))
    assert.equal("caf", (text.limit("caf\195\169", 4)))
    assert.equal("short", (text.limit("short", 2000)))
  end)

  it("is limited in characters, whatever bytes they have", function()
    assert.equal("नमस्ते जी", (text.limit_characters("नमस्ते जी कैसे हैं", 11)))
    assert.equal("नमस्ते", (text.limit_characters("नमस्ते", 6)))
    assert.equal("one two", (text.limit_characters("one two three", 9)))
    assert.equal(6, text.length("नमस्ते"))
  end)

  it("knows how alike words are, by letters and by sound", function()
    assert.equal(1, text.likeness("hours", "hours"))
    assert.truthy(text.likeness("transfer", "transfur") > 0.8)
    assert.truthy(text.likeness("phone", "fone") >= 0.6)
    assert.truthy(text.likeness("account", "acount") > 0.8)
    assert.truthy(text.likeness("agent", "window") < 0.5)
    assert.equal(0, text.likeness("no", "now"))
  end)
end)

describe("digits", function()
  local cases = {
    ["one two three four"] = "1234",
    ["My account number is 4 2 1 7."] = "4217",
    ["It's 4-2-1-7, thanks"] = "4217",
    ["four two one seven double oh eight"] = "4217008",
    ["triple nine one"] = "9991",
    ["to too for ate"] = "2248",
    ["one to three for five"] = "12345",
    ["won two tree fore"] = "1234",
    ["forty two seventeen"] = "4217",
    ["twenty one, um, and thirty"] = "2130",
    ["oh one oh two"] = "0102",
    ["change it to one two three"] = "123",
    ["one two three for my mother"] = "123",
    ["1,234,567"] = "1234567",
    ["I would like to go for lunch"] = "",
    ["hello"] = "",
    [""] = "",
    ["no it is three three three"] = "333",
    ["zero zero seven"] = "007",
    ["seven eight ate"] = "788",
    ["5 6, 7 8."] = "5678",
  }
  for said, expected in pairs(cases) do
    it(("of %q are %q"):format(said, expected), function()
      assert.equal(expected, numbers.digits(said))
    end)
  end

  it("are read back in groups and understood again", function()
    assert.equal("four two one, seven", numbers.spell("4217"))
    assert.equal("4217009", numbers.digits(numbers.spell("4217009")))
  end)
end)
