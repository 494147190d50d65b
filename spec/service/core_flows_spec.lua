-- waits: 18
-- Published flows on a host: real workers, and an API that a spec scripts.
local json = require("cxb.json")
local dialler = require("support.dialler")
local support = require("support.world")

local SECRET = ("k"):rep(40)

-- What is published, what the host told last, and results by their session.
local API = [[
local json = require("cjson.safe")
local set, told, results, calls = { revision = 0, files = {} }, "{}", {}, 0
return function(req, seen, body)
  for i = #seen, 1, -1 do seen[i] = nil end
  local flow = req.path:match("^/api/v1/config/([%w_]+)$")
  if req.path == "/_set" then
    set = json.decode(body)
    return req:respond(200, "{}")
  elseif req.path == "/_told" then
    return req:respond(200, told)
  elseif req.path == "/_results" then
    return req:respond(200, json.encode({ list = results }))
  elseif req.path == "/api/v1/fleet/register" then
    told = body
    return req:respond(200, json.encode({ heartbeat_seconds = 1, ttl_seconds = 5,
      desired = { drain = false, flows_revision = set.revision } }))
  elseif req.path == "/api/v1/flows/bundle" then
    if set.silent then return req:respond(503, "{}") end
    return req:respond(200, json.encode(set))
  elseif flow then
    calls = calls + 1
    return req:respond(200, json.encode({ session_id = "s" .. calls, webhook_url = URL .. "/results",
      system_prompt = "", opening_message = "", stt = { provider = "none" },
      tts = { provider = "none" }, flow = flow, max_silence_seconds = 0 }))
  end
  if req.path == "/results" then results[#results + 1] = json.decode(body) end
  return req:respond(200, "{}")
end
]]

describe("published flows", function()
  local world, url, env, dir, first, second
  local revision = 0

  setup(function()
    world = support.new()
    local port = world:port()
    dir, url = world:folder(), "http://127.0.0.1:" .. port
    world:server("tcp:127.0.0.1:" .. port, (API:gsub("%f[%w]URL%f[%W]", ("%q"):format(url))))
    env = {
      CXBCORE_SECRET = SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
      CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = "2",
      CXB_API_CONFIG_URL = url .. "/api/v1/config", CXB_HOST_URL = "http://127.0.0.1:9",
      CXB_HOST_ID = "h1", CXB_MIN_FREE_MB = "0", PATH = cxb.process.env("PATH"),
    }
  end)

  teardown(function()
    world:close()
  end)

  local function env_of(n)
    local own = { CXB_WORKER_ID = tostring(n) }
    for name, value in pairs(env) do
      own[name] = value
    end
    return own
  end

  local function start(n)
    return world:service("core.lua", env_of(n), ("%s/core-%d.sock"):format(dir, n))
  end

  -- The next revision; workers are told of it at the next heartbeat.
  local function publish(sources, change)
    revision = revision + 1
    local files = {}
    for name, source in pairs(sources) do
      files[#files + 1] = { path = name .. ".lua", content = source,
        sha256 = cxb.crypto.hex(cxb.crypto.sha256(source)) }
    end
    local set = { revision = revision, files = json.array(files) }
    if change then
      change(set)
    end
    local answer = assert(cxb.http.request({ url = url .. "/_set", method = "POST",
      body = json.encode(set) }))
    assert.equal(200, answer.status)
  end

  local function told()
    return assert(support.get_json(url .. "/_told"))
  end

  -- Until each worker says that it runs this revision; what the host told then.
  local function loaded()
    return support.wait_until("revision " .. revision, function()
      local body = told()
      local n = 0
      for _, worker in ipairs(body.workers or {}) do
        n = n + (worker.flows_revision == revision and 1 or 0)
      end
      return n == 2 and body.flows_revision == revision and body
    end)
  end

  local function say(word)
    return ('return function(call)\n  call:intent("%s")\n  call:hangup()\nend\n'):format(word)
  end

  -- A call on a worker from beginning to end: the intent its flow noted.
  local function call(n, flow)
    local before = #support.get_json(url .. "/_results").list
    support.wait_until("a free slot", function()
      return (dialler.connect(("%s/core-%d.sock"):format(dir, n), flow))
    end):begin()
    local results = support.wait_until("a result", function()
      local list = support.get_json(url .. "/_results").list
      return #list > before and list
    end)
    local last = results[#results]
    return last.intents and last.intents[1] and last.intents[1].name or last.error
  end

  it("are fetched by the host and loaded by every worker; they go before shipped ones", function()
    publish({ mine = say("one"), echo = say("copy") })
    first, second = start(1), start(2)
    loaded()
    assert.same({ "one", "one", "copy" }, { call(1, "mine"), call(2, "mine"), call(1, "echo") })
    publish({ mine = say("two") })
    local body = loaded()
    assert.is_nil(body.flows_error)
    assert.same({ "two", "two" }, { call(1, "mine"), call(2, "mine") })
  end)

  it("are put in place in one step, the revision before beside them and none else", function()
    publish({ mine = say("three") })
    loaded()
    local folder = dir .. "/state/flows"
    local current = json.decode(world:read(folder .. "/current"))
    local previous = json.decode(world:read(folder .. "/previous"))
    assert.same({ 3, 2 }, { current.revision, previous.revision })
    local names = cxb.fs.list(folder)
    table.sort(names)
    local folders = { current.folder, previous.folder }
    table.sort(folders)
    assert.same({ "current", "previous", folders[1], folders[2] }, names)
  end)

  it("that do not load change nothing, and each worker says why; nor do they keep one from starting",
    function()
      publish({ mine = say("good") })
      loaded()
      publish({ mine = "error('not on this host')" })
      local body = support.wait_until("both failures", function()
        local now = told()
        local failed = 0
        for _, worker in ipairs(now.workers) do
          failed = failed + (worker.flows_error and 1 or 0)
        end
        return failed == 2 and now
      end)
      assert.matches("flows/mine.lua:1: not on this host", body.workers[1].flows_error)
      assert.same({ revision - 1, revision - 1 }, { body.workers[1].flows_revision,
        body.workers[2].flows_revision })
      assert.same({ "good", "good" }, { call(1, "mine"), call(2, "mine") })
      first:kill("KILL")
      first:wait()
      start(1)
      assert.equal("good", call(1, "mine"))
      publish({ mine = say("better") })
      assert.is_nil(loaded().workers[1].flows_error)
      assert.equal("better", call(2, "mine"))
    end)

  it("that come while a worker starts are what it runs", function()
    second:kill("KILL")
    second:wait()
    local held = support.wait_until("the outbox that a start waits for", function()
      return (cxb.outbox.open(dir .. "/state/outbox-2.db", {}))
    end)
    second = world:start({ support.program, "core.lua" }, env_of(2))
    local function row_of(id)
      for _, worker in ipairs(told().workers) do
        if worker.id == id then
          return worker
        end
      end
    end
    support.wait_until("the worker that starts", function()
      return row_of("2").pid == second.pid
    end)
    publish({ mine = say("better") })
    support.wait_until("the other's flows", function()
      return row_of("1").flows_revision == revision
    end)
    held:close()
    loaded()
    assert.equal("better", call(2, "mine"))
  end)

  it("whose bytes are others than were published are not taken", function()
    local good = revision
    publish({ mine = say("one") }, function(set)
      set.files[1].content = say("two")
    end)
    local body = support.wait_until("the refusal", function()
      local now = told()
      return now.flows_error and now
    end)
    assert.matches("mine.lua came with other bytes", body.flows_error)
    assert.equal(good, body.flows_revision)
    publish({ ["../evil"] = say("x") })
    support.wait_until("the refusal", function()
      return (told().flows_error or ""):find("no flow", 1, true)
    end)
    assert.equal("better", call(1, "mine"))
  end)
end)
