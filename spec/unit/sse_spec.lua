require("spec.support.pure")
local sse = require("cxb.sse")

local function read(pieces)
  local events = {}
  local parser = sse.new(function(data, event)
    events[#events + 1] = { event, data }
    return true
  end)
  for _, piece in ipairs(pieces) do
    assert.is_true(parser:feed(piece))
  end
  assert.is_true(parser:finish())
  return events
end

describe("an event stream", function()
  local text = "\239\187\191: hello\r\ndata: one\r\ndata:two\r\rid: 7\nevent: add\ndata: {\"a\": 1}\n\n"
    .. "data\n\nretry: 10\n\ndata:  last"
  local expected = { { "message", "one\ntwo" }, { "add", '{"a": 1}' }, { "message", "" },
    { "message", " last" } }

  it("is read the same wherever its bytes are cut", function()
    assert.same(expected, read({ text }))
    for size = 1, 9 do
      local pieces = {}
      for at = 1, #text, size do
        pieces[#pieces + 1] = text:sub(at, at + size - 1)
      end
      assert.same(expected, read(pieces))
    end
  end)

  it("ends where the reader says so", function()
    local parser = sse.new(function(data)
      if data == "bad" then
        return nil, "bad_response", "no JSON"
      end
      return true
    end)
    assert.is_true(parser:feed("data: good\n\n"))
    assert.same({ nil, "bad_response", "no JSON" }, { parser:feed("data: bad\n\n") })
  end)

  it("with a line that never ends is refused", function()
    local parser = sse.new(function() return true end)
    local ok, code = true, nil
    for _ = 1, 40 do
      ok, code = parser:feed(("x"):rep(32768))
      if not ok then break end
    end
    assert.same({ nil, "bad_response" }, { ok, code })
  end)
end)
