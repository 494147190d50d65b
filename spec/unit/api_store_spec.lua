-- What is SQLite's own about the document store; what every back end does is in
-- spec/service/store_conformance_spec.lua.
local api = require("spec.support.api")
local json = require("cxb.json")
local World = require("support.world")

local collections = {
  things = {
    prefix = "th",
    fields = { name = "s", rank = "i?", at = "t", terms = "a?" },
    unique = { { "owner", "name" } },
    indexes = { { "-at" }, { "rank", "-at" }, { "terms", "-at" } },
    lists = { by = "at", words = "terms", fields = { "rank" } },
  },
}

describe("the document store on SQLite", function()
  before_each(function()
    api.install()
    api.now = 1000
  end)

  after_each(api.restore)

  it("adds columns and indexes that a newer version declares", function()
    local older = { things = { prefix = "th", fields = { name = "s" }, indexes = { { "name" } } } }
    local first = api.store(older)
    assert(first:insert("things", { owner = "o", name = "x", at = 3, rank = 5 }))
    local newer = api.store(collections, first.path)
    assert.equal("x", newer:find("things", { rank = 5 }, { sort = { "-at" } })[1].name)
    assert.equal("x", api.store(collections, first.path):find("things", { rank = 5 })[1].name)
  end)

  it("moves bulk fields of an older file when they are written, and reads them before", function()
    local declared = { prefix = "th", fields = { name = "s", n = "i?" }, unique = { { "name" } } }
    local older = api.store({ things = declared })
    for i = 1, 4 do
      assert(older:insert("things", { _id = "t" .. i, name = "n" .. i, sheet = { i }, log = "é" }))
    end
    local newer = api.store({ things = { prefix = "th", fields = declared.fields,
      unique = declared.unique, bulk = { "sheet", "log", "more" } } }, older.path)
    local function kept(id)
      local row = assert(newer.backend.db:exec("SELECT doc,bulk FROM things WHERE _id=?", id))[1]
      return { row.doc, json.encode(json.decode(row.bulk), true) }
    end
    local function seen(doc)
      return { doc.name, doc.sheet and doc.sheet[1], doc.log, doc.n, doc.more }
    end
    assert.same({ "n1", 1, "é" }, seen(newer:get("things", "t1")))
    assert.same({ "n1" }, seen(newer:get("things", "t1", { bulk = false })))
    assert.same({ nil, 1 }, seen(newer:find("things", { name = "n1" }, { fields = { "sheet" } })[1]))
    assert.same({ "n1", 1, "é", 7 }, seen(newer:update("things", "t1", { set = { n = 7 } })))
    assert.same({ '{"name":"n1","n":7}', '{"log":"é","sheet":[1]}' }, kept("t1"))
    assert.same({ "n2", 9, "é" }, seen(newer:update("things", "t2", { set = { sheet = { 9 } } })))
    assert.same({ '{"name":"n2"}', '{"log":"é","sheet":[9]}' }, kept("t2"))
    assert.equal(1, newer:update_many("things", { name = "n3" }, { unset = { "log" } }))
    assert.same({ '{"name":"n3"}', '{"sheet":[3]}' }, kept("t3"))
    assert(newer:upsert("things", { name = "n4" }, { set = { more = "m", log = "l" } }))
    assert.same({ "n4", 4, "l", nil, "m" }, seen(newer:get("things", "t4")))
    -- What a process of the version before writes meanwhile counts.
    assert(older:update("things", "t2", { set = { sheet = { 8 } } }))
    assert.same({ "n2", 8, "é" }, seen(newer:get("things", "t2")))
    assert.same({ "n2", 7, "é" }, seen(newer:update("things", "t2", { set = { sheet = { 7 } } })))
    assert.same({ '{"name":"n2"}', '{"log":"é","sheet":[7]}' }, kept("t2"))
  end)

  it("reads what a key finds without waiting", function()
    local store = api.store({ people = { prefix = "p", fields = { email = "s", name = "s" },
      unique = { { "email" }, { "name", "email" } } } })
    local made = assert(store:insert("people", { email = "a@b.c", name = "A" }))
    local function at_once(fn) -- a coroutine of its own cannot wait
      local ok, value = coroutine.resume(coroutine.create(fn))
      return ok and value
    end
    assert.equal("A", at_once(function()
      return store:get("people", made._id).name
    end))
    assert.equal(made._id, at_once(function()
      return store:find("people", { email = "a@b.c" })[1]._id
    end))
    assert.equal("not_found", at_once(function()
      return select(2, store:get("people", "nobody")).code
    end))
    assert.is_false(at_once(function() -- not a key by itself
      return store:find("people", { name = "A" })
    end))
    assert(store:update("people", made._id, { set = { name = "B" } }))
    assert.equal("B", at_once(function()
      return store:get("people", made._id).name
    end))
  end)

  it("makes the lists of a file that had none, and makes them anew when they change", function()
    local declared = { prefix = "th", fields = { name = "s", at = "t", terms = "a?" } }
    local first = api.store({ things = declared })
    for i = 1, 3 do
      assert(first:insert("things", { name = "n" .. i, at = 7, rank = i, terms = { "w", "w" .. i } }))
    end
    local newer = api.store(collections, first.path)
    local function found(store, filter)
      local docs, next_page = store:find("things", filter, { sort = { "-at" }, limit = 2 })
      return #docs, next_page and #store:find("things", filter,
        { sort = { "-at" }, limit = 2, after = next_page })
    end
    assert.same({ 2, 1 }, { found(newer, { terms = { has_all = { "w" } } }) })
    assert.same({ 1 }, { found(newer, { terms = { has_all = { "w2", "w" } }, rank = 2 }) })
    assert(first:insert("things", { owner = "o", name = "n4", at = 7, terms = { "w" } }))
    assert.same({ 2, 2 }, { found(newer, { terms = { has_all = { "w" } } }) })
    local changed = { things = {
      prefix = "th", fields = declared.fields, indexes = { { "terms", "-at" } },
      lists = { by = "at", words = "terms", fields = { "rank", "name" } },
    } }
    local newest = api.store(changed, first.path)
    assert.same({ 1 }, { found(newest, { name = "n3", terms = { has_all = { "w" } } }) })
    assert.same({ 2, 2 }, { found(newest, {}) })
  end)

  it("keeps a document out of the indexes of what it lacks, and finds it all the same", function()
    local store = api.store(collections)
    for i = 1, 4 do
      assert(store:insert("things", { owner = "o", name = "n" .. i, at = i,
        rank = i > 2 and i or nil, terms = ({ {}, { "w" }, nil, { "w", "x" } })[i] }))
    end
    local function one(text)
      return store.backend.db:exec(text)[1].n
    end
    local function names(filter)
      local out = {}
      for i, doc in ipairs(store:find("things", filter, { sort = { "at" } })) do
        out[i] = doc.name
      end
      return table.concat(out, " ")
    end
    local with_w = { terms = { has_all = { "w" } } }
    assert.equal(2, one("SELECT count(*) AS n FROM things_words_new"))
    assert.equal(2, one("SELECT sum(ncell) AS n FROM dbstat WHERE name='things_lists_rank'"))
    assert.equal("n1 n2", names({ rank = json.null }))
    assert.equal("n1 n2", names({ rank = { exists = false } }))
    assert.equal("n1 n2 n4", names({ rank = { ne = 3 } }))
    assert.equal("n2 n4", names(with_w))
    assert(store:update("things", store:find("things", { name = "n1" })[1]._id,
      { set = { rank = 3, terms = { "w" } } }))
    assert(store:update("things", store:find("things", { name = "n2" })[1]._id,
      { unset = { "terms" } }))
    assert(store:delete("things", store:find("things", { name = "n3" })[1]._id))
    assert.equal("n1 n4", names(with_w))
    assert.equal("n1", names({ rank = 3 }))
    assert(store:delete("things", store:find("things", { name = "n1" })[1]._id))
    assert.equal("n4", names(with_w))
    assert.equal("n2", names({ rank = json.null }))
  end)

  -- From here on the next statement is explained: fun(): how it was carried out.
  local function explain(store)
    local seen
    local real = store.backend.db
    store.backend.db = setmetatable({ exec = function(_, text, ...)
      store.backend.db = real
      local lines = {}
      -- By the writer, who made the tables: EXPLAIN alone does not look whether a reader's idea of
      -- them is of yesterday.
      local answers = assert(real:batch({ { "CREATE TABLE IF NOT EXISTS explained(a)" },
        { "EXPLAIN QUERY PLAN " .. text, ... } }))
      for i, row in ipairs(answers[2].rows) do
        lines[i] = row.detail
      end
      seen = table.concat(lines, "; ")
      return real:exec(text, ...)
    end }, { __index = real })
    return function()
      return seen
    end
  end

  it("finds the contacts of a zone that are due by their index", function()
    local store = api.store(require("cxb.store.collections"))
    local plan = explain(store)
    assert.equal(0, #store:find("campaign_calls", { campaign_id = "cmp_1", run_number = 1,
      status = "retry_scheduled", zone_key = "Asia/Calcutta", next_retry_at = { lte = 9 } },
      { sort = { "next_retry_at" } }))
    assert.truthy(plan():find("campaign_id=? AND run_number=? AND status=? AND zone_key=? AND next",
      1, true), plan())
  end)

  it("lists a campaign's contacts by day, callback, state and number by an index each, sorted", function()
    local store = api.store(require("cxb.store.collections"))
    local filter = require("services.campaigns.contacts").filter
    local campaign = { _id = "cmp_1", run_number = 1, upload = { id = "upl_1" },
      config = { time_window = { timezone = "UTC" } } }
    for wanted, query in pairs({
      ["run_number=? AND dial.at>? AND dial.at<?"] = { date = "2026-04-24", status = "exhausted" },
      ["run_number=? AND callback.requested_at>?"] = { callback = "pending" },
      ["campaign_id=? AND status=?"] = { status = "exhausted" },
      ["upload_id=? AND phone_number>? AND phone_number<?"] = { phone = "98", date = "2026-04-24" },
      ["run_number=? AND upload_id=?"] = {},
    }) do
      local plan = explain(store)
      local conditions, sort = filter(campaign, query)
      assert.equal(0, #store:find("campaign_calls", conditions, { sort = sort }))
      assert.truthy(plan():find(wanted, 1, true), plan())
      assert.is_nil(plan():find("TEMP B-TREE FOR ORDER", 1, true), plan())
    end
  end)

  it("puts words into their index by hundreds, at the latest when they are looked for", function()
    local store = api.store(collections)
    local function waiting()
      return store.backend.db:exec("SELECT count(*) AS n FROM things_words_new")[1].n
    end
    local function add(from, to)
      for i = from, to do
        assert(store:insert("things", { owner = "o", name = "n" .. i, at = i, terms = { "w" } }))
      end
    end
    add(1, 100)
    assert.equal(100, waiting())
    assert.equal(100, store:count("things", { terms = { has_all = { "w" } } }))
    assert.equal(0, waiting())
    add(101, 400)
    World.wait_until("the words of hundreds", function() return waiting() < 300 end)
    local again = api.store(collections, store.path)
    assert.equal(400, again:count("things", { terms = { has_all = { "w" } } }))
  end)

  it("lists through an index of its own, not through the documents", function()
    local store = api.store(collections)
    for i = 1, 50 do
      assert(store:insert("things", { owner = "o", name = "n" .. i, at = i, rank = i % 5 }))
    end
    local plan = explain(store)
    assert.equal(10, #store:find("things", { rank = 3, at = { gte = 1 } }, { sort = { "-at" } }))
    local seen = plan()
    assert.truthy(seen:find("USING INDEX things_lists_rank", 1, true)
      or seen:find("USING COVERING INDEX things_lists_rank", 1, true), seen)
    assert.is_nil(seen:find("SCAN things", 1, true), seen)
  end)
end)
