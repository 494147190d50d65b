-- stores: both
-- Redis dies, and stands still, under load.
local RedisServer = require "support.redis_server"
local json = require "cxb.json"
local process = require "support.api_process"
local support = require "support.world"

local API = "/api/v1"
local CLIENTS = 6

describe("the API while its Redis is away", function()
  local world = support.new()
  after_each(function() world:close() end)

  -- Requests of every kind that the cache has a part in; what was answered, by route and status.
  local function load_on(api, token)
    local load = { stop = false, seen = {}, kept = {}, tasks = {} }
    local function note(route, answer)
      local key = route .. " " .. answer.status
      load.seen[key] = (load.seen[key] or 0) + 1
      if answer.status ~= 503 and (answer.status < 200 or answer.status >= 300) then
        load.wrong = load.wrong or ("%s: %s"):format(key, answer.body or answer.code)
      end
    end
    local host = { host_id = "h1", boot_id = "boot-0001", base_url = "http://127.0.0.1:9", version = "1",
      generation = 1, fleet_max = 4, fleet_calls = 0, fleet_available = 4, workers = {},
      draining = false, consumed = {}, flows_revision = 0, load = json.object({}), memory = json.object({}),
      outbox = { pending = 0, dead = 0, oldest_age_seconds = 0 } }
    local requests = {
      function()
        local id = cxb.crypto.uuid7()
        local answer = api:ask("POST", API .. "/call-results", { body = { session_id = id,
          disconnected_by = "customer", call_duration_seconds = 1 } })
        note("result", answer)
        if answer.status == 200 then load.kept[#load.kept + 1] = id end
      end,
      function() note("bots", api:ask("GET", API .. "/bots", { token = process.token() })) end,
      function() note("register", api:ask("POST", API .. "/fleet/register", { body = host })) end,
      function()
        note("desk", api:ask("POST", API .. "/agent-desk/enqueue",
          { body = { call_id = cxb.crypto.uuid7() } }))
      end,
      function() note("beat", api:ask("POST", API .. "/agent-desk/status/heartbeat", { token = token })) end,
      function() note("health", api:ask("GET", "/health")) end,
    }
    for i = 1, CLIENTS do
      load.tasks[i] = cxb.task.spawn("client", function()
        local n = i
        while not load.stop do
          n = n % #requests + 1
          requests[n]()
        end
      end)
    end
    function load.count(key) return load.seen[key] or 0 end
    function load.finish()
      load.stop = true
      for _, task in ipairs(load.tasks) do task:wait(60000) end
    end
    return load
  end

  it("answers what needs no Redis, 503 the rest, and loses no result", function()
    local redis = RedisServer.start(world)
    local api = process.start(world, { env = { REDIS_URL = redis.url, CXB_RATE_SCALE = "1000" } })
    assert.equal(201, api:ask("POST", API .. "/auth/register", { body = { email = "ann@example.org",
      name = "ann", role = "agent", password = "correct horse battery" } }).status)
    local pid = api.process.pid
    local load = load_on(api, process.token("ann@example.org"))
    local function go_on(what, n)
      local before = { load.count("result 200"), load.count("bots 200"), load.count("desk 200") }
      support.wait_until(what, function()
        return load.wrong or (load.count("result 200") >= before[1] + n
          and load.count("bots 200") >= before[2] + n and load.count("desk 200") >= before[3] + n)
      end)
    end
    go_on("load", 10)
    redis:kill()
    support.wait_until("503 for what is in Redis", function()
      return load.wrong or load.count("beat 503") > 0
    end)
    go_on("work without Redis", 10)
    redis:run()
    local beats = load.count("beat 200")
    support.wait_until("Redis in use again", function()
      return load.wrong or load.count("beat 200") > beats
    end)
    local refused = load.count("beat 503")
    support.wait_until("503 while it stands still", function()
      redis:freeze() -- again: spec/shake may have let it go on
      return load.wrong or load.count("beat 503") > refused
    end)
    go_on("work beside a Redis that stands still", 10)
    redis:thaw()
    beats = load.count("beat 200")
    support.wait_until("Redis in use again", function()
      return load.wrong or load.count("beat 200") > beats
    end)
    load.finish()
    assert.is_nil(load.wrong)
    assert.is_nil(api.process.ended)
    assert.equal(pid, api.process.pid)
    for _, id in ipairs(load.kept) do
      assert.equal("completed", api:ask("GET", API .. "/calls/" .. id).answer.status)
    end
    support.wait_until("the cache", function() return api:ask("GET", "/health").answer.cache.ok end)
  end)

  it("lets nobody in who signed out at this process or was seen to have", function()
    local redis = RedisServer.start(world)
    local env = { REDIS_URL = redis.url, CXB_API_INSTANCES = "2", CXB_STATE_DIR = world:folder() }
    local here = process.start(world, { env = env })
    env.MONGODB_DB, env.CXB_REDIS_PREFIX = here.env.MONGODB_DB, here.env.CXB_REDIS_PREFIX
    local there = process.start(world, { env = env })
    local function me(api, token)
      return api:ask("GET", API .. "/auth/me", { token = token }).status
    end
    local seen, made, before = process.token(), process.token(), process.token()
    assert.equal(204, there:ask("POST", API .. "/auth/logout", { token = seen }).status)
    assert.equal(204, here:ask("POST", API .. "/auth/logout", { token = made }).status)
    assert.same({ 401, 401, 200 }, { me(here, seen), me(here, made), me(here, before) })
    here.process:kill("HUP")
    support.wait_until("the next generation", function()
      return here:ask("GET", "/health").answer.generation == 2
    end)
    redis:kill()
    assert.same({ 401, 401, 200 }, { me(here, seen), me(here, made), me(here, before) })
    assert.equal(204, here:ask("POST", API .. "/auth/logout", { token = before }).status)
    assert.equal(401, me(here, before))
    redis:run()
    support.wait_until("Redis in use again, empty", function()
      return here:ask("GET", "/health").answer.cache.ok and there:ask("GET", "/health").answer.cache.ok
    end)
    assert.same({ 401, 401 }, { me(here, made), me(here, before) })
    assert.same({ 401, 401 }, { me(there, made), me(there, before) }) -- told again
  end)
end)
