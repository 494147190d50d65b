-- waits: 25
-- The API while its MongoDB is dead, frozen or not there yet.
local MongoServer = require "support.mongo_server"
local process = require "support.api_process"
local World = require "support.world"

describe("an API on MongoDB", function()
  local world, mongo, env

  before_each(function()
    world = World.new()
    if MongoServer.given() then pending("the MongoDB of MONGODB_URI is not ours to kill") end
    mongo = MongoServer.new(world)
    env = mongo:env()
    env.MONGODB_URI = env.MONGODB_URI .. "?socketTimeoutMS=1000&serverSelectionTimeoutMS=500"
    env.CXB_PUBLIC_URL, env.CXB_SECRETS_KEY = "http://localhost", cxb.crypto.base64(("k"):rep(32))
  end)

  after_each(function()
    world:close()
  end)

  -- Eight senders of results, one after the other each, until stop().
  local function load(api)
    local run = { accepted = {}, refused = 0, odd = {}, tasks = {}, going = true }
    local function send(worker, n)
      local id = ("outage-%d-%d"):format(worker, n)
      local answer = api:ask("POST", "/api/v1/call-results", { body = {
        session_id = id, bot_id = "demo", disconnected_by = "customer", call_duration_seconds = 1,
      } })
      if answer.status == 200 or answer.status == 201 then
        run.accepted[#run.accepted + 1] = id
      elseif answer.status == 503 and answer.answer.error == "store_unavailable"
        and answer.headers["retry-after"] == "2" then
        run.refused = run.refused + 1
      else
        run.odd[#run.odd + 1] = ("%s %s"):format(answer.status, answer.body or answer.message)
      end
    end
    for worker = 1, 8 do
      run.tasks[worker] = cxb.task.spawn("sender", function()
        local n = 0
        while run.going do
          n = n + 1
          send(worker, n)
        end
      end)
    end
    function run.stop()
      run.going = false
      for _, task in ipairs(run.tasks) do task:wait(60000) end
    end
    return run
  end

  local function more_than(run, what, n)
    World.wait_until(what, function()
      return (type(run[what]) == "table" and #run[what] or run[what]) > n
    end)
  end

  -- The store's second is short for a busy machine: who is answered 503 asks again.
  local function all_there(api, run)
    for _, id in ipairs(run.accepted) do
      local status
      World.wait_until(id, function()
        status = api:ask("GET", "/api/v1/calls/" .. id).status
        return status ~= 503
      end)
      assert.equal(200, status, id)
    end
  end

  it("answers 503 while it is dead, loses no accepted result and goes on without a restart",
    function()
      mongo:start()
      local api = process.start(world, { env = env })
      local run = load(api)
      for _ = 1, 2 do
        more_than(run, "accepted", #run.accepted + 20)
        mongo:crash()
        more_than(run, "refused", run.refused + 20)
        assert.equal(503, api:ask("GET", "/health", { secret = false }).status)
        assert.equal(200, api:ask("GET", "/health/live", { secret = false }).status)
        mongo:start()
      end
      more_than(run, "accepted", #run.accepted + 20)
      run.stop()
      assert.same({}, run.odd)
      all_there(api, run)
      assert.is_nil(api.process.ended)
      local lines = 0
      for _, line in ipairs(api.process.log) do
        lines = lines + (line:find('"msg":"store unavailable"', 1, true) and 1 or 0)
      end
      assert.is_true(lines >= 2 and lines < run.refused, lines)
      World.wait_until("good health", function()
        return api:ask("GET", "/health", { secret = false }).status == 200
      end)
    end)

  it("answers 503 while it stands still, and goes on with it", function()
    mongo:start()
    local api = process.start(world, { env = env })
    local run = load(api)
    more_than(run, "accepted", 20)
    World.wait_until("refused", function()
      mongo.process:kill("STOP") -- again: spec/shake may have let it go on
      return run.refused > 20
    end)
    mongo.process:kill("CONT")
    more_than(run, "accepted", #run.accepted + 20)
    run.stop()
    assert.same({}, run.odd)
    all_there(api, run)
  end)

  it("waits at its start for one that comes later", function()
    local api = process.start(world, { env = env, wait = false })
    World.wait_until("the API to wait", function()
      return api.process:logged("waiting for the store")
    end)
    mongo:start()
    World.wait_until("the API", function()
      return api:ask("GET", "/health/ready").status == 200
    end)
    assert.equal("mongodb", api:ask("GET", "/health", { secret = false }).answer.store.kind)
  end)

  it("does not start without what several machines must share, or with an address that is none",
    function()
      local bad = "mongodb://user:hidden-word@/:x"
      for name, value in pairs({ JWT_SECRET = "", CXBCORE_SECRET = "", CXB_SECRETS_KEY = "",
        CXB_PUBLIC_URL = "", MONGODB_URI = bad, MONGODB_DB = "a.b" }) do
        local changed = { [name] = value }
        for other, given in pairs(env) do
          changed[other] = changed[other] or given
        end
        local api = process.start(world, { env = changed, wait = false })
        assert.equal(1, api.process:wait(60000), name)
        assert.matches(name .. ": ", api.process:output(), 1, true)
        assert.is_nil(api.process:output():find("hidden-word", 1, true))
      end
    end)
end)
