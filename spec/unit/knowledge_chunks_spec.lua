local chunks = require("services.knowledge.chunks")
local text = require("cxb.text")

describe("a document's pieces", function()
  local words = { "water", "é", "नमस्ते", "12.5", "end.", "so,\n", "part\n\n", "longerwordinhere" }

  local function random_text(n)
    local out = {}
    for i = 1, n do
      out[i] = i .. words[math.random(#words)]
    end
    return chunks.tidy(table.concat(out, " "))
  end

  it("are no longer than asked, overlap, and leave nothing out", function()
    math.randomseed(7)
    for _ = 1, 60 do
      local whole = random_text(math.random(1, 900))
      local size = math.random(30, 400)
      local overlap = math.random(0, math.floor(size / 3))
      local at = 1
      for i, piece in ipairs(chunks.split(whole, size, overlap)) do
        assert.is_true(text.length(piece) <= size)
        local first, last = whole:find(piece, i == 1 and 1 or math.max(1, at - overlap * 4 - 20), true)
        assert.truthy(first, piece)
        assert.is_nil(whole:sub(at, first - 1):find("%S"))
        at = math.max(at, last + 1)
      end
      assert.is_nil(whole:sub(at):find("%S"))
    end
  end)

  it("end at a paragraph, else a line, a sentence, a word, if that is past half", function()
    local function first(whole, size)
      return chunks.split(whole, size, 0)[1]
    end
    assert.equal("aaaa bbbb. cccc", first("aaaa bbbb. cccc\n\ndddd eeee. ffff", 20))
    assert.equal("aaaa bbbb. cccc", first("aaaa bbbb. cccc\ndddd eeee. ffff", 20))
    assert.equal("aaaa bbbb cc.", first("aaaa bbbb cc. dddd eeee ffff", 20))
    assert.equal("aa. bbbb cccc dddd", first("aa. bbbb cccc dddd eeee ffff", 20))
    assert.equal(("a"):rep(20), first(("a"):rep(50), 20))
    assert.equal("कखग घङच।", first("कखग घङच। छजझ टठड ढणत थदध", 11))
  end)

  it("overlap by whole words", function()
    local pieces = chunks.split("one two three four five six seven eight nine ten", 20, 8)
    assert.same({ "one two three four", "four five six seven", "seven eight nine ten" }, pieces)
  end)

  it("of a text that is mostly blanks are few", function()
    assert.equal("a\n\nb c", chunks.tidy(" \r\n a \f\n\n\n  b \t c\n \n"))
    assert.same({}, chunks.split(chunks.tidy("  \n "), 100, 10))
    assert.equal("à\nà", chunks.tidy("à\nà"))
  end)
end)
