-- timeout: 300
-- Start requests to real call workers, alone and behind the real front: who answers, and what a
-- refusal leaves behind.
local front_of = require("support.front")
local dialler = require("support.dialler")
local json = require("cjson.safe")
local support = require("support.world")

local SECRET = ("k"):rep(40)
local paths = { "/livekit/dispatch", "/livekit/dialout", "/attach", "/livekit/widget" }
local secret = { ["x-cxb-core-secret"] = SECRET }

local api_handler = [[
local json = require("cjson.safe")
return function(req)
  req:respond(200, json.encode({ session_id = "s-1", webhook_url = "", system_prompt = "",
    opening_message = "", stt = { provider = "none" }, tts = { provider = "none" }, flow = "park",
    max_silence_seconds = 0 }))
end
]]

describe("start requests", function()
  local world, dir, api

  local function worker(id, more)
    local env = {
      CXBCORE_SECRET = SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
      CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = "3",
      CXB_WORKER_ID = tostring(id), CXB_FLOWS_DIR = dir .. "/flows", CXB_BOTS_DIR = dir .. "/bots",
      CXB_API_CONFIG_URL = "http+unix:" .. dir .. "/api.sock", PATH = os.getenv("PATH"),
    }
    env.CXB_API_CONFIG_URL = api.url .. "/api/v1/config"
    for name, value in pairs(more or {}) do env[name] = value end
    return world:service("core.lua", env, ("%s/core-%d.sock"):format(dir, id))
  end

  local function post(id, path, body, headers)
    local answer = assert(cxb.http.request({ method = "POST", body = body or "{}",
      url = ("http+unix:%s/core-%d.sock:%s"):format(dir, id, path), headers = headers }))
    return answer.status, json.decode(answer.body), answer.headers
  end

  local function calls_of(id)
    return support.get_json(("http+unix:%s/core-%d.sock:/health"):format(dir, id)).worker_calls
  end

  local function left_behind()
    local names = {}
    for _, folder in ipairs({ "journal", "recordings", "results" }) do
      for _, name in ipairs(cxb.fs.list(dir .. "/state/" .. folder) or {}) do
        if not name:match("%.lock$") then names[#names + 1] = folder .. "/" .. name end
      end
    end
    return names
  end

  -- A call that holds worker `id`.
  local function busy(id)
    local d = assert(dialler.connect(("%s/core-%d.sock"):format(dir, id), "park")):begin()
    support.wait_until("the call on " .. id, function()
      local socket = ("%s/ctl/core-%d.sock"):format(dir, id)
      local status = cxb.process.control(socket, { verb = "status" })
      return status and status.session_id ~= ""
    end)
    return d
  end

  -- What the API was asked, but for live events, which nobody waits for.
  local function asked()
    local list = {}
    for _, request in ipairs(api.seen()) do
      if not request.path:find("/live$") then list[#list + 1] = request.path end
    end
    return list
  end

  local function rows()
    local answer = assert(cxb.http.request({ headers = secret,
      url = "http+unix:" .. dir .. "/core-1.sock:/outbox" }))
    return #json.decode(answer.body).items
  end

  before_each(function()
    world = support.new()
    dir = world:folder()
    local port = world:port()
    api = world:server("tcp:127.0.0.1:" .. port, api_handler)
    api.url = "http://127.0.0.1:" .. port
    world:write(dir .. "/flows/park.lua",
      "return function(call) repeat local h = call:listen({ timeout = 60 }) until h.hangup end")
  end)
  after_each(function() world:close() end)

  it("are refused by method, secret, slot and room in this order, and leave nothing", function()
    worker(1)
    for _, path in ipairs(paths) do
      local got = assert(cxb.http.request({ url = "http+unix:" .. dir .. "/core-1.sock:" .. path }))
      assert.equal(405, got.status)
      assert.equal("POST", got.headers.allow)
      local status, body = post(1, path)
      assert.same({ 403, { error = "forbidden" } }, { status, body })
      status, body = post(1, path, "{}", { ["x-cxb-core-secret"] = SECRET,
        ["x-cxbcore-secret"] = "another" })
      assert.same({ 403, { error = "forbidden" } }, { status, body })
      status, body = post(1, path, "{}", { ["x-cxbcore-secret"] = SECRET })
      assert.same({ 503, { error = "livekit_not_configured" } }, { status, body })
    end
    assert.equal(0, calls_of(1))
    assert.same({}, left_behind())
    assert.equal(0, rows())
    assert.equal(0, #api.seen())
  end)

  it("say which part of the rooms is missing", function()
    worker(1, { LIVEKIT_URL = "ws://127.0.0.1:1", LIVEKIT_API_KEY = "key" })
    assert.equal("livekit_not_configured", select(2, post(1, "/attach", "{}", secret)).error)
    worker(2, { LIVEKIT_URL = "ws://127.0.0.1:1", LIVEKIT_API_KEY = "key",
      LIVEKIT_API_SECRET = "secret" })
    assert.equal("livekit_unavailable", select(2, post(2, "/attach", "{}", secret)).error)
  end)

  it("get 429 from a busy worker without reading what they carry, and nothing of it stays", function()
    worker(1)
    local d = busy(1)
    local before = support.wait_until("the call's own journal and recording", function()
      local files = left_behind()
      return #files == 2 and files
    end)
    for _, path in ipairs(paths) do
      local status, body, headers = post(1, path, "not json", secret)
      assert.same({ 429, { error = "at_capacity" }, "1" }, { status, body, headers["retry-after"] })
      status = post(1, path, "not json", { ["x-cxb-core-secret"] = "wrong" })
      assert.equal(403, status)
    end
    assert.same(before, left_behind())
    assert.equal(0, rows())
    assert.same({ "/api/v1/config/park" }, asked()) -- the call's own
    d:hangup()
    support.wait_until("the free slot", function() return calls_of(1) == 0 end)
    assert.equal(503, (post(1, "/attach", "{}", secret)))
  end)

  it("get 429 draining from a worker that drains, 503 storage_full without disk", function()
    local first = worker(1)
    local d = busy(1)
    first:kill("TERM")
    support.wait_until("draining", function()
      return select(2, post(1, "/attach", "{}", secret)).error == "draining"
    end)
    assert.equal(429, (post(1, "/attach", "{}", secret)))
    d:hangup()
    assert.equal(0, first:wait(30000))
    local before, told = left_behind(), asked()
    worker(2, { CXB_MIN_FREE_MB = "1000000000" })
    for _, path in ipairs(paths) do
      local status, body = post(2, path, "{}", secret)
      assert.same({ 503, { error = "storage_full" } }, { status, body })
    end
    assert.equal(0, calls_of(2))
    assert.same(before, left_behind())
    assert.same(told, asked())
  end)

  it("pass the front with sockets: a busy worker's 429 is asked of the next, a free one answers",
    function()
      local front = front_of.start(world, { workers = 3, started = 0, dir = dir })
      for id = 1, 3 do worker(id) end
      local one, two = busy(1), busy(2)
      for _, path in ipairs({ "/livekit/dialout", "/attach", "/livekit/widget" }) do
        for _ = 1, 4 do
          local status, body = front:post(path, '{"a":1}', secret)
          assert.same({ 503, "livekit_not_configured" }, { status, body.error })
        end
      end
      local three = assert(cxb.ws.connect(front.ws .. "/ws/park", { timeout_ms = 30000 }))
      support.wait_until("three calls", function() return calls_of(3) == 1 end)
      local status, body, headers = front:post("/attach", "{}", secret)
      assert.same({ 429, "at_capacity", "1" }, { status, body.error, headers["retry-after"] })
      status, body = front:refused("/ws/park")
      assert.same({ 503, "at_capacity" }, { status, body.error })
      two:hangup()
      support.wait_until("the freed worker", function()
        return front:post("/attach", "{}", secret) == 503
      end)
      one:hangup()
      three:close()
    end)

  it("find the free worker past one that is busy by a call the front does not know", function()
    local front = front_of.start(world, { workers = 2, started = 0, dir = dir })
    for id = 1, 2 do worker(id) end
    local hidden = busy(1) -- straight to its socket: nginx counts no connection there
    for _ = 1, 4 do
      assert.equal(503, (front:post("/attach", "{}", secret)))
    end
    local conn = assert(cxb.ws.connect(front.ws .. "/ws/park", { timeout_ms = 30000 }))
    support.wait_until("a call on the other worker", function() return calls_of(2) == 1 end)
    conn:close()
    hidden:hangup()
  end)

  it("find the free worker past one that drains, and so do sockets", function()
    local front = front_of.start(world, { workers = 2, started = 0, dir = dir })
    for id = 1, 2 do worker(id) end
    assert(cxb.process.control(dir .. "/ctl/core-1.sock", { verb = "drain" }).ok)
    local refused, why = post(1, "/attach", "{}", secret)
    assert.same({ 429, "draining" }, { refused, why.error })
    for _ = 1, 4 do
      local status, body = front:post("/attach", "{}", secret)
      assert.same({ 503, "livekit_not_configured" }, { status, body.error })
    end
    local conn = assert(cxb.ws.connect(front.ws .. "/ws/park", { timeout_ms = 30000 }))
    support.wait_until("a call on the other worker", function() return calls_of(2) == 1 end)
    conn:close()
  end)
end)
