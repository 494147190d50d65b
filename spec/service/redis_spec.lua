-- cxb.redis against a real server.
local RedisServer = require "support.redis_server"
local World = require "support.world"

describe("a connection to Redis", function()
  local world

  before_each(function() world = World.new() end)
  after_each(function() world:close() end)

  local function at_once(n, fn)
    local tasks = {}
    for i = 1, n do tasks[i] = cxb.task.spawn("command", fn, i) end
    for i = 1, n do assert.is_true(tasks[i]:wait(30000)) end
  end

  it("answers a thousand commands given at once, each to who asked", function()
    local client = assert(cxb.redis.connect(RedisServer.start(world, { tcp = true }).url))
    at_once(1000, function(i)
      assert.equal("OK", client:call("SET", "k" .. i, "v\0" .. i))
      assert.equal("v\0" .. i, client:call("GET", "k" .. i))
      return true
    end)
    assert.equal(cxb.null, client:call("GET", "nothing"))
    assert.same({ "v\0001", cxb.null }, client:call("MGET", "k1", "nothing"))
    client:close()
    assert.same({ nil, "unavailable" }, { (client:call("PING")), (select(2, client:call("PING"))) })
  end)

  it("gives back the server's errors as errors", function()
    local client = assert(cxb.redis.connect(RedisServer.start(world).url))
    client:call("SET", "k", "text")
    local value, code, message = client:call("HGET", "k", "f")
    assert.same({ nil, "error" }, { value, code })
    assert.truthy(message:match("^WRONGTYPE"))
    client:close()
  end)

  it("runs a script by its digest, and by its text once the server has forgotten it", function()
    local client = assert(cxb.redis.connect(RedisServer.start(world).url))
    local source = "redis.call('SET', KEYS[1], ARGV[1]) return {1, ARGV[1], false}"
    for _ = 1, 3 do
      assert.same({ 1, "x", cxb.null }, client:script(source, { "k" }, { "x" }))
      assert.equal("OK", client:call("SCRIPT", "FLUSH"))
    end
    client:script(source, { "k" }, { "x" })
    client:script(source, { "k" }, { "x" })
    local stats = client:call("INFO", "commandstats")
    assert.equal("5", stats:match("cmdstat_evalsha:calls=(%d+)"))
    assert.equal("4", stats:match("cmdstat_eval:calls=(%d+)"))
    client:close()
  end)

  it("comes in by password and uses its database", function()
    local server = RedisServer.start(world, { tcp = true, password = "p@ss/word" })
    assert.is_nil((cxb.redis.connect("redis://127.0.0.1:x")))
    local good = assert(cxb.redis.connect(
      ("redis://:p%%40ss%%2Fword@localhost:%d/3"):format(server.port)))
    local bad = assert(cxb.redis.connect(("redis://:wrong@127.0.0.1:%d"):format(server.port)))
    assert.equal("OK", good:call("SET", "k", "3"))
    assert.truthy(good:call("INFO", "keyspace"):match("db3:keys=1"))
    local _, code, message = bad:call("GET", "k")
    assert.equal("unavailable", code)
    assert.truthy(message:match("WRONGPASS") or message:match("NOAUTH"))
    good:close()
    bad:close()
  end)

  it("to a port nobody listens on says so at once, and stands once somebody does", function()
    local port = world:port()
    local client = assert(cxb.redis.connect(("redis://127.0.0.1:%d"):format(port)))
    local _, code, message = client:call("PING")
    assert.equal("unavailable", code)
    assert.truthy(message:match("refused"), message)
    assert.is_false((client:up()))
    world:start({ "redis-server", "--port", tostring(port), "--bind", "127.0.0.1", "--save", "" },
      { PATH = cxb.process.env("PATH") })
    World.wait_until("the connection", function() return client:call("PING") end)
    assert.is_true((client:up()))
    client:close()
  end)

  it("that is killed fails what was under way and comes back by itself", function()
    local server = RedisServer.start(world)
    local client = assert(cxb.redis.connect(server.url))
    assert.equal("PONG", client:call("PING"))
    local waiting = cxb.task.spawn("blocked", function()
      return select(2, client:call("BLPOP", "nothing", "0"))
    end)
    server:kill()
    assert.equal("unavailable", waiting:wait(20000))
    assert.equal("unavailable", (select(2, client:call("PING"))))
    server:run()
    World.wait_until("the connection", function() return client:call("PING") end)
    client:close()
  end)

  it("that stands still is given up after its time; nobody waits for it again", function()
    local server = RedisServer.start(world)
    local client = assert(cxb.redis.connect(server.url, { timeout_ms = 300 }))
    World.wait_until("the connection", function() return client:call("PING") end)
    server:freeze()
    local _, code, message = client:call("PING")
    assert.same({ "unavailable", "no answer in time" }, { code, message })
    assert.equal("unavailable", (select(2, client:call("PING"))))
    server:thaw()
    World.wait_until("the connection", function() return client:call("PING") end)
    client:close()
  end)

  it("that listens is told when it hears again after the server was away", function()
    local server = RedisServer.start(world)
    local client = assert(cxb.redis.connect(server.url))
    local inbox = assert(cxb.redis.listen(server.url, "news:*"))
    assert.equal("up", inbox:receive(20000))
    assert.equal(1, client:call("PUBLISH", "news:a", "one\0two"))
    assert.same({ "message", "news:a", "one\0two" }, { inbox:receive(20000) })
    assert.equal(0, client:call("PUBLISH", "other", "x"))
    assert.same({ nil, "timeout" }, { inbox:receive(1) })
    server:kill()
    server:run()
    assert.equal("up", inbox:receive(20000))
    World.wait_until("the connection", function() return client:call("PUBLISH", "news:b", "3") end)
    assert.same({ "message", "news:b", "3" }, { inbox:receive(20000) })
    inbox:close()
    assert.same({ nil, "closed" }, { inbox:receive(1) })
    client:close()
  end)
end)
