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
      '"\\ud800"', "[1,]", "{'a':1}", "// x\n1", "01" }) do
      local value, code, _, offset = json.decode(text)
      assert.same({ nil, "bad_json", "number" }, { value, code, type(offset) }, text)
    end
    assert.equal("é😀", json.decode('"\\u00e9\\ud83d\\ude00"'))
    assert.equal(9007199254740991, json.decode("9007199254740991"))
    assert.equal(0.1, json.decode("0.1"))
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
