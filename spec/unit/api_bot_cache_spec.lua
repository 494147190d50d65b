local api = require("spec.support.api")
local json = require("cxb.json")

describe("a bot that calls read again and again", function()
  local bot_cache, app, reads

  before_each(function()
    api.install()
    bot_cache = require("services.bots.cache")
    app = api.app()
    local heard
    function app.cache.subscribe(_, topic, fn)
      assert.equal("inv", topic)
      heard = fn
    end
    function app.events.publish(_, _, name, data)
      heard({ name = name, data = json.encode(data) })
    end
    bot_cache.follow(app)
    assert(app.store:insert("bots", { _id = "b", name = "one", is_active = true }))
    reads = 0
    local get = app.store.get
    function app.store.get(store, collection, id)
      reads = reads + (collection == "bots" and 1 or 0)
      return get(store, collection, id)
    end
  end)

  after_each(api.restore)

  local function name()
    return assert(bot_cache.active(app, "b")).name
  end

  it("is read from the store once a minute", function()
    assert.same({ "one", "one", 1 }, { name(), name(), reads })
    api.now = api.now + 61000
    assert.same({ "one", 2 }, { name(), reads })
  end)

  it("is read again once it was written, and refused once it is off", function()
    name()
    app.store:update("bots", "b", { set = { name = "two" } })
    assert.equal("two", name())
    app.store:update("bots", "b", { set = { is_active = false } })
    local _, err = bot_cache.active(app, "b")
    assert.equal("not_found", err.code)
  end)

  it("is read again when another process has written it", function()
    name()
    app.events:publish("inv", "bot", { id = "b" })
    name()
    assert.equal(2, reads)
  end)

  it("is not kept when it was written while it was read", function()
    local get, done = app.store.get, false
    function app.store.get(store, collection, id)
      local doc = get(store, collection, id)
      if not done then
        done = true
        store:update("bots", "b", { set = { name = "two" } })
      end
      return doc
    end
    assert.equal("one", name())
    assert.equal("two", name())
  end)
end)
