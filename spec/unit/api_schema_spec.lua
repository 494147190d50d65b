local json = require("cxb.json")
local schema = require("cxb.schema")

local bot = {
  type = "object",
  required = { "name" },
  properties = {
    name = { type = "string", minLength = 1, maxLength = 5 },
    level = { type = "integer", minimum = 0, maximum = 10, default = 3 },
    kind = { type = "string", enum = { "browser", "phone" } },
    since = { type = "string", format = "time" },
    note = { type = "string", nullable = true },
    tags = { type = "array", items = { type = "string" }, maxItems = 2 },
    more = { type = "object", additionalProperties = { type = "number" } },
    free = { type = "object", additionalProperties = true, default = {} },
  },
}

local function paths(fields)
  local out = {}
  for i, field in ipairs(fields or {}) do
    out[i] = field.path .. ":" .. field.rule
  end
  return table.concat(out, " ")
end

describe("schema", function()
  it("names every bad field at once, in order", function()
    local kept, fields = schema.check(bot, {
      level = 11, kind = "fax", since = "noon", tags = { "a", 2 }, more = { x = "y" }, other = 1,
    })
    assert.is_nil(kept)
    assert.equal("kind:enum level:range more.x:type name:required other:unknown_field since:format"
      .. " tags[1]:type", paths(fields))
  end)

  it("fills in defaults that requests do not share", function()
    local one, two = schema.check(bot, { name = "a" }), schema.check(bot, { name = "b" })
    assert.equal(3, one.level)
    one.free.x = 1
    assert.is_nil(two.free.x)
  end)

  it("makes milliseconds of times", function()
    local kept = schema.check(bot, { name = "a", since = "2026-04-24T09:00:00Z" })
    assert.equal(1777021200000, kept.since)
  end)

  it("counts characters, not bytes", function()
    assert.truthy(schema.check(bot, { name = "नमस्ते" }) == nil)
    assert.truthy(schema.check(bot, { name = "मदन" }))
  end)

  it("takes only UTF-8 without NUL for text", function()
    for _, name in ipairs({ "a\0b", "\255", "\192\128", "\237\160\128", "\240\159\152" }) do
      assert.equal("name:format", paths(select(2, schema.check(bot, { name = name }))))
    end
    assert.truthy(schema.check(bot, { name = "é😀" }))
  end)

  it("tells a list from an object and null from absent", function()
    local null = require("cxb.json").null
    assert.equal("more:type tags:type", paths(select(2, schema.check(bot,
      { name = "a", tags = { x = 1 }, more = { 1 } }))))
    assert.equal(null, schema.check(bot, { name = "a", note = null }).note)
    assert.equal("level:type", paths(select(2, schema.check(bot, { name = "a", level = null }))))
    assert.equal("name:required name:type", paths(select(2, schema.check(bot, { name = null }))))
  end)

  it("refuses numbers that are not finite and integers that are not whole", function()
    assert.equal("level:type", paths(select(2, schema.check(bot, { name = "a", level = 1.5 }))))
    assert.equal("more.x:type", paths(select(2, schema.check(bot,
      { name = "a", more = { x = 0 / 0 } }))))
  end)

  it("reads the text of a query by the wanted type", function()
    local list = {
      type = "object",
      properties = {
        limit = { type = "integer", minimum = 1, maximum = 200, default = 50 },
        done = { type = "boolean" },
        from = { type = "string", format = "time" },
      },
    }
    assert.same({ limit = 7, done = true },
      schema.check_query(list, { limit = "7", done = "true" }))
    assert.equal("limit:type", paths(select(2, schema.check_query(list, { limit = "x" }))))
    assert.equal("limit:range q:unknown_field", paths(select(2, schema.check_query(list,
      { limit = "0", q = "x" }))))
  end)

  it("reads a query's time also when the + of its zone came as a blank", function()
    local list = { type = "object", properties = { from = { type = "string", format = "time" } } }
    local encoded = schema.check_query(list, { from = "2026-11-26T23:30:00+05:30" })
    assert.same(encoded, schema.check_query(list, { from = "2026-11-26T23:30:00 05:30" }))
    assert.equal("from:format", paths(select(2, schema.check_query(list,
      { from = "2026-11-26 23:30" }))))
  end)

  it("says large bounds in digits", function()
    local limit = { type = "object", properties = { n = { type = "integer", minimum = 1,
      maximum = 10000000 } } }
    local _, fields = schema.check(limit, { n = 0 })
    assert.equal("1 to 10000000", fields[1].message)
  end)

  it("checks one property by itself", function()
    assert.equal("x", schema.check_property(bot, "name", "x"))
    local _, field = schema.check_property(bot, "tags", { 1 })
    assert.equal("tags[0]", field.path)
  end)

  it("as a patch asks for nothing, adds nothing and takes null as the way back", function()
    local kept = schema.check(schema.partial(bot), { level = json.null })
    assert.same({ level = json.null }, kept)
    assert.equal("level:range", paths(select(2, schema.check(schema.partial(bot), { level = 11 }))))
    assert.equal("name:type",
      paths(select(2, schema.check(schema.partial(bot), { name = json.null }))))
  end)

  it("has a last word on a value of the right shape", function()
    local even = { type = "integer", rule = function(n)
      return n % 2 == 1 and "must be even" or nil
    end }
    assert.equal(4, schema.check(even, 4))
    assert.same({ { path = "", rule = "rule", message = "must be even" } },
      select(2, schema.check(even, 3)))
  end)

  it("lets out of an answer what it lists, times in RFC 3339, empty lists as lists", function()
    local shown = schema.shape({
      type = "object",
      properties = {
        at = { type = "string", format = "time" }, tags = { type = "array" },
        items = { type = "array", items = bot }, free = { type = "object",
          additionalProperties = true },
      },
    }, { at = 1777021200000, tags = {}, free = { x = 1 }, password_hash = "h",
      items = { { name = "a", since = 1777021200000, hash = "h" } } })
    assert.equal('{"at":"2026-04-24T09:00:00.000Z","free":{"x":1},"items":[{"name":"a",'
      .. '"since":"2026-04-24T09:00:00.000Z"}],"tags":[]}', json.encode(shown, true))
  end)

  it("shows a stored document's _id as its id, where an answer lists one", function()
    local listed = { type = "object", properties = { id = { type = "string" },
      n = { type = "integer" } } }
    assert.same({ id = "x", n = 1 }, schema.shape(listed, { _id = "x", n = 1 }))
    assert.same({ id = "own" }, schema.shape(listed, { _id = "x", id = "own" }))
    assert.same({ n = 1 }, schema.shape({ type = "object",
      properties = { n = { type = "integer" } } }, { _id = "x", n = 1 }))
  end)

  it("is published in the words of JSON Schema", function()
    assert.same({
      type = "object", required = { "name" }, additionalProperties = false,
      properties = {
        name = { type = "string", minLength = 1, maxLength = 5 },
        since = { type = "string", format = "date-time" },
        note = { type = { "string", "null" } },
        tags = { type = "array", items = { type = "string" }, default = {} },
      },
    }, schema.published({
      type = "object", required = { "name" },
      properties = {
        name = { type = "string", minLength = 1, maxLength = 5 },
        since = { type = "string", format = "time" },
        note = { type = "string", nullable = true },
        tags = { type = "array", items = { type = "string" }, default = {} },
      },
    }))
  end)
end)
