-- waits: 60
-- The call worker with the real binary: calls over its socket, a scripted API, no speech service.

local json = require("cjson.safe")
local support = require("support.world")
local dialler = require("support.dialler")

local SECRET = ("k"):rep(40)

-- Answers /api/v1/config/<bot> with what `bots` says and takes results; /_results lists them.
local api_handler = [[
local json = require("cjson.safe")
local results, mode = {}, "ok"
local base = { system_prompt = "", opening_message = "", stt = { provider = "none" },
  tts = { provider = "none" }, flow = "echo", max_silence_seconds = 0 }
local count = 0
local bots = {
  echo = {},
  draft = { flow_source = "local n = 0 return function(c) n = n + 1 c:intent('draft', { n = n }) end" },
  draft_spin = { flow_source = "while true do end" }, draft_bad = { flow_source = "return function(" },
  draft_hog = { flow_source = "local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end" },
  spin = { flow = "spin" }, hog = { flow = "hog" }, fail = { flow = "fail" },
  park = { flow = "park" }, short = { flow = "park", max_call_duration_seconds = 10 },
  voice = { flow = "talk", stt = { provider = "embedded" }, tts = { provider = "embedded" } },
  quiet = { flow = "park", max_silence_seconds = 2 },
  odd = { flow = "odd" }, noflow = { flow = "nowhere" }, wrong = { tools = "none" },
}
return function(req, seen, body)
  local bot = req.path:match("^/api/v1/config/([%%w_-]+)$")
  if bot == "broken" then return req:respond(500, "{}") end
  if bot == "night" then
    return req:respond(503, json.encode({ error = "x", message = "outside_active_hours: closed" }))
  end
  if bot then
    if not bots[bot] then return req:respond(404, json.encode({ error = "unknown_bot" })) end
    count = count + 1
    local answer = { session_id = "sess-" .. count, webhook_url = %q }
    for k, v in pairs(base) do answer[k] = v end
    for k, v in pairs(bots[bot]) do answer[k] = v end
    return req:respond(200, json.encode(answer))
  end
  if req.path == "/_results" then return req:respond(200, json.encode({ list = results })) end
  if req.path == "/_down" then mode = "down" return req:respond(200, "{}") end
  if req.path == "/_up" then mode = "ok" return req:respond(200, "{}") end
  if req.path == "/api/v1/call-results" then
    if mode == "down" then return req:respond(503, "{}") end
    results[#results + 1] = json.decode(body)
    return req:respond(200, "{}")
  end
  req:respond(404, "{}")
end
]]

local flows = {
  spin = "return function(call) while true do end end",
  hog = "return function(call) local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end end",
  fail = "return function(call) error('on purpose') end",
  odd = "return function(call) call:event('odd', { print = print }) call:hangup() end",
  talk = "return function(call) call:say('Hello there.') call:listen() end",
  park = "return function(call) repeat local h = call:listen({ timeout = 60 }) until h.hangup end",
}

describe("the call worker", function()
  local world, dir, api, api_url, env, worker, socket

  local function start(more)
    for key, value in pairs(more or {}) do
      env[key] = value
    end
    worker = world:service("core.lua", env, socket)
    return worker
  end

  local function get(path, headers)
    return support.get_json("http+unix:" .. socket .. ":" .. path, headers)
  end

  local function results()
    return assert(support.get_json(api_url .. "/_results")).list
  end

  -- (waits) The n-th result the API took.
  local function result(n)
    return support.wait_until("result " .. (n or 1), function()
      return results()[n or 1]
    end)
  end

  local function call(bot, o)
    local d, code, message = dialler.connect(socket, bot, o)
    if not d then
      return nil, code, message
    end
    return d:begin(o and o.event)
  end

  -- (waits) Until the call's answer is in its journal, on disk.
  local function answered()
    support.wait_until("an answered call", function()
      for _, name in ipairs(cxb.fs.list(dir .. "/state/journal") or {}) do
        for _, record in ipairs(cxb.journal.read(dir .. "/state/journal/" .. name) or {}) do
          if record.kind == "answer" then return true end
        end
      end
    end)
  end

  local function idle()
    return support.wait_until("a free slot", function()
      return get("/health").worker_calls == 0
    end)
  end

  before_each(function()
    world = support.new()
    dir = world:folder()
    local port = world:port()
    api_url = "http://127.0.0.1:" .. port
    api = world:server("tcp:127.0.0.1:" .. port,
      api_handler:format(api_url .. "/api/v1/call-results"))
    socket = dir .. "/core-1.sock"
    for name, text in pairs(flows) do
      world:write(("%s/flows/%s.lua"):format(dir, name), text)
    end
    world:write(dir .. "/flows/echo.lua", world:read(cxb.root .. "/lua/flows/echo.lua"))
    env = {
      CXBCORE_SECRET = SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
      CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = "2",
      CXB_API_CONFIG_URL = api_url .. "/api/v1/config", CXB_FLOWS_DIR = dir .. "/flows",
      CXB_BOTS_DIR = dir .. "/bots", PATH = os.getenv("PATH"),
    }
  end)

  after_each(function()
    world:close()
  end)

  it("plays a caller's audio back and delivers one result", function()
    start()
    local d = assert(call("echo", { event = { crm = { a = json.decode("[]") } } }))
    d:speak(dialler.tone(1500))
    d:hangup()
    assert.is_true(d:wait_closed())
    assert.equal(1000, d.code)
    assert.truthy(#d:heard() > 8000 * 2 * 0.8)
    local r = result()
    assert.equal("customer", r.disconnected_by)
    assert.equal("sess-1", r.session_id)
    assert.equal("+919876543210", r.caller_id)
    assert.equal(d.stream_id, r.stream_id)
    assert.equal("echo", r.pipeline_config.flow)
    assert.truthy(r.call_duration_seconds >= 1.2)
    assert.is_nil(r.error)
    idle()
    assert.equal(1, #results())
    for _, name in ipairs(cxb.fs.list(dir .. "/state/journal")) do
      assert.is_nil(name:match("%.jnl$"))
    end
  end)

  it("hands what it does not know of the dialler's first event to the API, as it came", function()
    start()
    local event = { _campaign_session_id = "camp-1", crm = { name = "Asha & Söhne",
      tags = { "a", 7 } } }
    local d = assert(call("echo", { event = event }))
    d:hangup()
    event.callerId, event.did, event.callDirection = "+919876543210", "+911234567890", "incoming"
    event.streamId = d.stream_id
    assert.same(event, result().connected_event)
    local asked
    for _, request in ipairs(api.seen()) do
      if request.path == "/api/v1/config/echo" then asked = request.query end
    end
    local given = asked:match("connected_event=([^&]*)"):gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
    assert.same(event, json.decode(given))
  end)

  it("refuses a second call with 503 and JSON, and carries the next one", function()
    start()
    local first = assert(call("park"))
    support.wait_until("the slot", function()
      return get("/health").worker_calls == 1
    end)
    local body, answer = get("/ws/echo", { upgrade = "websocket", connection = "Upgrade",
      ["sec-websocket-version"] = "13", ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" })
    assert.equal(503, answer.status)
    assert.same({ error = "at_capacity" }, body)
    assert.equal("1", answer.headers["retry-after"])
    first:hangup()
    idle()
    local second = assert(call("echo"))
    second:hangup()
    assert.equal("sess-2", result(2).session_id)
  end)

  it("closes 1008 for an unknown bot and leaves no record", function()
    start()
    local d = assert(call("nobody"))
    assert.is_true(d:wait_closed())
    assert.equal(1008, d.code)
    idle()
    assert.equal(0, #results())
    for _, name in ipairs(cxb.fs.list(dir .. "/state/journal")) do
      assert.is_nil(name:match("%.jnl$"))
    end
  end)

  it("closes 1011 with an error result when the configuration fails, is wrong or names no flow",
    function()
      start()
      local expected = { broken = "config_500", wrong = "config_invalid:tools",
        noflow = "config_invalid:flow" }
      local n = 0
      for bot, err in pairs(expected) do
        local d = assert(call(bot))
        assert.is_true(d:wait_closed())
        assert.equal(1011, d.code)
        n = n + 1
        local r = result(n)
        assert.equal("error", r.disconnected_by)
        assert.equal(err, r.error)
        idle()
      end
    end)

  it("closes 1000 with a result outside the hours", function()
    start()
    local d = assert(call("night"))
    assert.is_true(d:wait_closed())
    assert.equal(1000, d.code)
    local r = result()
    assert.equal("outside_hours", r.disconnected_by)
    assert.is_nil(r.error)
    assert.equal(0, r.call_duration_seconds)
  end)

  it("ends a flow that loops, eats memory or fails with its own error, and serves on", function()
    start({ CXB_MAX_SCRIPT_MB = "24", CXB_TASK_STALL_END_MS = "2000" })
    local n = 0
    for bot, err in pairs({ spin = "stalled", hog = "memory", fail = "script" }) do
      local d = assert(call(bot))
      assert.is_true(d:wait_closed(), bot)
      n = n + 1
      local r = result(n)
      assert.equal(err, r.error, bot)
      assert.equal("error", r.disconnected_by)
      idle()
    end
    local d = assert(call("echo"))
    d:speak(dialler.tone(300))
    d:hangup()
    assert.equal("customer", result(4).disconnected_by)
  end)

  it("ends a draft of a flow like any other, also one that loops or fails while it loads", function()
    start({ CXB_MAX_SCRIPT_MB = "24", CXB_TASK_STALL_END_MS = "2000" })
    local n = 0
    for bot, err in pairs({ draft_spin = "stalled", draft_hog = "memory", draft_bad = "script" }) do
      local d = assert(call(bot))
      assert.is_true(d:wait_closed(), bot)
      n = n + 1
      assert.equal(err, result(n).error, bot)
      idle()
    end
    for i = 1, 2 do
      local d = assert(call("draft"))
      assert.is_true(d:wait_closed())
      local r = result(n + i)
      assert.equal("bot", r.disconnected_by)
      assert.equal(1, r.intents[1].data.n) -- each call has a draft of its own
      idle()
    end
  end)

  it("leaves out what no result can hold, says so in the log, and goes on", function()
    start()
    local d = assert(call("odd"))
    assert.is_true(d:wait_closed())
    local r = result()
    assert.equal("bot", r.disconnected_by)
    for _, event in ipairs(r.events) do assert.not_equal("odd", event.type) end
    idle()
    support.wait_until("the log to say so", function()
      return worker:output():find("a fact cannot be kept", 1, true)
    end)
    assert.falsy(worker:output():find("the task of a call died", 1, true))
  end)

  it("says time is up at the longest duration", function()
    start()
    local d = assert(call("short"))
    assert.is_true(d:wait_closed(60000))
    assert.equal("timeout", result().disconnected_by)
  end)

  it("plays the recorded apology when the speech service is dead, and ends in provider error",
    function()
      env.CXB_SPEECH_URL = "unix:" .. dir .. "/nobody.sock"
      start()
      local d = assert(call("voice"))
      assert.is_true(d:wait_closed(60000))
      local r = result()
      assert.equal("error", r.disconnected_by)
      assert.equal("provider", r.error)
      assert.truthy(#d:heard() > 3 * 16000) -- the file lasts 3.8 s
    end)

  it("hangs up on somebody who never says anything: RNR", function()
    start()
    local d = assert(call("quiet"))
    assert.is_true(d:wait_closed())
    assert.equal("RNR", result().disconnected_by)
    assert.is_false(result().has_customer_message)
  end)

  it("ends by the customer when the carrier is gone without goodbye", function()
    start()
    local d = assert(call("park"))
    answered()
    d.ws:close(1000)
    local r = result()
    assert.equal("customer", r.disconnected_by)
    local found
    for _, event in ipairs(r.events) do
      found = found or event.type == "transport_closed" and event.data
    end
    assert.is_table(found)
  end)

  it("refuses malformed handshakes by their codes, without a record, and is free again", function()
    start()
    local cases = {
      { 1002, { event = "answer" } },
      { 1003, { event = "connected", callerId = "1", did = "2", callDirection = "incoming" },
        { event = "start", mediaFormat = { encoding = "OPUS", sampleRate = 8000, channels = 1 } } },
      { 1003, { event = "connected", callerId = "1", did = "2", callDirection = "incoming" },
        { event = "start", mediaFormat = { encoding = "LINEAR16", sampleRate = 11025 } } },
      { 1009, ("x"):rep(100000) },
    }
    for i, case in ipairs(cases) do
      local d = assert(dialler.connect(socket, "echo"))
      for n = 2, #case do
        d:send(case[n])
      end
      assert.is_true(d:wait_closed(), "case " .. i)
      assert.equal(case[1], d.code, "case " .. i)
      idle()
    end
    assert.equal(0, #results())
  end)

  it("drops bad messages and carries the call on", function()
    start()
    local d = assert(call("echo"))
    d:send("{not json")
    d:send({ event = "media", payload = "***" })
    d:send({ event = "media", payload = cxb.crypto.base64("odd") })
    d:send({ event = "whatever" })
    d:speak(dialler.tone(600))
    assert.is_nil(d.closed)
    d:hangup()
    assert.equal("customer", result().disconnected_by)
    assert.truthy(#d:heard() > 0)
  end)

  it("makes a result of a killed worker's journal when it starts again", function()
    start()
    assert(call("park"))
    answered()
    worker:kill("KILL")
    worker:wait()
    start()
    local r = result()
    assert.equal("error", r.disconnected_by)
    assert.equal("worker_lost", r.error)
    assert.equal("sess-1", r.session_id)
  end)

  it("keeps the result while the API is down, and delivers it once", function()
    start()
    support.get_json(api_url .. "/_down")
    local d = assert(call("echo"))
    d:hangup()
    idle()
    cxb.time.sleep(300)
    assert.equal(0, #results())
    support.get_json(api_url .. "/_up")
    assert.equal("customer", result().disconnected_by)
    cxb.time.sleep(500)
    assert.equal(1, #results())
  end)

  it("drains on TERM: the call goes on, a new one is refused, exit 0", function()
    start()
    local d = assert(call("echo"))
    d:speak(dialler.tone(200))
    worker:kill("TERM")
    support.wait_until("draining", function()
      return get("/health").draining
    end)
    local body, answer = get("/ws/echo", { upgrade = "websocket", connection = "Upgrade",
      ["sec-websocket-version"] = "13", ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" })
    assert.equal(503, answer.status)
    assert.same({ error = "draining" }, body)
    d:speak(dialler.tone(300))
    assert.is_nil(d.closed)
    d:hangup()
    assert.equal(0, worker:wait(30000))
    assert.equal("customer", result().disconnected_by)
  end)

  it("ends the call with 1001 and a result on a second TERM", function()
    start()
    local d = assert(call("park"))
    answered()
    worker:kill("TERM")
    support.wait_until("draining", function()
      return get("/health").draining
    end)
    worker:kill("TERM")
    assert.is_true(d:wait_closed())
    assert.equal(1001, d.code)
    assert.equal(0, worker:wait(30000))
    start()
    local r = result()
    assert.equal("error", r.disconnected_by)
    assert.equal("shutdown", r.error)
  end)

  it("ends the call likewise on INT, with exit 0", function()
    start()
    local d = assert(call("park"))
    answered()
    worker:kill("INT")
    assert.is_true(d:wait_closed())
    assert.equal(1001, d.code)
    assert.equal(0, worker:wait(30000))
    start()
    local r = result()
    assert.same({ "error", "shutdown" }, { r.disconnected_by, r.error })
  end)

  it("records two channels and serves them by three keys, with the secret, with ranges", function()
    start()
    local d = assert(call("echo"))
    d:speak(dialler.tone(1000))
    d:hangup()
    local key = result().recording_key
    local base = "http+unix:" .. socket .. ":/recordings/"
    local h = { ["x-cxb-core-secret"] = SECRET }
    local function fetch(name, headers)
      return assert(cxb.http.request({ url = base .. name, headers = headers }))
    end
    idle()
    assert.equal(403, fetch(key).status)
    local whole = fetch(key, h)
    assert.equal(200, whole.status)
    assert.equal("audio/wav", whole.headers["content-type"])
    assert.equal("RIFF", whole.body:sub(1, 4))
    assert.equal(2, whole.body:byte(23))
    for _, name in ipairs({ key:gsub("^recordings/", ""), key:match("[^/]*$") }) do
      assert.is_true(whole.body == fetch(name, h).body, name)
    end
    for range, want in pairs({ ["0-43"] = whole.body:sub(1, 44), ["-100"] = whole.body:sub(-100),
      ["4001-9000"] = whole.body:sub(4002, 9001) }) do
      h.range = "bytes=" .. range
      for _, name in ipairs({ key, key:gsub("^recordings/", ""), key:match("[^/]*$") }) do
        local part = fetch(name, h)
        assert.equal(206, part.status)
        assert.is_true(want == part.body, range .. " of " .. name)
      end
    end
    h.range = "bytes=99999999-"
    assert.equal(416, fetch(key, h).status)
    h.range = nil
    assert.equal(400, fetch("..%2f..%2fetc%2fpasswd", h).status)
    assert.equal(404, fetch("2020/01/01/none.wav", h).status)
  end)

  it("erases a recording when asked with the secret, not one that is being made", function()
    start()
    local function erase(name, headers)
      return assert(cxb.http.request({ method = "DELETE", headers = headers,
        url = "http+unix:" .. socket .. ":/recordings/" .. name })).status
    end
    local h = { ["x-cxb-core-secret"] = SECRET }
    local d = assert(call("echo"))
    d:speak(dialler.tone(1000))
    assert.equal(409, support.wait_until("the file", function()
      local status = erase("sess-1.wav", h)
      return status ~= 404 and status
    end))
    d:hangup()
    local key = result().recording_key
    idle()
    assert.same({ 403, 400, 404 }, { erase(key), erase("..%2f..%2fetc%2fpasswd", h),
      erase("2020/01/01/none.wav", h) })
    local path = dir .. "/state/" .. key
    assert.is_truthy(cxb.fs.stat(path))
    assert.same({ 204, 404 }, { erase(key, h), erase(key, h) })
    assert.is_nil(cxb.fs.stat(path))
  end)

  it("hangs up a session when asked with the secret", function()
    start()
    local d = assert(call("park"))
    answered()
    local answer = assert(cxb.http.request({ method = "POST",
      url = "http+unix:" .. socket .. ":/calls/sess-1/hangup",
      headers = { ["x-cxbcore-secret"] = SECRET } }))
    assert.equal(200, answer.status)
    assert.equal('{"status":"ending"}', answer.body)
    assert.is_true(d:wait_closed())
    assert.equal("bot", result().disconnected_by)
  end)

  it("keeps the old generation when a flow is broken, and says so", function()
    start()
    local d = assert(call("echo"))
    world:write(dir .. "/flows/echo.lua", "return function(call) this is wrong end")
    worker:kill("HUP")
    support.wait_until("the failed reload", function()
      return get("/health").reload == "failed"
    end)
    assert.truthy(get("/health").reload_error:find("echo.lua:1", 1, true))
    d:speak(dialler.tone(300))
    d:hangup()
    idle()
    local second = assert(call("echo"))
    second:speak(dialler.tone(300))
    second:hangup()
    assert.truthy(#second:heard() > 0)
    world:write(dir .. "/flows/echo.lua", "return function(call) return call:hangup() end")
    worker:kill("HUP")
    support.wait_until("the good reload", function()
      return get("/health").reload == "ok"
    end)
    idle()
    local third = assert(call("echo"))
    assert.is_true(third:wait_closed())
    assert.equal("bot", result(3).disconnected_by)
  end)

  it("runs from bot files without an API, results going to files", function()
    env.CXB_API_CONFIG_URL = nil
    world:write(dir .. "/bots/echo.json", json.encode({ flow = "echo", stt = { provider = "none" },
      tts = { provider = "none" } }))
    start()
    local d = assert(call("echo"))
    d:hangup()
    idle()
    local day = cxb.time.iso():sub(1, 10):gsub("-", "/")
    local names = support.wait_until("the file", function()
      local list = cxb.fs.list(dir .. "/state/results/" .. day)
      return list and list[1] and list[1]:find("%.json$") and list
    end)
    assert.equal(1, #names)
    local r = json.decode(world:read(dir .. "/state/results/" .. day .. "/" .. names[1]))
    assert.equal("customer", r.disconnected_by)
    assert.equal(names[1], r.session_id .. ".json")
  end)

  it("asks for the token when one is set", function()
    start({ CXB_WS_TOKEN = "let-me-in" })
    local d, code = dialler.connect(socket, "echo")
    assert.is_nil(d)
    assert.is_string(code)
    idle()
    d = assert(dialler.connect(socket, "echo", { query = "token=let-me-in" }))
    d:begin()
    d:hangup()
    assert.equal("customer", result().disconnected_by)
  end)

  it("refuses to start without a secret, or when its row is taken", function()
    env.CXBCORE_SECRET = nil
    local p = world:start({ support.program, "core.lua" }, env)
    assert.equal(1, p:wait())
    assert.truthy(p:output():find("CXBCORE_SECRET", 1, true))
    env.CXBCORE_SECRET = SECRET
    start()
    env.CXB_LISTEN = "unix:" .. dir .. "/other-1.sock"
    local second = world:start({ support.program, "core.lua" }, env)
    assert.equal(1, second:wait())
    assert.truthy(second:output():find("worker 1", 1, true))
    env.CXB_LISTEN = "unix:" .. dir .. "/core-3.sock"
    local third = world:start({ support.program, "core.lua" }, env)
    assert.equal(78, third:wait())
  end)

  it("answers health and the fleet in exact bytes", function()
    start()
    local answer = assert(cxb.http.request({ url = "http+unix:" .. socket .. ":/health/fleet" }))
    assert.equal(('{"status":"ok","fleet_calls":0,"fleet_max":1,"fleet_available":1,"workers":['
      .. '{"id":"1","calls":0,"max":1,"pid":%d},{"id":"2","status":"unreachable"}]}')
      :format(worker.pid), answer.body)
    answer = assert(cxb.http.request({ url = "http+unix:" .. socket .. ":/health" }))
    assert.equal(('{"status":"ok","worker_calls":0,"worker_max":1,"total_capacity":2,'
      .. '"total_available":2,"workers":2,"worker_id":"1","worker_pid":%d,"draining":false,'
      .. '"generation":1,"reload":"ok","reload_error":"","version":"%s"}')
      :format(worker.pid, cxb.version), answer.body)
    assert.equal(405, cxb.http.request({ method = "POST",
      url = "http+unix:" .. socket .. ":/health" }).status)
    assert.equal(404, cxb.http.request({ url = "http+unix:" .. socket .. ":/nothing" }).status)
    assert.equal(426, cxb.http.request({ url = "http+unix:" .. socket .. ":/ws/echo" }).status)
  end)
end)
