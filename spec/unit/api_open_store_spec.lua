-- How the API opens its store, with a clock of ours and a driver that answers as told.
local support = require("support.api")

describe("the store of the settings", function()
  local open_store, tries, answer, slept

  local function driver()
    return { open = function()
      tries = tries + 1
      return nil, answer[1], answer[2]
    end }
  end

  before_each(function()
    support.install()
    tries, slept = 0, 0
    rawset(cxb, "time", { now = cxb.time.now, mono = function()
      return slept
    end, sleep = function(ms)
      slept = slept + ms
    end })
    rawset(cxb, "mongo", driver())
    rawset(cxb, "sqlite", driver())
    open_store = require("services.system.open_store")
  end)

  after_each(function()
    support.restore()
  end)

  it("is waited for half a minute, then the variable and the cause are named", function()
    answer = { "unavailable", "no suitable servers" }
    local store, why = open_store.open({ CXB_STATE_DIR = "/x", MONGODB_URI = "mongodb://h/",
      MONGODB_DB = "cxb" })
    assert.is_nil(store)
    assert.equal("MONGODB_URI: no suitable servers", why)
    assert.is_true(slept >= 30000 and slept < 31000)
    assert.is_true(tries > 1)
  end)

  it("is waited for while another process holds its file", function()
    answer = { "busy", "the file is locked" }
    local _, why = open_store.open({ CXB_STATE_DIR = "/x" })
    assert.equal("CXB_STATE_DIR: /x/cxb.db: the file is locked", why)
    assert.is_true(slept >= 30000 and slept < 31000)
  end)

  it("is not waited for when waiting would not help", function()
    answer = { "invalid", "not a MongoDB address" }
    local _, why = open_store.open({ CXB_STATE_DIR = "/x", MONGODB_URI = "mongodb://", MONGODB_DB = "c" })
    assert.equal("MONGODB_URI: not a MongoDB address", why)
    answer = { "io", "the disk is read-only" }
    _, why = open_store.open({ CXB_STATE_DIR = "/x" })
    assert.equal("CXB_STATE_DIR: /x/cxb.db: the disk is read-only", why)
    assert.same({ 0, 2 }, { slept, tries })
  end)
end)
