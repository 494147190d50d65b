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

  it("is told of while it is brought up to date, not while its file is new", function()
    rawset(cxb, "sqlite", nil) -- the host's
    local folder, told = os.tmpname(), 0
    os.remove(folder)
    assert(cxb.fs.mkdir(folder))
    local function open()
      assert(open_store.open({ CXB_STATE_DIR = folder }, function()
        told = told + 1
      end)):close()
      return told
    end
    assert.equal(0, open())
    assert.is_true(open() > 10)
    os.execute("rm -rf " .. folder)
  end)

  it("is opened once, like the cache, however often a start is tried", function()
    local folder, opened = os.tmpname(), 0
    os.remove(folder)
    local memory = cxb.redis.memory
    rawset(cxb, "redis", { memory = function()
      opened = opened + 1
      return memory()
    end })
    local app = require("services.system.app").new({ CXB_STATE_DIR = folder,
      CXB_TRUSTED_PROXIES = {}, CXB_API_LISTEN = "unix:/run/api.sock", CXB_REDIS_PREFIX = "once:",
      CXB_ADMIN_EMAIL = "ada@example.org" })
    answer = { "io", "the disk is full" }
    for _ = 1, 3 do
      assert.equal(("CXB_STATE_DIR: %s/cxb.db: the disk is full"):format(folder),
        select(2, app:boot()))
    end
    assert.same({ 1, 3 }, { opened, tries })
    rawset(cxb, "sqlite", { open = function()
      tries = tries + 1
      return { exec = function() return {} end, batch = function() return {} end }
    end })
    for _ = 1, 3 do
      assert.matches("^CXB_ADMIN_PASSWORD", (select(2, app:boot())))
    end
    assert.same({ 1, 4 }, { opened, tries })
    os.execute("rm -rf " .. folder)
  end)
end)
