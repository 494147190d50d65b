require("spec.support.pure")
local json = require("cxb.json")

describe("json", function()
  it("keeps empty arrays both ways", function()
    assert.equal('{"a":[]}', json.encode({ a = json.array() }))
    for _, text in ipairs({ '{"a":[]}', '{"a":[[],{}]}', "[]", '["\\"[]",[]]', '["[]",[]]',
      '["\\\\",[]]', '{"a":[1]}' }) do
      assert.equal(text, json.encode(json.decode(text)))
    end
    assert.equal("[]", json.decode('{"s":"[]","a":[ ]}').s)
    assert.is_true(json.is_array(json.decode('{"s":"\\"[]","a":[]}').a))
  end)

  it("does not mistake text that looks like its own mark", function()
    local value = json.decode('{"a":[],"b":["\\u0001empty0"],"c":"empty0 empty1"}')
    assert.same({ "\1empty0" }, value.b)
    assert.is_true(json.is_array(value.a))
  end)

  it("writes whole numbers exactly", function()
    assert.equal("1777021200123", json.encode(1777021200123))
    assert.equal("9007199254740991", json.encode(9007199254740991))
    assert.equal("0.1", json.encode(0.1))
    assert.has_error(function()
      json.encode(0 / 0)
    end)
  end)

  it("orders keys when asked and leaves out nil values", function()
    assert.equal('{"z":1,"a":{"x":null}}', json.encode(json.object({
      { "z", 1 }, { "n", nil }, { "a", { x = json.null } } })))
  end)

  it("gives equal text for equal values when asked, whatever their keys are", function()
    local value = { b = 1, a = { 1, "x" }, ["a\0b"] = true, [false] = nil }
    value[10.5] = json.null
    assert.equal('{"10.5":null,"a":[1,"x"],"a\\u0000b":true,"b":1}', json.encode(value, true))
  end)

  it("says what it cannot write, and is none the worse for it", function()
    local deep = {}
    for _ = 1, 70 do
      deep = { x = deep }
    end
    for rule, value in pairs({ inf = { a = math.huge }, ["function"] = { print },
      ["64 levels"] = deep, userdata = { io.stdout }, boolean = { [true] = 1 } }) do
      for _, sorted in ipairs({ false, true }) do
        local ok, why = pcall(json.encode, value, sorted)
        assert.is_false(ok)
        assert.matches(rule, why)
      end
    end
    assert.equal('{"a":1}', json.encode({ a = 1 }))
  end)

  it("writes text that is not UTF-8 as JSON that is", function()
    assert.equal('"a\239\191\189b\\u0001é"', json.encode("a\255b\1é"))
  end)

  it("leaves slashes alone, also after a backslash", function()
    assert.equal([["a/b\\/c"]], json.encode("a/b\\/c"))
    assert.equal("a/b\\/c", json.decode(json.encode("a/b\\/c")))
  end)

  it("embeds ready JSON", function()
    assert.equal('{"e":{"k":[]}}', json.encode({ e = json.raw('{"k":[]}') }))
  end)

  it("takes UTF-8 only, and finite numbers", function()
    for _, text in ipairs({ '"\255"', '"\192\128"', '"\237\160\128"', "1e999", "-Infinity", "[1]\0",
      '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\u00g0"', '"\\u@000"', "[1,]", "{'a':1}",
      "// x\n1", "01", "1.", ".5", "1e", "+1", "1.797693134862357e308", "-1.8e308", '{"a":1,}', '{"a"}',
      '{"a":1 "b":2}', "[,1]", "[1 2]", "nul", "truex", '"a\tb"', '"\\x"', '"\\', "\226\130" }) do
      local value, code, _, offset = json.decode(text)
      assert.same({ nil, "bad_json", "number" }, { value, code, type(offset) }, text)
    end
    assert.equal("é😀", json.decode('"\\u00e9\\ud83d\\ude00"'))
    assert.equal(9007199254740991, json.decode("9007199254740991"))
    assert.equal(0.1, json.decode("0.1"))
  end)

  it("reads each number as the nearest there is, however small", function()
    for text, value in pairs({ ["2.2250738585072014e-338"] = 0, ["0e-324"] = 0, ["2e-324"] = 0,
      ["1e-99999999999"] = 0, ["4.9406564584124654e-324"] = 2 ^ -1074,
      ["2.2250738585072014e-308"] = 2 ^ -1022, ["9007199254740993"] = 2 ^ 53,
      ["1.7976931348623157e308"] = (2 - 2 ^ -52) * 2 ^ 1023, ["1e23"] = 1e23, ["0.3e1"] = 3,
      ["123456789012345678901234567890"] = 1.2345678901234568e29,
      ["0." .. ("0"):rep(400) .. "1e401"] = 1 }) do
      assert.equal(value, json.decode(text), text)
    end
  end)

  it("takes text apart as it was put together", function()
    local parts = { "", "a", '"', "\\", "\n", "\0", "\127", "/", "é", "क", "😀", ("x"):rep(17) }
    local function text()
      local out = {}
      for i = 1, math.random(0, 9) do
        out[i] = parts[math.random(#parts)]
      end
      return table.concat(out)
    end
    local function value(depth)
      local kind = math.random(depth > 0 and 6 or 4)
      if kind == 1 then
        return text()
      elseif kind == 2 then
        return math.random() < 0.5
      elseif kind == 3 then
        return json.null
      elseif kind == 4 then
        return math.random(-2 ^ 31, 2 ^ 31) / 2 ^ math.random(0, 3)
      end
      local out = kind == 5 and json.array() or {}
      for i = 1, math.random(0, 4) do
        out[kind == 5 and i or text()] = value(depth - 1)
      end
      return out
    end
    for _ = 1, 300 do
      local given = { value(5) }
      assert.same(given, json.decode(json.encode(given)))
      assert.same(json.encode(given, true), json.encode(json.decode(json.encode(given)), true))
    end
  end)

  it("leaves opaque members as they stand and says what they are", function()
    local text = '{"a": [ {"text":"x\\u00e9\\n","n":1.50}, {"text":7}, {"text":"y","text":"z"}, [] ],'
      .. '"b":{"text":"no"},"c":[],"d":{},"e":[{"x":[{"text":"deep"}],"text":"w"},null],"f":"s",'
      .. '"g":[[1]],"h":{"a":[1]}}'
    local words = { words_of = "text", most = 9, longest = 9 }
    local opaque = { a = words, b = words, c = true, d = true, e = words, f = true, g = true }
    local value = json.decode(text, 64, opaque)
    local shapes = {}
    for name in pairs(opaque) do
      shapes[name] = json.is_raw(value[name]) and value[name].shape
    end
    assert.same({ a = "objects", b = "object", c = "empty", d = "empty", e = "list", f = false,
      g = "list" }, shapes)
    assert.equal('[ {"text":"x\\u00e9\\n","n":1.50}, {"text":7}, {"text":"y","text":"z"}, [] ]',
      json.text(value.a))
    assert.same({ { "xé", "z" }, nil, { "w" } }, { value.a.words, value.b.words, value.e.words })
    assert.same({ "s", { a = { 1 } } }, { value.f, value.h })
    assert.same(json.decode(text), json.decode(json.encode(value)))
  end)

  it("judges opaque members like all others", function()
    for _, inside in ipairs({ '[1,]', '{"x":"\255"}', '[tru]', '[1e999]', '{"x":"\\ud800"}', "[" }) do
      assert.equal("bad_json", select(2, json.decode('{"a":' .. inside .. "}", 64, { a = true })))
    end
    local deep = '{"a":' .. ("["):rep(31) .. ("]"):rep(31) .. "}"
    assert.truthy(json.decode(deep, 32, { a = true }))
    local _, code, _, offset = json.decode(deep, 31, { a = true })
    assert.same({ "too_deep", 36 }, { code, offset })
  end)

  it("goes down as many levels as it is told", function()
    local deep = ("["):rep(32) .. ("]"):rep(32)
    assert.truthy(json.decode(deep, 32))
    local _, code, _, offset = json.decode(deep, 31)
    assert.same({ "too_deep", 32 }, { code, offset })
    assert.equal("too_deep", select(2, json.decode(("["):rep(100000))))
  end)

  it("says what is wrong with bad text", function()
    for _, text in ipairs({ "", "{", "{]", '{"a":NaN}', "[1,", '"open []' }) do
      local value, code, message = json.decode(text)
      assert.is_nil(value)
      assert.equal("bad_json", code)
      assert.is_string(message)
    end
    assert.equal("bad_json", select(2, json.decode_object("[1]")))
    assert.equal("bad_json", select(2, json.decode_object("[]")))
    assert.equal("bad_json", select(2, json.decode_object('"x"')))
    assert.same({}, json.decode_object(" {} "))
  end)
end)
