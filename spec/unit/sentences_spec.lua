require("spec.support.pure")
local sentences = require("cxb.sentences")

-- Every way to cut the text into pieces of `size` bytes gives the same sentences.
local function in_pieces(text, size)
  local cutter, out = sentences.new(), {}
  for at = 1, #text, size do
    for _, sentence in ipairs(cutter:push(text:sub(at, at + size - 1))) do
      out[#out + 1] = sentence
    end
  end
  for _, sentence in ipairs(cutter:finish()) do
    out[#out + 1] = sentence
  end
  return out
end

describe("sentences", function()
  it("are cut at their ends, whole numbers and abbreviations kept", function()
    assert.same({ "It costs 1.50 at Dr. Smith's.", "Come at 9 a.m. or later!", "Will you come?" },
      sentences.cut("It costs 1.50 at Dr. Smith's.  Come at 9 a.m. or later! Will you come?"))
  end)

  it("shorter than twelve characters join the next", function()
    assert.same({ "Yes. We are open today.", "Thank you very much. Bye." },
      sentences.cut("Yes. We are open today. Thank you very much. Bye."))
    assert.same({ "जी हाँ। हम नौ बजे खुलते हैं।", "आप कब आएँगे?" },
      sentences.cut("जी हाँ। हम नौ बजे खुलते हैं। आप कब आएँगे?"))
  end)

  it("lose nothing when there is no full stop", function()
    assert.same({ "hello" }, sentences.cut("hello"))
    assert.same({}, sentences.cut("   "))
  end)

  it("are the same however the text comes in", function()
    local text = "It is Rs. 1.500 today, sir. हम दस बजे तक खुले हैं। Is that all right? Then "
      .. "we will call you (tomorrow at 9.30). Good bye now!"
    local whole = in_pieces(text, #text)
    assert.equal(5, #whole)
    for size = 1, 13 do
      assert.same(whole, in_pieces(text, size))
    end
    assert.equal(text, table.concat(whole, " "))
  end)

  it("come out as soon as they are whole", function()
    local cutter = sentences.new()
    assert.same({}, cutter:push("We are open until 9."))
    assert.same({}, cutter:push("30"))
    assert.same({ "We are open until 9.30 today." }, cutter:push(" today. And"))
    assert.same({ "And" }, cutter:finish())
  end)

  it("without an end are cut at a comma, or between words", function()
    local cutter = sentences.new()
    local clause = ("word "):rep(35) .. "end, "
    local out = cutter:push(clause .. ("more "):rep(8))
    assert.equal(clause:match("^(.-)%s*$"), out[1])
    out = sentences.new():push(("word "):rep(90))
    assert.equal(1, #out)
    assert.equal("word", out[1]:match("%a+$"))
  end)
end)
