require("spec.support.pure")
local arguments = require("cxb.arguments")
local json = require("cxb.json")

local schema = json.decode([[{
  "type": "object", "required": ["account", "items"], "additionalProperties": false,
  "properties": {
    "account": {"type": "string", "minLength": 2, "maxLength": 4},
    "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
    "kind": {"enum": ["a", "b"]}, "fixed": {"const": 5}, "on": {"type": "boolean"},
    "either": {"anyOf": [{"type": "string"}, {"type": "number"}]}, "both": {"type": ["string", "null"]},
    "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    "items": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "object", "required": ["id"],
      "properties": {"id": {"type": "number"}}}},
    "more": {"type": "object", "additionalProperties": {"type": "integer"}}
  }}]])

local function bad(changes)
  local value = { account = "4711", items = json.decode('[{"id":1}]') }
  for name, item in pairs(changes) do
    if item == "nil" then item = nil end
    value[name] = item
  end
  return arguments.check(schema, value)
end

describe("arguments of a tool", function()
  it("that fit their schema pass", function()
    assert.is_nil(bad({}))
    assert.is_nil(bad({ account = "äöüß", count = 9, kind = "b", fixed = 5, on = false, either = 3,
      both = json.null, address = { city = "Pune", street = "x" }, more = { x = 1 } }))
  end)

  it("that do not are told by the path of the first that is wrong", function()
    local cases = {
      account = { [{ account = "nil" }] = true, [{ account = 4711 }] = true, [{ account = "1" }] = true,
        [{ account = "12345" }] = true, [{ account = json.null }] = true },
      count = { [{ count = 0 }] = true, [{ count = 10 }] = true, [{ count = 1.5 }] = true, [{ count = "3" }] = true },
      kind = { [{ kind = "c" }] = true }, fixed = { [{ fixed = 4 }] = true }, on = { [{ on = "yes" }] = true },
      either = { [{ either = true }] = true }, ["address.city"] = { [{ address = {} }] = true },
      ["items.0.id"] = { [{ items = json.decode('[{"id":"1"}]') }] = true },
      items = { [{ items = json.array() }] = true, [{ items = "x" }] = true,
        [{ items = json.decode('[{"id":1},{"id":2},{"id":3}]') }] = true },
      ["more.x"] = { [{ more = { x = "1" } }] = true }, other = { [{ other = 1 }] = true },
    }
    for path, changes in pairs(cases) do
      for change in pairs(changes) do
        assert.equal(path, bad(change), json.encode(change))
      end
    end
  end)

  it("may be null where they may be left out", function()
    assert.is_nil(bad({ count = json.null, address = json.null, kind = json.null }))
  end)

  it("of a schema that says nothing pass whatever they are", function()
    assert.is_nil(arguments.check({}, { a = { b = 1 } }))
    assert.is_nil(arguments.check({ type = "object", properties = { a = true } }, { a = 1 }))
  end)
end)
