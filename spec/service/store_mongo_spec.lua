-- cxb.mongo as scripts see it, against a Mongo-wire server.
-- area: api

local json = require "cxb.json"
local MongoServer = require "support.mongo_server"
local World = require "support.world"

local array = json.array

-- ordered("k", v, ...): what the program says itself, in this order.
local function ordered(...)
  local out, items = {}, { ... }
  for i = 1, select("#", ...), 2 do out[#out + 1] = { items[i], items[i + 1] } end
  return setmetatable(out, { __name = "mongo.own" })
end

local function date(ms) return setmetatable({ ms }, { __name = "mongo.date" }) end

describe("cxb.mongo", function()
  local world, server, client, db

  setup(function()
    world = World.new()
    server = MongoServer.new(world):start()
  end)

  teardown(function()
    world:close()
  end)

  before_each(function()
    client = assert(cxb.mongo.open(server.uri))
    db = server:env().MONGODB_DB
  end)

  after_each(function()
    client:run(db, ordered("dropDatabase", 1))
    client:close()
  end)

  local function insert(...)
    return assert(client:run(db, ordered("insert", "things", "documents", array { ... },
      "ordered", false)))
  end

  local function find(filter)
    return assert(client:list(db, ordered("find", "things", "filter", filter or ordered(),
      "sort", ordered("_id", 1), "batchSize", 2)))
  end

  it("gives every value back as it was", function()
    local doc = {
      _id = "a", whole = 2 ^ 53, negative = -2 ^ 53, half = -0.5, third = 1 / 3, yes = true,
      no = false, text = "a\0ü", null = json.null, at = date(1777021200123), list = { 1, { 2, { 3, array() } } },
      nested = { list = array(), object = {}, deep = { { x = 1 } } },
    }
    assert.equal(1, insert(doc).n)
    doc.at = 1777021200123
    local back = find()[1]
    assert.same(doc, back)
    assert.is_true(json.is_array(back.list[2][2][2]))
    assert.is_true(json.is_array(back.nested.list))
    assert.is_false(json.is_array(back.nested.object))
  end)

  it("keeps keys that a Mongo wire has other uses for", function()
    local doc = { _id = "a", o = {
      ["a.b"] = 1, ["$set"] = 2, ["%2E"] = 3, ["100%"] = 4, ["x$"] = 5, ["\0"] = 6,
      ["ü"] = { ["."] = 7 }, ["%L"] = { 8 },
    } }
    insert(doc)
    assert.same(doc, find()[1])
    insert({ _id = "b", o = json.object({ { "$z", 1 }, { "a.", json.object({}) } }) })
    assert.same({ ["$z"] = 1, ["a."] = {} }, find()[2].o)
  end)

  it("refuses what BSON cannot hold", function()
    for _, value in ipairs({ 0 / 0, math.huge, print, coroutine.create(print) }) do
      assert.has_error(function() client:run(db, ordered("ping", value)) end)
    end
    local deep = {}
    deep.deep = deep
    assert.has_error(function() client:run(db, ordered("ping", deep)) end)
  end)

  it("orders by dates as times", function()
    insert({ _id = "a", at = date(2000) }, { _id = "b", at = date(1000) })
    assert.equal("a", find(ordered("at", ordered("$gt", date(1000))))[1]._id)
  end)

  it("fetches every batch of a cursor", function()
    local docs = array()
    for i = 1, 250 do docs[i] = { _id = ("%03d"):format(i) } end
    insert(unpack(docs))
    local back = find()
    assert.equal(250, #back)
    assert.equal("250", back[250]._id)
  end)

  it("tells a broken unique key from a wrong command", function()
    insert({ _id = "a" })
    local reply = insert({ _id = "a" }, { _id = "b" })
    assert.same({ 1, 11000, 0 }, { reply.n, reply.writeErrors[1].code, reply.writeErrors[1].index })
    local ok, code, message, answer = client:run(db, ordered("noSuchCommand", 1))
    assert.is_nil(ok)
    assert.equal("server", code)
    assert.is_string(message)
    assert.equal(59, answer.code)
  end)

  it("refuses an address that is none, without repeating it", function()
    local none, code, message = cxb.mongo.open("mongodb://user:secret@/:x")
    assert.is_nil(none)
    assert.equal("invalid", code)
    assert.is_nil(message:find("secret", 1, true))
  end)

  it("is unavailable while nobody answers, and only the first waits long", function()
    local away = assert(cxb.mongo.open(("mongodb://127.0.0.1:%d/?serverSelectionTimeoutMS=300")
      :format(world:port())))
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = cxb.task.spawn("ask", function()
        return { away:run(db, ordered("ping", 1)) }
      end)
    end
    for i = 1, 20 do
      assert.equal("unavailable", tasks[i]:wait(30000)[2])
    end
    away:close()
  end)
end)
