-- The document store (api.md §2.1): what every back end does. Each title is run on each back end.
local json = require("cxb.json")
local stores = require("support.stores")

local collections = {
  things = {
    prefix = "th",
    fields = {
      name = "s", rank = "i?", at = "t", ["box.size"] = "i?", terms = "a?", on = "b?", kind = "s?",
      lease = "o?", ["lease.until"] = "t?",
    },
    unique = { { "owner", "name" } },
    indexes = {
      { "-at" }, { "rank" }, { "box.size" }, { "kind", "-at" }, { "terms", "-at" },
      { "lease.until" },
    },
    lists = { by = "at", words = "terms", fields = { "kind", "on", "rank", "hidden?" } },
    bulk = { "sheet", "log" },
  },
  others = {
    prefix = "ot",
    fields = { n = "i", tags = "a?" },
    unique = { { "n" } },
  },
}

-- Runs fn(i) in n tasks at once and gives back what they answered.
local function together(n, fn)
  local tasks, answers = {}, {}
  for i = 1, n do
    tasks[i] = cxb.task.spawn("racer", fn, i)
  end
  for i, task in ipairs(tasks) do
    answers[i] = task:wait()
  end
  return answers
end

for _, backend in ipairs(stores) do
describe("the document store on " .. backend.name, function()
  local store, serial, now

  before_each(function()
    if backend.skip then
      backend.skip()
    end
    now, serial = 1000, 0
    store = backend.open(collections, { now = function()
      return now
    end })
  end)

  after_each(function()
    backend.close(store)
  end)

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

  it("takes documents that are JSON already, and leaves out what exists", function()
    put({ name = "there" })
    local inserted = assert(store:insert_rows("things", json.encode({
      { "th_a", { owner = "o", name = "one", at = 5, box = { size = 3 } } },
      { "th_b", { owner = "o", name = "there", at = 6 } },
      { "th_a", { owner = "o", name = "again", at = 7 } },
    })))
    assert.equal(1, inserted)
    local got = assert(store:get("things", "th_a"))
    assert.same({ "one", 5, 3, 1, 1000 },
      { got.name, got.at, got.box.size, got.v, got.created_at })
    assert.equal(2, store:count("things", {}))
  end)

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

  it("keeps bulk fields like all others, and leaves them out when told to", function()
    local id = put({ rank = 1, sheet = { a = { 1 }, b = "é\"" }, log = json.array() })._id
    local function seen(options)
      local doc = assert(store:get("things", id, options))
      return doc.sheet and json.encode(doc.sheet, true), doc.log and json.encode(doc.log), doc.rank
    end
    assert.same({ '{"a":[1],"b":"é\\""}', "[]", 1 }, { seen() })
    assert.same({ nil, nil, 1 }, { seen({ bulk = false }) })
    local function changed(ops, options)
      local doc = assert(store:update("things", id, ops, options))
      return { doc.sheet and json.encode(doc.sheet, true), doc.log and json.encode(doc.log), doc.rank }
    end
    local log = { { n = 1 }, { n = 2 } }
    assert.same({ '{"a":[1],"b":"é\\""}', '[{"n":1},{"n":2}]', 2 },
      changed({ set = { log = log, rank = 2 } }))
    assert.same({ nil, nil, 3 }, changed({ set = { sheet = { x = {} } }, inc = { rank = 1 } },
      { bulk = false }))
    assert.same({ '{"x":{"y":7},"z":5}', '[{"n":1},{"n":2},{"n":3}]', 3 },
      changed({ set = { ["sheet.x.y"] = 7 }, inc = { ["sheet.z"] = 5 }, push = { log = { n = 3 } } }))
    assert.same({ nil, '[{"n":1},{"n":2},{"n":3}]', 3 }, changed({ unset = { "sheet" } }))
    assert.same({ '{"k":1}', nil, 3 }, changed({ set = { sheet = { k = 1 }, log = json.null } }))
    assert.same({ '{"k":1}', nil, nil }, changed({ unset = { "rank" } }, { fields = { "sheet" } }))
    assert.same({ '{"k":1}', nil, nil }, { seen() })
    assert.equal(6, store:get("things", id).v - 1)
  end)

  it("finds, leases and makes documents with bulk fields", function()
    assert.equal(2, store:insert_many("things", {
      { owner = "o", name = "a", at = 1, sheet = { n = 1 } }, { owner = "o", name = "b", at = 2 },
    }).inserted)
    assert(store:insert_rows("things", json.encode({
      { "th_c", { owner = "o", name = "c", at = 3, sheet = { n = 3 } } },
    })))
    assert.equal(3, store:update_many("things", { owner = "o" }, { set = { log = { "x" }, on = true } }))
    local doc, created = store:upsert("things", { owner = "o", name = "d" },
      { set = { sheet = { n = 4 }, log = { "x" } }, on_insert = { at = 4 } })
    assert.same({ 4, "x", true }, { doc.sheet.n, doc.log[1], created })
    doc, created = store:upsert("things", { owner = "o", name = "c" }, { set = { sheet = { n = 5 } } })
    assert.same({ 5, "x", false }, { doc.sheet.n, doc.log[1], created })
    local function sheets(docs)
      local out = {}
      for i, found in ipairs(docs) do
        out[i] = ("%s%s%s%s"):format(found.name or "-", found.sheet and found.sheet.n or "-",
          found.log and found.log[1] or "-", found.at)
      end
      return table.concat(out, " ")
    end
    local sort = { sort = { "at" } }
    assert.equal("a1x1 b-x2 c5x3 d4x4", sheets(store:find("things", {}, sort)))
    sort.bulk = false
    assert.equal("a--1 b--2 c--3 d--4", sheets(store:find("things", {}, sort)))
    sort.fields = { "sheet.n" }
    assert.equal("-1-1 ---2 -5-3 -4-4", sheets(store:find("things", {}, sort)))
    assert.equal("a1x1 b-x2", sheets(store:lease("things", {}, { owner = "w", ttl_ms = 9, limit = 2,
      sort = { "at" }, set = { kind = "k" } })))
    assert.equal("d4x4", sheets({ store:get("things", doc._id) and store:find("things",
      { name = "d" })[1] }))
    assert.equal(4, store:delete_many("things", {}))
  end)

  it("takes ready JSON for what it says", function()
    local id = put({ sheet = json.raw(' {"a" : [1.50, "\\u00e9"]}'), text = json.raw('"x"'),
      box = json.raw('{"size":3}'),
      map = { inner = json.decode('{"x":[1,{"y":2}]}', 64, { x = true }).x } })._id
    assert.same({ 1, { y = 2 } }, store:get("things", id).map.inner)
    local function seen()
      local doc = store:get("things", id)
      return { json.encode(doc.sheet), json.encode(doc.text), json.encode(doc.box) }
    end
    assert.same({ '{"a":[1.5,"é"]}', '"x"', '{"size":3}' }, seen())
    assert(store:update("things", id, { set = { sheet = json.raw("[ ]"), text = json.raw("[7]") } }))
    assert.same({ "[]", "[7]", '{"size":3}' }, seen())
    assert(store:upsert("things", { _id = id }, { set = { log = json.raw("[{}]") } }))
    assert.equal("[{}]", json.encode(store:get("things", id).log))
    assert.equal(1, store:count("things", { ["box.size"] = 3 }))
  end)

  it("does not find, order or sum by bulk fields", function()
    for _, wrong in ipairs({
      function() store:find("things", { sheet = 1 }) end,
      function() store:count("things", { any_of = { { ["sheet.n"] = 1 } } }) end,
      function() store:find("things", {}, { sort = { "log" } }) end,
      function() store:group("things", {}, { "kind" }, { "sheet.n" }) end,
      function() store:update("things", "th_0", { set = { rank = 1 } }, { expect = { log = 1 } }) end,
    }) do
      assert.has_error(wrong)
    end
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

  it("lists what was made in one millisecond in its turn", function()
    for _ = 1, 200 do
      put({ at = 7 })
    end
    for _, sort in ipairs({ "at", "-at" }) do
      local docs = store:find("things", { at = 7 }, { sort = { sort }, limit = 200 })
      for i, doc in ipairs(docs) do
        assert.equal("n" .. (sort == "at" and i or 201 - i), doc.name)
      end
      assert.equal(200, #docs)
    end
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

  it("answers the whole of a field that a path asks for a part of", function()
    put({ box = { size = 7, colour = "red" } })
    local doc = store:find("things", {}, { fields = { "box.size" }, sort = { "box.size" } })[1]
    assert.same({ size = 7, colour = "red" }, doc.box)
    assert.is_nil(doc.name)
  end)

  it("sets, removes, adds and appends in one step", function()
    local doc = put({ rank = 1, old = "x", log = { "a" } })
    now = 2000
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

  it("answers an update with the fields asked for", function()
    store:insert("things", { _id = "a", name = "x", n = 1, kind = "k" })
    local doc = assert(store:update("things", "a", { set = { n = 2 } }, { fields = {} }))
    assert.same({ "a", 2, nil, nil }, { doc._id, doc.v, doc.n, doc.kind })
    assert.equal(3, store:update("things", "a", { inc = { n = 1 } }, { fields = { "n" } }).n)
    assert.equal("k", store:get("things", "a").kind)
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

  it("takes null at the top of a document for absent", function()
    local doc = put({ rank = 1 })
    local changed = assert(store:update("things", doc._id, { set = { rank = json.null } }))
    assert.is_nil(changed.rank)
    assert.equal(1, store:count("things", { rank = { exists = false } }))
  end)

  it("skips what comes before a page", function()
    for _ = 1, 7 do
      put({ rank = 1 })
    end
    local function page(filter, sort)
      return names(store:find("things", filter, { sort = sort, skip = 2, limit = 3 }))
    end
    assert.equal("n3 n4 n5", page({}, { "at" }))
    assert.equal("n5 n4 n3", page({}, { "-at" }))
    assert.equal("n5 n4 n3", page({ rank = 1 }, { "-name" }))
    assert.same({}, store:find("things", {}, { sort = { "at" }, skip = 7 }))
  end)

  it("keeps what it can of many documents and tells which were there", function()
    put({ name = "b" })
    local answer = assert(store:insert_many("things", {
      { owner = "o", name = "a", at = 1 }, { owner = "o", name = "b", at = 2 },
      { owner = "o", name = "c", at = 3, rank = 9 }, { owner = "o", name = "a", at = 4 },
    }))
    assert.same({ inserted = 2, duplicates = { 2, 4 } }, answer)
    local doc = store:find("things", { name = "c" })[1]
    assert.same({ 9, 1, 1000, 1000 }, { doc.rank, doc.v, doc.created_at, doc.updated_at })
    assert.truthy(doc._id:match("^th_%x+$"))
    assert.same({ inserted = 0, duplicates = {} }, store:insert_many("things", {}))
  end)

  it("changes every document that matches, once", function()
    for i = 1, 5 do
      put({ rank = i })
    end
    now = 5000
    assert.equal(3, store:update_many("things", { rank = { gte = 3 } }, {
      inc = { rank = 1 }, set = { kind = "x" },
    }))
    assert.equal("n3 n4 n5", names(store:find("things", { kind = "x" }, { sort = { "at" } })))
    local doc = store:find("things", { rank = 6 })[1]
    assert.same({ "n5", 2, 5000 }, { doc.name, doc.v, doc.updated_at })
    assert.equal(0, store:update_many("things", { rank = 77 }, { set = { kind = "y" } }))
  end)

  it("deletes a document that is as expected", function()
    local doc = put({ rank = 1 })
    local _, err = store:delete("things", doc._id, { expect = { rank = 2 } })
    assert.equal("conflict", err.code)
    assert.equal(1, store:delete("things", doc._id, { expect = { v = 1 } }))
    assert.equal("not_found", select(2, store:delete("things", doc._id)).code)
    assert.equal("not_found", select(2, store:get("things", doc._id)).code)
  end)

  it("deletes every document that matches and counts them", function()
    for i = 1, 5 do
      put({ rank = i, terms = { "w" .. i } })
    end
    assert.equal(2, store:delete_many("things", { rank = { lt = 3 } }))
    assert.equal(0, store:delete_many("things", { rank = { lt = 3 } }))
    assert.equal("n3 n4 n5", names(store:find("things", {}, { sort = { "at" } })))
    assert.equal(0, store:count("things", { terms = { has_all = { "w1" } } }))
  end)

  it("finds what holds all of some elements of a list", function()
    put({ terms = { "rot", "grün", "two words" }, kind = "x" })
    put({ terms = { "grün", "rot" } })
    put({ terms = { "grünlich", "ROT", '"' } })
    put({})
    local function find(words, more)
      local filter = { terms = { has_all = words } }
      for name, value in pairs(more or {}) do
        filter[name] = value
      end
      local found = names(store:find("things", filter, { sort = { "-at" } }))
      local count = store:count("things", filter)
      assert.equal(select(2, found:gsub("%S+", "")), count)
      assert.equal(count, #store:find("things", filter, { sort = { "name" } }))
      return found
    end
    assert.equal("n2 n1", find({ "rot" }))
    assert.equal("n2 n1", find({ "rot", "grün", "rot" }))
    assert.equal("n1", find({ "grün", "two words" }))
    assert.equal("", find({ "two" }))
    assert.equal("n3", find({ '"' }))
    assert.equal("", find({ "rot", "blau" }))
    assert.equal("n1", find({ "rot" }, { kind = "x" }))
    assert.equal("n1", find({ "rot" }, { at = { lt = 2 } }))
    assert.equal("n2", find({ "rot" }, { at = { gt = 1, lte = 2 } }))
    assert.equal("n2", find({ "rot" }, { name = "n2" }))
    assert.has_error(function()
      store:find("things", { name = { has_all = { "x" } } })
    end)
    assert.has_error(function()
      store:find("things", { terms = { has_all = {} } })
    end)
  end)

  it("finds any string in a list of words", function()
    local odd = { '"', ',', '","', 'a","b', "\\", '\\"', '\\","', "\194\162", '"\194\162', "2\194\162",
      '",', 'x",', ',"', '\\",', "x\\", "\\\\", '["', '"]', "\n", "é", "22", "2 C", "2" }
    for i = 1, #odd do
      local others = {}
      for k, word in ipairs(odd) do
        others[#others + 1] = k ~= i and word or nil
      end
      put({ terms = others })
    end
    for i, word in ipairs(odd) do
      local found = store:find("things", { terms = { has_all = { word } } }, { sort = { "-at" } })
      assert.equal(#odd - 1, #found, word)
      for _, doc in ipairs(found) do
        assert.not_equal("n" .. i, doc.name, word)
      end
    end
    assert.equal(0, store:count("things", { terms = { has_all = { "a" } } }))
  end)

  it("finds elements of a list that no index holds", function()
    assert(store:insert("others", { n = 1, tags = { "a", "b" } }))
    assert(store:insert("others", { n = 2, tags = { "b" } }))
    assert.equal(1, store:count("others", { tags = { has_all = { "a", "b" } } }))
    assert.equal(2, store:count("others", { tags = { has_all = { "b" } } }))
  end)

  it("follows every change of a list's elements and of its order", function()
    local doc = put({ terms = { "old", "same" }, kind = "x", at = 5 })
    put({ terms = { "same" }, kind = "x", at = 7 })
    local function find(filter)
      return names(store:find("things", filter, { sort = { "-at" } }))
    end
    assert(store:update("things", doc._id, { set = { terms = { "new", "same" } } }))
    assert.same({ "", "n1", "n2 n1" }, { find({ terms = { has_all = { "old" } } }),
      find({ terms = { has_all = { "new" } } }), find({ terms = { has_all = { "same" } } }) })
    assert(store:update("things", doc._id, { set = { at = 9 } }))
    assert.same({ "n1 n2", "n1 n2" }, { find({ kind = "x" }),
      find({ terms = { has_all = { "same" } } }) })
    assert(store:update("things", doc._id, { set = { kind = "y" } }))
    assert.same({ "n2", "n1", "n1 n2" }, { find({ kind = "x" }), find({ kind = "y" }), find({}) })
    assert(store:update("things", doc._id, { unset = { "terms" } }))
    assert.equal("n2", find({ terms = { has_all = { "same" } } }))
    assert(store:upsert("things", { owner = "o", name = "n1" }, { set = { terms = { "same" } } }))
    assert.equal("n1 n2", find({ terms = { has_all = { "same" } } }))
    assert(store:delete("things", doc._id))
    assert.equal("n2", find({ terms = { has_all = { "same" } } }))
  end)

  it("finds by words whatever was written, changed and deleted before", function()
    local known, ids = {}, {}
    local words = { "a", "b", "c", "d" }
    local function some()
      local out = {}
      for _, word in ipairs(words) do
        out[#out + 1] = math.random() < 0.5 and word or nil
      end
      return out[1] and out or nil
    end
    local function expected(word)
      local n = 0
      for _, terms in pairs(known) do
        n = n + (table.concat(terms or {}):find(word, 1, true) and 1 or 0)
      end
      return n
    end
    for _ = 1, 150 do
      local id, terms, kind = ids[math.random(math.max(1, #ids))], some(), math.random(10)
      if not known[id] or kind <= 3 then
        local doc = put({ terms = terms, rank = 1 })
        ids[#ids + 1] = doc._id
        known[doc._id] = terms or false
      elseif kind <= 6 then
        assert(store:update("things", id, terms and { set = { terms = terms } }
          or { unset = { "terms" } }))
        known[id] = terms or false
      elseif kind == 7 then
        assert(store:update("things", id, { set = { at = math.random(50), rank = 2 } }))
      elseif kind == 8 then
        assert(store:delete("things", id))
        known[id] = nil
      else
        local word = words[math.random(#words)]
        assert.equal(expected(word), store:count("things", { terms = { has_all = { word } } }))
      end
    end
    for _, word in ipairs(words) do
      assert.equal(expected(word), #store:find("things", { terms = { has_all = { word } } },
        { sort = { "-at" }, limit = 200 }))
    end
  end)

  it("mixes what lists are filtered by with what they are not", function()
    for i = 1, 6 do
      put({ kind = i % 2 == 0 and "even" or "odd", on = i > 3, hidden = i % 3 })
    end
    local function find(filter, sort)
      local docs = store:find("things", filter, { sort = sort or { "-at" } })
      assert.equal(#docs, store:count("things", filter))
      return names(docs)
    end
    assert.equal("n6 n4", find({ kind = "even", on = true }))
    assert.equal("n6", find({ kind = "even", on = true, hidden = 0 }))
    assert.equal("n6", find({ kind = "even", on = true, hidden = 0 }, { "name" }))
    assert.equal("n4 n6", find({ kind = "even", on = true }, { "name" }))
    assert.equal("n5 n1", find({ kind = "odd", any_of = { { hidden = 1 }, { on = true } } }))
    assert.equal("n6 n5", find({ at = { gt = 4 } }))
    assert.equal("n4", find({ at = 4 }))
    assert.equal("", find({ hidden = { exists = false } }))
    assert.equal("n6 n4 n2", find({ hidden = { exists = true }, kind = "even" }))
    assert.equal("n5 n3", find({ hidden = { ne = 1 }, kind = "odd" }))
    assert.equal("n6 n5 n4 n3 n1", find({ any_of = { { on = true }, { kind = "odd" } } }))
  end)

  it("counts and sums by the values of keys", function()
    put({ rank = 1, on = true, seconds = 10 })
    put({ rank = 1, on = true, seconds = 5.5 })
    put({ rank = 1, on = false })
    put({ rank = 2, seconds = 3 })
    local rows = assert(store:group("things", { at = { gte = 1 } }, { "rank", "on" }, { "seconds" }))
    local seen = {}
    for _, row in ipairs(rows) do
      seen[("%s %s"):format(tostring(row.by.rank), tostring(row.by.on))] = { row.count,
        row.sum.seconds }
    end
    assert.same({ ["1 true"] = { 2, 15.5 }, ["1 false"] = { 1, 0 }, ["2 nil"] = { 1, 3 } }, seen)
    rows = assert(store:group("things", { rank = 2 }, { "name" }))
    assert.same({ { by = { name = "n4" }, count = 1, sum = {} } }, rows)
    assert.same({}, store:group("things", { rank = 7 }, { "name" }))
  end)

  it("leases what is free, in order, and not again until the lease is over", function()
    for i = 1, 4 do
      put({ rank = 5 - i })
    end
    local function lease(owner, limit, more)
      local options = { owner = owner, ttl_ms = 100, limit = limit, sort = { "rank" } }
      for name, value in pairs(more or {}) do
        options[name] = value
      end
      return assert(store:lease("things", { rank = { lte = 3 } }, options))
    end
    local docs = lease("a", 2, { set = { kind = "taken" } })
    assert.equal("n4 n3", names(docs))
    assert.same({ { owner = "a", ["until"] = 1100, token = 1 }, "taken", 2 },
      { docs[1].lease, docs[1].kind, docs[1].v })
    assert.equal("n2", names(lease("b", 5)))
    assert.same({}, lease("c", 5))
    now = 1100
    docs = lease("c", 1)
    assert.same({ "n4", { owner = "c", ["until"] = 1200, token = 2 } },
      { docs[1].name, docs[1].lease })
    assert.equal(7, lease("d", 1, { token = 7 })[1].lease.token)
    assert(store:update("things", docs[1]._id, { unset = { "lease" } }))
    assert.same({ "n4", 1 }, { lease("e")[1].name, store:get("things", docs[1]._id).lease.token })
  end)

  it("never gives one document to two of eight that lease at once", function()
    for i = 1, 40 do
      put({ rank = i })
    end
    local taken, twice = {}, 0
    together(8, function(i)
      repeat
        local docs = assert(store:lease("things", { rank = { gt = 0 } },
          { owner = "w" .. i, ttl_ms = 60000, limit = 3, sort = { "rank" } }))
        for _, doc in ipairs(docs) do
          twice = twice + (taken[doc._id] and 1 or 0)
          taken[doc._id] = doc.lease.owner
        end
      until #docs == 0
    end)
    local count = 0
    for id, owner in pairs(taken) do
      count = count + 1
      assert.equal(owner, store:get("things", id).lease.owner)
    end
    assert.same({ 40, 0 }, { count, twice })
  end)

  it("leaves one document when eight upsert one key at once", function()
    local made = 0
    local ids = together(8, function(i)
      local doc, created = assert(store:upsert("things", { owner = "o", name = "x" },
        { set = { ["by_" .. i] = true }, on_insert = { at = 1 } }))
      made = made + (created and 1 or 0)
      return doc._id
    end)
    assert.equal(1, made)
    for i = 2, 8 do
      assert.equal(ids[1], ids[i])
    end
    local doc = store:get("things", ids[1])
    assert.equal(1, store:count("things", {}))
    assert.equal(8, doc.v)
    for i = 1, 8 do
      assert.is_true(doc["by_" .. i])
    end
  end)

  it("lets one of eight win that expect the same state, and loses no increment", function()
    local doc = put({ rank = 0 })
    local won = together(8, function(i)
      local changed, err = store:update("things", doc._id, { set = { kind = "w" .. i } },
        { expect = { v = 1 } })
      return changed and "won" or err.code
    end)
    table.sort(won)
    assert.equal("conflict conflict conflict conflict conflict conflict conflict won",
      table.concat(won, " "))
    together(8, function()
      for _ = 1, 5 do
        assert(store:update("things", doc._id, { inc = { rank = 1 } }))
      end
    end)
    local last = store:get("things", doc._id)
    assert.same({ 40, 42 }, { last.rank, last.v })
  end)

  it("shares its data with a second opener", function()
    local other = backend.again(store)
    local doc = put({ rank = 3 })
    assert.equal(3, other:get("things", doc._id).rank)
    assert(other:update("things", doc._id, { inc = { rank = 1 } }))
    assert.equal(4, store:get("things", doc._id).rank)
    other:close()
    assert.equal(4, store:get("things", doc._id).rank)
  end)
end)
end
