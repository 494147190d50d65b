-- stores: both
-- Live events over HTTP: two real processes of the API on one Redis; the spec publishes to it.
local Cache = require "cxb.cache"
local RedisServer = require "support.redis_server"
local SseClient = require "support.sse_client"
local json = require "cxb.json"
local process = require "support.api_process"
local support = require "support.world"

local STREAM = "/api/v1/events/stream?topics="

describe("the stream of live events", function()
  local world, redis, cache
  before_each(function()
    world = support.new()
    redis = RedisServer.start(world)
    cache = assert(Cache.open({ url = redis.url }))
  end)
  after_each(function()
    cache:close()
    world:close()
  end)

  local function start(env)
    env = env or {}
    env.REDIS_URL, env.CXB_REDIS_PREFIX = redis.url, "cxb:"
    return process.start(world, { env = env })
  end

  local function tell(topic, n) return tonumber(assert(cache:publish(topic, "turn", { n = n }))) end

  it("begins with a snapshot and brings what is published to its topics, ids rising", function()
    local api = start()
    local one = SseClient.open(api, STREAM .. "calls,call:abc")
    local first = one:next()
    assert.same({ "snapshot", { topics = { "calls", "call:abc" } } }, { first.name, first.data })
    for n = 1, 5 do
      tell("calls", n)
      tell("fleet", n)
      tell("call:abc", -n)
    end
    local last = first.id or 0
    for n = 1, 5 do
      for _, expected in ipairs({ { topic = "calls", data = { n = n } },
        { topic = "call:abc", data = { n = -n } } }) do
        local event = one:next()
        assert.same(expected, event.data)
        assert.is_true(event.id > last)
        last = event.id
      end
    end
    one:close()
  end)

  it("of any process has what any process publishes, and resumes on another one", function()
    local a, b = start(), start()
    local one = SseClient.open(a, STREAM .. "calls")
    one:next()
    tell("calls", 1)
    local id = one:next().id
    one:close()
    for n = 2, 50 do tell("calls", n) end
    local two = SseClient.open(b, STREAM .. "calls", { last_id = id })
    for n = 2, 50 do assert.equal(n, two:next().data.data.n) end
    tell("calls", 51)
    assert.equal(51, two:next().data.data.n)
    two:close()
  end)

  it("gives a snapshot to who was away too long", function()
    local api = start()
    local id = tell("calls", 0)
    for n = 1, 300 do tell("calls", n) end
    local one = SseClient.open(api, STREAM .. "calls", { last_id = id })
    assert.equal("snapshot", one:next().name)
    local newest = tell("calls", 301)
    assert.same({ newest, 301 }, { one:next().id, one.events[2].data.data.n })
    one:close()
  end)

  it("loses nothing over a reload: it says goodbye and the client goes on where it was", function()
    local api = start()
    local seen, id, running = {}, nil, true
    local reader = cxb.task.spawn("page", function()
      while running do
        local one = SseClient.open(api, STREAM .. "calls", { last_id = id })
        local event = one:next()
        while event and event.name ~= "bye" do
          if event.name == "turn" then seen[#seen + 1] = event.data.data.n end
          id = event.id or id
          event = one:next()
        end
      end
    end)
    process.wait_until("the stream", function() return id or tell("calls", 0) and id end)
    local from, sent, publishing = #seen, 0, true
    local publisher = cxb.task.spawn("publisher", function()
      while publishing do
        if sent < #seen + 100 then -- a page that is away finds the last 256
          sent = sent + 1
          tell("calls", sent)
        end
        cxb.time.sleep(20)
      end
    end)
    for generation = 2, 4 do
      api.process:kill("HUP")
      process.wait_until("a reload", function()
        return api:ask("GET", "/health").answer.generation == generation
      end)
    end
    publishing = false
    publisher:wait(60000)
    process.wait_until("the last event", function() return seen[#seen] == sent end)
    local numbers = {}
    for i = from + 1, #seen do
      if seen[i] > 0 then numbers[#numbers + 1] = seen[i] end
    end
    for n = 1, sent do assert.equal(n, numbers[n]) end
    process.wait_until("one generation", function()
      return api:ask("GET", "/metrics").body:match("cxb_generations%S* 1\n")
    end)
    running = false
    api.process:stop()
    reader:wait(60000)
  end)

  it("says goodbye at SIGTERM, and the process ends at once", function()
    local api = start()
    local one = SseClient.open(api, STREAM .. "calls")
    one:next()
    local from = cxb.time.mono()
    api.process:kill("TERM")
    local bye = one:next()
    assert.same({ "bye", { reason = "shutdown" } }, { bye.name, bye.data })
    assert.equal(0, api.process:wait(25000))
    assert.is_true(cxb.time.mono() - from < 25000)
    assert.equal(200, one:finish())
  end)

  it("cuts off a reader that is too slow, who then finds what it missed", function()
    local api = start()
    local go = world:folder() .. "/go"
    local slow = world:start({ "python3", cxb.root .. "/spec/support/slow_reader.py", api.socket,
      STREAM .. "calls", process.token(), go, "turn" }, { PATH = cxb.process.env("PATH") })
    local quick = SseClient.open(api, STREAM .. "calls")
    quick:next()
    process.wait_until("both", function()
      return api:ask("GET", "/metrics").body:match("cxb_sse_streams 2\n")
    end)
    local text = ("x"):rep(4000)
    for n = 1, 800 do
      cache:publish("calls", "turn", { n = n, text = text })
      if n % 100 == 0 then -- who reads all the time is never 256 events behind
        process.wait_until("the quick one", function()
          local last = quick.events[#quick.events]
          return last.name == "turn" and last.data.data.n == n
        end)
      end
    end
    process.wait_until("the slow one's end", function()
      return api:ask("GET", "/metrics").body:match("cxb_sse_streams 1\n")
    end)
    world:write(go, "")
    assert.equal(0, slow:wait(60000))
    local got = tonumber(slow.log[#slow.log]:match("^events (%d+)$"))
    assert.is_true(got < 800, slow:output())
    quick:close()
  end)

  it("is for five tabs of one person at once", function()
    local api = start()
    local tabs = {}
    for i = 1, 5 do
      tabs[i] = SseClient.open(api, STREAM .. "calls")
      assert.equal("snapshot", tabs[i]:next().name)
    end
    local sixth = api:ask("GET", STREAM .. "calls")
    assert.same({ 429, "at_capacity" }, { sixth.status, sixth.answer.error })
    tabs[3]:close()
    process.wait_until("a place", function()
      tabs[6] = SseClient.open(api, STREAM .. "calls")
      return tabs[6]:next() -- none: refused
    end)
    for _, tab in ipairs(tabs) do tab:close() end
  end)

  it("is for who may see its topics", function()
    local api = start()
    local function user(role)
      local email = role .. "@example.org"
      local made = api:ask("POST", "/api/v1/auth/register",
        { body = { email = email, name = role, role = role, password = "correct horse battery" } })
      assert.equal(201, made.status)
      return process.token(email)
    end
    local agent = user("agent")
    assert.equal(403, api:ask("GET", STREAM .. "desk,calls", { token = agent }).status)
    assert.equal(401, api:ask("GET", STREAM .. "calls", { token = "x" }).status)
    local desk = SseClient.open(api, STREAM .. "desk", { token = agent })
    assert.equal("snapshot", desk:next().name)
    desk:close()
    for _, topics in ipairs({ "", "nonsense", "call", "call:../x", "calls:1", "desk:1" }) do
      assert.equal(400, api:ask("GET", STREAM .. topics).status, topics)
    end
  end)

  it("goes on by itself when Redis was away, and tells the page to come back", function()
    local api = start()
    local one = SseClient.open(api, STREAM .. "calls")
    one:next()
    redis:kill()
    process.wait_until("the cache away", function()
      return api:ask("GET", "/health").answer.cache.ok == false
    end)
    assert.equal(200, api:ask("GET", "/health").status)
    assert.equal(200, api:ask("GET", "/api/v1/bots").status)
    redis:run()
    assert.same({ reason = "resume" }, one:next().data)
    process.wait_until("the cache", function() return api:ask("GET", "/health").answer.cache.ok end)
    local two = SseClient.open(api, STREAM .. "calls", { last_id = one.events[1].id })
    two:next()
    process.wait_until("the spec's cache", function() return cache:ping() end)
    tell("calls", 9)
    assert.equal(9, two:next().data.data.n)
    two:close()
  end)

  it("is counted, and its text is JSON", function()
    local api = start()
    local one = SseClient.open(api, STREAM .. "calls")
    one:next()
    assert.truthy(api:ask("GET", "/metrics").body:match("cxb_sse_streams 1\n"))
    cache:publish("calls", "turn", { text = "line\nline\r\n\n«é»" })
    assert.equal("line\nline\r\n\n«é»", one:next().data.data.text)
    one:close()
    process.wait_until("no stream", function()
      cache:publish("calls", "turn", json.object({}))
      return api:ask("GET", "/metrics").body:match("cxb_sse_streams 0\n")
    end)
  end)
end)
