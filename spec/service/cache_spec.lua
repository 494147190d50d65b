-- The cache on Redis and on its in-process twin: one behaviour.
local Cache = require "cxb.cache"
local RedisServer = require "support.redis_server"
local World = require "support.world"

local world

after_each(function()
  world:close()
end)

local function new_prefix()
  return "spec" .. cxb.crypto.hex(cxb.crypto.random(4)) .. ":"
end

for _, kind in ipairs({ "memory", "redis" }) do
  describe("the cache on " .. kind, function()
    local cache, prefix, server

    before_each(function()
      world = World.new()
      prefix = new_prefix()
      server = kind == "redis" and RedisServer.start(world)
      cache = assert(Cache.open({ url = server and server.url, prefix = prefix }))
    end)

    after_each(function()
      cache:close()
    end)

    it("keeps, gives back and forgets a text", function()
      assert.equal(kind, cache.kind)
      assert.equal(false, cache:get("k"))
      assert.is_true(cache:set("k", "a\0b"))
      assert.equal("a\0b", cache:get("k"))
      assert.is_true(cache:del("k"))
      assert.is_false(cache:del("k"))
      assert.equal(false, cache:get("k"))
    end)

    it("lets a text go when its time is up", function()
      assert.is_true(cache:set("k", "v", 30))
      assert.is_true(cache:set("long", "v", 60000))
      World.wait_until("the end of the key", function() return cache:get("k") == false end)
      assert.equal("v", cache:get("long"))
    end)

    it("adds a key once", function()
      assert.is_true(cache:add("k", "1", 60000))
      assert.is_false(cache:add("k", "2", 60000))
      assert.equal("1", cache:get("k"))
    end)

    it("tells every process that listens, in order, with rising ids", function()
      local other = assert(Cache.open({ url = server and server.url, prefix = prefix }))
      local heard, ready = {}, false
      local stop = other:subscribe("calls", function(event)
        heard[#heard + 1] = event
        ready = true
      end)
      World.wait_until("the listener", function()
        cache:publish("calls", "ready", {})
        return ready
      end)
      heard = {}
      cache:publish("fleet", "other", {})
      for i = 1, 50 do assert(cache:publish("calls", "call.updated", { n = i })) end
      World.wait_until("the events", function()
        return heard[1] and heard[#heard].data == '{"n":50}'
      end)
      local first = 1
      while heard[first].name == "ready" do first = first + 1 end
      assert.equal(50, #heard - first + 1)
      for i = first + 1, #heard do assert.is_true(heard[i].id > heard[i - 1].id) end
      stop()
      cache:publish("calls", "after", {})
      assert.equal("call.updated", heard[#heard].name)
      other:close()
    end)

    it("is not heard any more once its events are closed, by who subscribes then neither", function()
      local other = assert(Cache.open({ url = server and server.url, prefix = prefix }))
      local heard, after, stopped = 0, 0, 0
      other:subscribe("calls", function() heard = heard + 1 end)
      other.events:close()
      other:subscribe("calls", function() after = after + 1 end)
      cache:subscribe("calls", function() stopped = stopped + 1 end)
      World.wait_until("another listener", function()
        cache:publish("calls", "e", {})
        return stopped >= 3
      end)
      assert.equal(0, after)
      assert.equal(0, heard)
      other:close()
    end)

    it("knows what came after an id, as long as it keeps it", function()
      local id = tonumber(cache:publish("calls", "e", { n = 0 }))
      cache:publish("fleet", "e", {})
      for i = 1, 3 do cache:publish("calls", "e", { n = i }) end
      local list, newest = cache.events:since("calls", id)
      assert.same({ '{"n":1}', '{"n":2}', '{"n":3}' }, { list[1].data, list[2].data, list[3].data })
      assert.equal(3, #list)
      assert.equal(newest, list[3].id)
      assert.same({}, (cache.events:since("calls", newest)))
      assert.same({}, (cache.events:since("flows", newest)))
      assert.is_nil((cache.events:since("calls", 5)))
      assert.is_nil((cache.events:since("calls", newest + 1)))
      for i = 1, 256 do cache:publish("calls", "e", { n = i }) end
      assert.is_nil((cache.events:since("calls", id)))
      assert.equal(256, #cache.events:since("calls", newest))
    end)

    it("says unavailable when it is away, and serves again by itself", function()
      if not server then return end
      cache:set("k", "v")
      assert.is_true(cache:ping())
      server:kill()
      local value, err = cache:get("k")
      assert.is_nil(value)
      assert.equal("unavailable", err.code)
      assert.equal("unavailable", select(2, cache:publish("calls", "e", {})).code)
      assert.is_false((cache:healthy()))
      server:run()
      World.wait_until("the cache", function() return cache:ping() end)
      assert.equal(false, cache:get("k"))
      assert.is_true((cache:healthy()))
    end)

    it("tells who listens that it may have missed something while it was away", function()
      if not server then return end
      local gaps = 0
      cache:subscribe("calls", function(event) gaps = gaps + (event and 0 or 1) end)
      World.wait_until("the listener", function()
        return cache.client:call("PUBSUB", "NUMPAT") == 1
      end)
      server:kill()
      server:run()
      World.wait_until("the gap", function() return gaps == 1 end)
    end)
  end)
end

-- Words of a random command; few keys and values, so that commands meet.
local function any(list) return list[math.random(#list)] end
local keys, words = { "a", "b", "c" }, { "x", "y", "10", "-3", "2.5", "" }
local scores = { "1", "2", "-1", "0.5", "1e3" }
local bounds = { "-inf", "+inf", "0", "(1", "1", "(2.5" }
local indexes = { "0", "1", "-1", "-2", "5" }

local forms = {
  { "GET", keys }, { "SET", keys, words }, { "SET", keys, words, { "NX", "XX", "KEEPTTL" } },
  { "SET", keys, words, { "PX" }, { "60000" } }, { "DEL", keys }, { "EXISTS", keys },
  { "INCR", keys }, { "INCRBY", keys, { "5", "-2" } }, { "PERSIST", keys },
  { "PEXPIRE", keys, { "60000", "-1" } }, { "EXPIRE", keys, { "60" } },
  { "HSET", keys, words, words }, { "HGET", keys, words }, { "HMGET", keys, words, words },
  { "HGETALL", keys }, { "HDEL", keys, words }, { "HEXISTS", keys, words }, { "HLEN", keys },
  { "HINCRBY", keys, words, { "3" } },
  { "ZADD", keys, scores, words }, { "ZREM", keys, words, words }, { "ZSCORE", keys, words },
  { "ZCARD", keys }, { "ZRANGE", keys, indexes, indexes },
  { "ZRANGE", keys, indexes, indexes, { "WITHSCORES" } }, { "ZREVRANGE", keys, indexes, indexes },
  { "ZCOUNT", keys, bounds, bounds }, { "ZRANGEBYSCORE", keys, bounds, bounds },
  { "ZRANGEBYSCORE", keys, bounds, bounds, { "WITHSCORES" }, { "LIMIT" }, { "0", "1" }, { "1", "-1" } },
  { "ZREMRANGEBYSCORE", keys, bounds, bounds },
  { "RPUSH", keys, words, words }, { "LPUSH", keys, words }, { "LPOP", keys }, { "RPOP", keys },
  { "LLEN", keys }, { "LRANGE", keys, indexes, indexes }, { "LTRIM", keys, indexes, indexes },
}

describe("the in-process twin of Redis", function()
  it("answers any sequence of commands as Redis does, by script and one by one", function()
    world = World.new()
    local real = assert(cxb.redis.connect(RedisServer.start(world).url))
    local twin, prefix = cxb.redis.memory(), new_prefix()
    local script = "return redis.call(unpack(ARGV))"
    local seed = math.floor(cxb.time.now() % 1e6)
    math.randomseed(seed)
    for step = 1, 4000 do
      local form = any(forms)
      local command = { form[1] }
      for i = 2, #form do command[i] = any(form[i]) end
      command[2] = prefix .. command[2]
      local told = ("seed %d, step %d: %s"):format(seed, step, table.concat(command, " "))
      local one, two
      if step % 2 == 0 then
        one, two = { real:call(unpack(command)) }, { twin:call(unpack(command)) }
      else
        one, two = { real:script(script, {}, command) }, { twin:script(script, {}, command) }
      end
      if form[1] == "HGETALL" and type(one[1]) == "table" then
        table.sort(one[1])
        table.sort(two[1])
      end
      if one[2] == "error" then
        assert.equal("error", two[2], told)
      else
        assert.same(one, two, told)
      end
      if step % 40 == 0 then
        for _, key in ipairs(keys) do
          local left, right = real:call("PTTL", prefix .. key), twin:call("PTTL", prefix .. key)
          assert.is_true(left == right or left > 0 and right > 0, told)
          real:call("DEL", prefix .. key)
          twin:call("DEL", prefix .. key)
        end
      end
    end
    real:close()
  end)
end)
