local api = require("spec.support.api")
local json = require("cxb.json")

local collections = {
  things = {
    prefix = "th",
    fields = { name = "s", rank = "i?", at = "t", ["box.size"] = "i?" },
    unique = { { "owner", "name" } },
    indexes = { { "-at" }, { "rank" }, { "box.size" } },
  },
}

describe("the document store", function()
  local store, serial

  before_each(function()
    api.install()
    api.now, serial = 1000, 0
    store = api.store(collections)
  end)

  after_each(api.restore)

  local function put(fields)
    serial = serial + 1
    local doc = { owner = "o", name = "n" .. serial, at = serial }
    for key, value in pairs(fields or {}) do
      doc[key] = value
    end
    return assert(store:insert("things", doc))
  end

  local function names(docs)
    local out = {}
    for i, doc in ipairs(docs) do
      out[i] = doc.name
    end
    return table.concat(out, " ")
  end

  it("gives back what was inserted, with its own fields", function()
    local doc = put({ list = json.array(), map = { a = { 1, 2, { b = true } } }, text = 'q"é' })
    local got = store:get("things", doc._id)
    assert.truthy(doc._id:match("^th_%x+$"))
    assert.same({ v = 1, created_at = 1000, updated_at = 1000 },
      { v = got.v, created_at = got.created_at, updated_at = got.updated_at })
    assert.equal('{"a":[1,2,{"b":true}]}', json.encode(got.map))
    assert.equal("[]", json.encode(got.list))
    assert.equal('q"é', got.text)
  end)

  it("says not_found for an id nobody has", function()
    local doc, err = store:get("things", "th_0")
    assert.is_nil(doc)
    assert.equal("not_found", err.code)
  end)

  it("names the unique key of a duplicate", function()
    put({ _id = "a", name = "x" })
    local _, err = store:insert("things", { owner = "o", name = "x", at = 1 })
    assert.same({ "duplicate", "owner,name" }, { err.code, err.key })
    _, err = store:insert("things", { _id = "a", owner = "o", name = "y", at = 1 })
    assert.same({ "duplicate", "_id" }, { err.code, err.key })
  end)

  it("filters by equality, set, range, presence, prefix and alternatives", function()
    put({ rank = 1, on = true })
    put({ rank = 2, on = false })
    put({ box = { size = 7 } })
    put({ name = "other", rank = 4 })
    local function find(filter)
      return names(store:find("things", filter, { sort = { "at" } }))
    end
    assert.equal("n1", find({ rank = 1 }))
    assert.equal("n1", find({ on = true }))
    assert.equal("n2", find({ on = false }))
    assert.equal("n3", find({ ["box.size"] = 7 }))
    assert.equal("n1 other", find({ rank = { ["in"] = { 1, 4 } } }))
    assert.equal("", find({ rank = { ["in"] = {} } }))
    assert.equal("n2 n3 other", find({ rank = { ne = 1 } }))
    assert.equal("n2 other", find({ rank = { gt = 1, lte = 4 } }))
    assert.equal("n3", find({ rank = { exists = false } }))
    assert.equal("n1 n2 n3", find({ name = { prefix = "n" } }))
    assert.equal("n1 other", find({ any_of = { { rank = 1 }, { name = "other" } } }))
    assert.equal("other", find({ owner = "o", any_of = { { name = "other" }, { rank = 9 } } }))
  end)

  it("takes a client's text for text, whatever it looks like", function()
    put({ name = "x' OR 1=1 --" })
    assert.equal(1, store:count("things", { name = "x' OR 1=1 --" }))
    assert.equal(0, store:count("things", { name = "' OR 1=1 --" }))
    assert.has_error(function()
      store:find("things", { ["name') OR 1=1"] = 1 })
    end)
    assert.has_error(function()
      store:find("things", { name = { ["$gt"] = "" } })
    end)
  end)

  it("pages through equal and absent sort values without a gap or a repeat", function()
    for i = 1, 23 do
      put({ rank = i % 4 > 0 and i % 4 or nil, at = math.floor(i / 5) })
    end
    for _, sort in ipairs({ { "rank" }, { "-rank" }, { "-at" }, { "at", "-rank" }, { "-name" } }) do
      local whole = names(store:find("things", {}, { sort = sort, limit = 100 }))
      local pages, cursor = {}, nil
      repeat
        local docs
        docs, cursor = store:find("things", {}, { sort = sort, limit = 4, after = cursor })
        pages[#pages + 1] = names(docs)
      until not cursor
      assert.equal(whole, table.concat(pages, " "), sort[1])
      assert.equal(6, #pages)
    end
  end)

  it("keeps a page stable when newer documents arrive", function()
    for _ = 1, 4 do
      put()
    end
    local first, cursor = store:find("things", {}, { sort = { "-at" }, limit = 2 })
    put()
    local second = store:find("things", {}, { sort = { "-at" }, limit = 2, after = cursor })
    assert.equal("n4 n3", names(first))
    assert.equal("n2 n1", names(second))
  end)

  it("refuses a cursor of another list", function()
    put()
    put()
    local _, cursor = store:find("things", {}, { sort = { "-at" }, limit = 1 })
    for _, after in ipairs({ "x", "", "!!", cursor .. "A" }) do
      local _, err = store:find("things", {}, { sort = { "rank" }, after = after })
      assert.equal("bad_cursor", err.code)
    end
    assert.equal("bad_cursor", select(2, store:find("things", {}, { sort = { "at" },
      after = cursor })).code)
  end)

  it("answers only the fields asked for", function()
    put({ rank = 3, big = ("x"):rep(100) })
    local doc = store:find("things", {}, { fields = { "rank", "missing" } })[1]
    assert.same({ 3, nil, 1 }, { doc.rank, doc.big, doc.v })
    assert.is_nil(doc.name)
    assert.is_nil(doc.missing)
  end)

  it("sets, removes, adds and appends in one step", function()
    local doc = put({ rank = 1, old = "x", log = { "a" } })
    api.now = 2000
    local changed = assert(store:update("things", doc._id, {
      set = { name = "new", ["deep.er.path"] = { 1 }, on = false },
      unset = { "old" }, inc = { rank = 2, hits = 1 }, push = { log = { b = 1 }, fresh = "f" },
    }))
    assert.same({ "new", nil, 3, 1, 2, 2000, 1000, false },
      { changed.name, changed.old, changed.rank, changed.hits, changed.v, changed.updated_at,
        changed.created_at, changed.on })
    assert.equal('[{"b":1}]', json.encode({ changed.log[2] }))
    assert.same({ "f" }, changed.fresh)
    assert.same({ 1 }, changed.deep.er.path)
    assert.equal("new", store:find("things", { rank = 3 })[1].name)
  end)

  it("sets more fields at once than one SQL function takes", function()
    local doc, set = put(), {}
    for i = 1, 130 do
      set["f" .. i] = i
    end
    local changed = assert(store:update("things", doc._id, { set = set }))
    assert.equal(130, changed.f130)
    assert.equal(1, changed.f1)
  end)

  it("updates only a document that is as expected", function()
    local doc = put({ rank = 1 })
    assert.truthy(store:update("things", doc._id, { set = { rank = 2 } }, { expect = { v = 1 } }))
    local _, err = store:update("things", doc._id, { set = { rank = 3 } }, { expect = { v = 1 } })
    assert.equal("conflict", err.code)
    assert.equal(2, store:get("things", doc._id).rank)
    _, err = store:update("things", "gone", { set = { rank = 3 } }, { expect = { v = 1 } })
    assert.equal("not_found", err.code)
  end)

  it("does not let a caller write what the store keeps", function()
    local doc = put()
    assert.has_error(function()
      store:update("things", doc._id, { set = { v = 9 } })
    end)
  end)

  it("upserts by a declared unique key and tells whether it made the document", function()
    local key = { owner = "o", name = "x" }
    local one, created = store:upsert("things", key, { set = { rank = 1 }, on_insert = { at = 5 } })
    assert.is_true(created)
    local two, again = store:upsert("things", key, { set = { rank = 2 }, on_insert = { at = 6 } })
    assert.is_false(again)
    assert.same({ one._id, 2, 5, 2 }, { two._id, two.rank, two.at, two.v })
    local three, fresh = store:upsert("things", key, { on_insert = { at = 7 } })
    assert.is_false(fresh)
    assert.same({ 2, 5 }, { three.v, three.at })
    assert.has_error(function()
      store:upsert("things", { rank = 1 }, {})
    end)
  end)

  it("upserts by id", function()
    local doc, created = store:upsert("things", { _id = "k" },
      { set = { rank = 1, name = "k", at = 1 } })
    assert.same({ "k", true }, { doc._id, created })
    doc, created = store:upsert("things", { _id = "k" }, { set = { rank = 2 } })
    assert.same({ 2, false, 1 }, { doc.rank, created, store:count("things", {}) })
  end)

  it("stops counting at max", function()
    for _ = 1, 5 do
      put({ rank = 1 })
    end
    assert.equal(5, store:count("things", { rank = 1 }))
    assert.equal(3, store:count("things", {}, { max = 3 }))
  end)

  it("adds columns and indexes that a newer version declares", function()
    local older = { things = { prefix = "th", fields = { name = "s" }, indexes = { { "name" } } } }
    local first = api.store(older)
    assert(first:insert("things", { owner = "o", name = "x", at = 3, rank = 5 }))
    local newer = api.store(collections, first.path)
    assert.equal("x", newer:find("things", { rank = 5 }, { sort = { "-at" } })[1].name)
    assert.equal("x", api.store(collections, first.path):find("things", { rank = 5 })[1].name)
  end)
end)
