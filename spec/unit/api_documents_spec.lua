-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")

describe("a document on the wire", function()
  local documents, app, shape

  before_each(function()
    api.install()
    documents = require("services.web.documents")
    app = api.app()
    shape = { type = "object", properties = {
      name = { type = "string" }, level = { type = "integer", default = 3 },
      note = { type = "string" },
    } }
    app.store:insert("bots", { _id = "b1", name = "Ada", is_active = true, level = 5, note = "x" })
  end)

  after_each(api.restore)

  local function ctx(headers)
    return { app = app, req = api.request("PUT", "/", { headers = headers }),
      route = { output = shape } }
  end

  it("goes back to a field's default by null, and loses one that has none", function()
    local doc = assert(documents.patch(ctx(), "bots", "b1", "bot",
      { level = json.null, note = json.null, name = "Bea" }, shape))
    assert.same({ "Bea", 3, nil, 2 }, { doc.name, doc.level, doc.note, doc.v })
  end)

  it("is changed by who names its version, and shown to who names another", function()
    assert(documents.patch(ctx({ ["if-match"] = '"1"' }), "bots", "b1", "bot", { level = 1 }, shape))
    local doc, err = documents.patch(ctx({ ["if-match"] = '"1"' }), "bots", "b1", "bot",
      { level = 2 }, shape)
    assert.is_nil(doc)
    assert.same({ 409, "version_conflict", 1 }, { err.status, err.code, err.current.level })
  end)

  it("that was changed between reading and writing is read again", function()
    local meddled = false
    local doc = assert(documents.change(ctx(), "bots", "b1", "bot", function(found)
      if not meddled then
        meddled = true
        app.store:update("bots", "b1", { set = { level = 7 } })
      end
      return { set = { level = found.level + 1 } }
    end))
    assert.equal(8, doc.level)
  end)

  it("that is not there, or was deleted, is a 404 that names its kind", function()
    app.store:insert("bots", { _id = "b2", name = "Gone", is_active = true, deleted_at = 1 })
    for _, id in ipairs({ "b2", "b3" }) do
      local doc, err = documents.get(ctx(), "bots", id, "bot")
      assert.is_nil(doc)
      assert.same({ 404, "There is no such bot." }, { err.status, err.message })
    end
  end)

  it("of a bot that a key does not reach is not there for it", function()
    app.store:insert("calls", { _id = "c1", bot_id = "b1", status = "completed", call_type = "bot",
      direction = "incoming", started_at = api.now })
    local function get(principal)
      local found = ctx()
      found.principal = principal
      local doc, err = documents.get(found, "calls", "c1", "call")
      return doc and doc._id or err.status
    end
    assert.same({ "c1", "c1", "c1", 404 }, { get({ kind = "user" }),
      get({ kind = "key", bot_ids = {} }), get({ kind = "key", bot_ids = { "b0", "b1" } }),
      get({ kind = "key", bot_ids = { "b2" } }) })
  end)
end)
