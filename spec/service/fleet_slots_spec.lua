-- Capacity and reservations, on Redis and on its in-process twin.
package.path = cxb.root .. "/api/?.lua;" .. package.path
local Cache = require "cxb.cache"
local RedisServer = require "support.redis_server"
local World = require "support.world"
local caches = require "services.system.caches"
local fleet = require "services.fleet"
local hosts = require "services.fleet.hosts"

local world
after_each(function() world:close() end)

-- Documents by their base URL: as much of a store as the fleet needs.
local function documents()
  local docs = {}
  return {
    id = function(_, prefix)
      return prefix .. "_" .. cxb.crypto.hex(cxb.crypto.random(12))
    end,
    get = function() return { _id = "system" } end,
    upsert = function(_, _, key, changes)
      local doc = docs[key.base_url] or { _id = key.base_url, draining = false }
      docs[key.base_url] = doc
      for name, value in pairs(changes.set) do doc[name] = value end
      return doc
    end,
    update = function(_, _, id, ops)
      for name, value in pairs(ops.set) do docs[id][name] = value end
      return docs[id]
    end,
    find = function(_, _, filter)
      local found = {}
      for _, doc in pairs(docs) do
        if not filter.host_id or doc.host_id == filter.host_id then found[#found + 1] = doc end
      end
      return found
    end,
  }
end

for _, kind in ipairs({ "memory", "redis" }) do
  describe("the fleet's slots on " .. kind, function()
    local app, now, server, store, prefix

    local function process()
      local cache = assert(Cache.open({ url = server and server.url, prefix = prefix,
        timeout_ms = 60000, now = function() return now end }))
      World.wait_until("the cache", function() return cache:ping() end)
      local self = { store = store, settings = { FLEET_HEALTH_TIMEOUT_SECONDS = 1 } }
      caches.use(self, cache, server and assert(Cache.open({ prefix = prefix })) or cache)
      return self
    end

    before_each(function()
      world = World.new()
      server = kind == "redis" and RedisServer.start(world) or nil
      prefix = "spec" .. cxb.crypto.hex(cxb.crypto.random(4)) .. ":"
      now, store = cxb.time.now(), documents()
      app = process()
    end)

    after_each(function() app.cache:close() end)

    local function beat(host, free, more)
      local body = { host_id = host, boot_id = "boot-" .. host, base_url = "http://" .. host,
        fleet_max = 16, fleet_calls = 16 - free, fleet_available = free, workers = {},
        draining = false, consumed = {}, flows_revision = 0 }
      for name, value in pairs(more or {}) do body[name] = value end
      return hosts.register(app, body)
    end

    local function reserve(options)
      local list, err = fleet.reserve(app, options or {})
      return list and list[1], err
    end

    local function host(id)
      for _, entry in ipairs(assert(fleet.hosts(app))) do
        if entry.id == id then return entry end
      end
    end

    it("are given exactly once to a thousand who ask at the same time", function()
      local apps = { app, process(), process() }
      for _, id in ipairs({ "a", "b", "c", "d" }) do assert(beat(id, 4)) end
      local tasks, given, refused, ids = {}, {}, 0, {}
      for i = 1, 1000 do
        tasks[i] = cxb.task.spawn("reserve", function()
          local list, err = fleet.reserve(apps[i % 3 + 1], { key = "k" .. i })
          return list and list[1] or err
        end)
      end
      for i = 1, 1000 do
        local got = tasks[i]:wait(60000)
        if got.id then
          given[got.host_id] = (given[got.host_id] or 0) + 1
          assert.is_nil(ids[got.id])
          ids[got.id] = true
        else
          assert.same({ 503, "no_capacity" }, { got.status, got.code })
          refused = refused + 1
        end
      end
      assert.same({ a = 4, b = 4, c = 4, d = 4 }, given)
      assert.equal(984, refused)
      apps[2].cache:close()
      apps[3].cache:close()
    end)

    it("come back when their reservation ends, and live on when it is renewed", function()
      assert(beat("a", 2))
      local first = assert(reserve({ ttl_ms = 4000 }))
      local second = assert(reserve({ ttl_ms = 4000 }))
      assert.equal("no_capacity", select(2, reserve()).code)
      assert.equal(now + 8000, assert(fleet.renew(app, second.id, 8000)).expires_at)
      now = now + 4000
      assert(beat("a", 2))
      assert(reserve())
      assert.equal("no_capacity", select(2, reserve()).code)
      assert.equal(404, select(2, fleet.renew(app, first.id, 5000)).status)
    end)

    it("are counted once while a call takes them: consumed goes with the lower number", function()
      assert(beat("a", 2))
      local slot = assert(reserve())
      assert.equal(1, host("a").reservations)
      assert(beat("a", 1, { consumed = { slot.id } }))
      assert.same({ 1, 0 }, { host("a").available, host("a").reservations })
      assert(reserve())
      assert.equal("no_capacity", select(2, reserve()).code)
      assert(beat("a", 1, { consumed = { slot.id } })) -- told twice
      assert.equal(1, host("a").reservations)
    end)

    it("are the same for the same key, until they are given back", function()
      assert(beat("a", 2))
      assert(beat("b", 2))
      local one = assert(reserve({ key = "s-1" }))
      assert.same(one, reserve({ key = "s-1" }))
      assert.equal(1, host("a").reservations + host("b").reservations)
      assert.is_true(fleet.release(app, one.id))
      assert.is_true(fleet.release(app, one.id))
      assert.equal(0, host("a").reservations + host("b").reservations)
      local other = assert(reserve({ key = "s-1" }))
      assert.not_equal(one.host_id, other.host_id) -- where it was refused comes last
    end)

    it("come from the host that has most, fewer than asked when there are no more", function()
      assert(beat("a", 3))
      assert(beat("b", 1))
      assert.equal("a", reserve().host_id)
      assert.equal("a", reserve().host_id)
      local list = assert(fleet.reserve(app, { count = 10 }))
      assert.equal(2, #list)
      assert.equal("no_capacity", select(2, reserve({ without = { "b" } })).code)
    end)

    it("among equals are given by chance", function()
      assert(beat("a", 16))
      assert(beat("b", 16))
      local seen = {}
      for _ = 1, 40 do
        local slot = reserve()
        seen[slot.host_id] = true
        fleet.release(app, slot.id)
      end
      assert.same({ a = true, b = true }, seen)
    end)

    it("are not of a host that drains, has left, or has been silent for five seconds", function()
      assert(beat("a", 4))
      assert.is_true(assert(hosts.drain(app, "a", true)).drain)
      assert.equal("no_capacity", select(2, reserve()).code)
      assert.is_true(assert(beat("a", 4)).desired.drain)
      assert(hosts.drain(app, "a", false))
      assert(reserve())
      now = now + 4999
      assert(reserve())
      now = now + 1
      assert.equal("no_capacity", select(2, reserve()).code)
      assert(beat("a", 4))
      assert(hosts.leave(app, "a"))
      assert.equal("no_capacity", select(2, reserve()).code)
    end)

    it("of a host that was to drain stay closed when it comes back", function()
      assert(beat("a", 4))
      assert(hosts.drain(app, "a", true))
      now = now + 60000
      assert.is_true(assert(beat("a", 4, { boot_id = "another boot" })).desired.drain)
      assert.equal("no_capacity", select(2, reserve()).code)
    end)

    it("are refused to a second machine of the same name while the first is fresh", function()
      assert(beat("a", 4))
      local answer, err = beat("a", 4, { boot_id = "another", base_url = "http://other" })
      assert.is_nil(answer)
      assert.same({ 409, "host_id_taken" }, { err.status, err.code })
      now = now + 5000
      assert(beat("a", 4, { boot_id = "another", base_url = "http://other" }))
      assert.equal("http://other", host("a").base_url)
    end)

    if kind == "redis" then
      it("are given by each process for itself while Redis is away", function()
        assert(beat("a", 2))
        assert(reserve())
        server.process:stop()
        assert(beat("a", 2))
        assert.equal("a", assert(reserve()).host_id)
        assert(reserve())
        assert.equal("no_capacity", select(2, reserve()).code)
        server:run()
        World.wait_until("the slots", function()
          beat("a", 2)
          return app.cache:ping() and reserve() ~= nil
        end)
      end)
    end
  end)
end
