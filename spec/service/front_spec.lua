-- timeout: 300
local json = require("cjson.safe")
local front_of = require("support.front")
local support = require("support.world")

local function sorted(list)
  table.sort(list)
  return list
end

describe("the front", function()
  local world = support.new()
  after_each(function() world:close() end)
  local function start(opts) return front_of.start(world, opts) end

  for _, shape in ipairs({ { 1, 1 }, { 2, 1 }, { 2, 4 }, { 16, 1 }, { 16, 4 } }) do
    local workers, processes = shape[1], shape[2]
    it(("carries a socket and a POST to free workers (%d workers, %d nginx processes)"):format(
      workers, processes), function()
      local front = start({ workers = workers, processes = processes })
      local conn, greeting = front:call()
      assert.matches("^worker %d+$", greeting)
      conn:send("hello")
      assert.equal("hello", select(2, conn:receive(30000)))
      local status, body = front:post("/attach", '{"a":1}')
      if workers == 1 then
        assert.equal(429, status)
      else
        assert.equal(200, status)
        assert.not_equal(greeting, "worker " .. body.worker)
        assert.equal('{"a":1}', body.body)
      end
      conn:close()
    end)

    it(("puts one call on each worker and refuses the next in JSON (%d workers, %d nginx processes)"):format(
      workers, processes), function()
      local front = start({ workers = workers, processes = processes })
      local seen, calls, want = {}, {}, {}
      for n = 1, workers do
        calls[n], seen[n] = front:call(n % 2 == 0 and "/ws/demo" or "/twilio/demo")
        want[n] = "worker " .. n
      end
      assert.same(sorted(want), sorted(seen))
      for _ = 1, 2 * processes do
        local status, body, headers = front:refused()
        assert.same({ 503, "at_capacity", "1" }, { status, body.error, headers["retry-after"] })
        status, body, headers = front:post()
        assert.same({ 429, "at_capacity", "1" }, { status, body.error, headers["retry-after"] })
        assert.equal("application/json", headers["content-type"])
      end
      for _, conn in ipairs(calls) do conn:close() end
    end)
  end

  it("sends a POST on as a plain request and a socket as an upgrade", function()
    local front = start({ workers = 1 })
    assert.equal(200, (front:post()))
    front:tell(1, "/_free")
    local conn = assert(front:call())
    local seen = {}
    for _, request in ipairs(front.workers[1].seen()) do seen[request.path] = request.headers end
    assert.is_nil(seen["/attach"].upgrade)
    assert.is_nil((seen["/attach"].connection or ""):lower():find("upgrade", 1, true))
    assert.equal("upgrade", seen["/ws/demo"].connection:lower())
    assert.equal("websocket", seen["/ws/demo"].upgrade:lower())
    conn:close()
  end)

  it("gives a freed worker the next call", function()
    local front = start({ workers = 1 })
    for _ = 1, 5 do
      local conn = support.wait_until("a free worker", function() return (front:call()) end)
      conn:close()
    end
  end)

  it("gives a worker that refused a socket the very next one, not ten seconds later", function()
    local front = start({ workers = 1 })
    front:tell(1, "/_refuse")
    for _ = 1, 3 do
      assert.equal(503, (front:refused()))
    end
    front:tell(1, "/_free")
    local conn, greeting = front:call()
    assert.equal("worker 1", greeting)
    conn:close()
  end)

  it("gives a worker that refused a POST the very next call of either kind", function()
    local front = start({ workers = 2 })
    front:tell(1, "/_refuse")
    front:tell(2, "/_refuse")
    assert.equal(429, (front:post()))
    front:tell(1, "/_free")
    front:tell(2, "/_free")
    local conn = assert(front:call())
    assert.equal(200, (front:post()))
    conn:close()
  end)

  it("passes a socket on from workers that are busy by POST", function()
    local front = start({ workers = 4 })
    local taken = {}
    for n = 1, 3 do
      local status, body = front:post()
      assert.equal(200, status)
      taken[n] = "worker " .. body.worker
    end
    local conn, greeting = front:call()
    taken[4] = greeting
    assert.same({ "worker 1", "worker 2", "worker 3", "worker 4" }, sorted(taken))
    conn:close()
  end)

  it("passes a POST on with its whole body, past busy workers, to the free one", function()
    local front = start({ workers = 4 })
    local conn = assert(front:call())
    local body = ('{"x":"%s"}'):format(("y"):rep(100000))
    for _ = 1, 3 do
      local status, answer = front:post("/livekit/dialout", body)
      assert.same({ 200, #body }, { status, answer.length })
    end
    assert.equal(429, (front:post("/livekit/widget", body)))
    conn:close()
  end)

  it("refuses in JSON when workers are busy by POST and by socket", function()
    local front = start({ workers = 2 })
    local conn = assert(front:call())
    assert.equal(200, (front:post()))
    local status, body, headers = front:refused()
    assert.same({ 503, "at_capacity", "1" }, { status, body.error, headers["retry-after"] })
    status, body = front:post()
    assert.same({ 429, "at_capacity" }, { status, body.error })
    conn:close()
  end)

  it("does not send other POSTs to a second worker", function()
    local front = start({ workers = 2 })
    for n = 1, 2 do front:tell(n, "/_refuse") end
    assert.equal(429, (front:post("/calls/abc/hangup")))
    local asked = 0
    for n = 1, 2 do
      for _, request in ipairs(front.workers[n].seen()) do
        if request.path == "/calls/abc/hangup" then asked = asked + 1 end
      end
    end
    assert.equal(1, asked)
  end)

  it("finds the living worker among dead ones", function()
    local front = start({ workers = 16, started = 1 })
    local conn, greeting = front:call()
    assert.equal("worker 1", greeting)
    conn:close()
    assert.equal(200, assert(cxb.http.request({ url = front.url .. "/health" })).status)
  end)

  it("says worker_lost in JSON when no worker lives", function()
    local front = start({ workers = 2, started = 0 })
    local status, body = front:refused()
    assert.same({ 502, "worker_lost" }, { status, body.error })
    status, body = front:post()
    assert.same({ 502, "worker_lost" }, { status, body.error })
  end)

  it("answers for the API that is down with JSON and Retry-After", function()
    local front = start({ workers = 1 })
    local answer = assert(cxb.http.request({ url = front.url .. "/api/v1/calls" }))
    assert.equal(503, answer.status)
    assert.equal("1", answer.headers["retry-after"])
    assert.matches('"error":"api_unavailable"', answer.body, 1, true)
  end)

  it("passes the API its path, query, caller's address and a well-formed request id", function()
    local front = start({ workers = 1, api = true })
    local got, answer = support.get_json(front.url .. "/api/v1/calls?limit=2&q=a%20b",
      { ["X-Request-ID"] = "abc_DEF-123" })
    assert.equal(200, answer.status)
    assert.same({ "/api/v1/calls", "limit=2&q=a%20b", "127.0.0.1", "abc_DEF-123" },
      { got.path, got.query, got.forwarded, got.id })
    got = support.get_json(front.url .. "/api/v1/calls", { ["X-Request-ID"] = "no good" })
    assert.matches("^%x+$", got.id)
  end)

  it("takes a result of 10 MiB, and refuses 3 MiB elsewhere in JSON", function()
    local front = start({ workers = 1, api = true })
    local status, body = front:post("/api/v1/call-results", ("x"):rep(10 * 1024 * 1024))
    assert.same({ 200, 10 * 1024 * 1024 }, { status, body.length })
    status, body = front:post("/api/v1/other", ("x"):rep(3 * 1024 * 1024))
    assert.same({ 413, "body_too_large", body.message }, { status, body.error, body.detail })
    assert.is_truthy(body.request_id)
    status, body = front:post("/attach", ("x"):rep(3 * 1024 * 1024))
    assert.same({ 413, { error = "too_large" } }, { status, body })
  end)

  it("lets files of the API's routes for them through", function()
    local front = start({ workers = 1, api = true })
    local file = ("x"):rep(3 * 1024 * 1024)
    for _, path in ipairs({ "campaigns/c1/upload?dry_run=true", "dnc/upload",
      "knowledge-bases/kb1/documents" }) do
      local status, body = front:post("/api/v1/" .. path, file)
      assert.same({ 200, #file }, { status, body.length }, path)
    end
  end)

  it("takes a URL of 32 KiB and headers of 32 KiB, and refuses more in the one shape", function()
    local front = start({ workers = 1, api = true })
    local function ask(url, headers)
      local answer = assert(cxb.http.request({ url = front.url .. url, headers = headers }))
      return answer.status, json.decode(answer.body)
    end
    local path = "/api/v1/config/demo?connected_event="
    local status, body = ask(path .. ("q"):rep(32768 - #path))
    assert.same({ 200, 32768 - #path + 16 }, { status, #body.query })
    local function halves(n)
      return { ["x-1"] = ("a"):rep(n), ["x-2"] = ("b"):rep(n) }
    end
    assert.equal(200, (ask("/api/v1/config/demo", halves(16000))))
    for want, asked in pairs({ [414] = { "/api/v1/calls?q=" .. ("q"):rep(40000) },
      [431] = { "/api/v1/calls", { ["x-1"] = ("a"):rep(40000) } } }) do
      status, body = ask(asked[1], asked[2])
      assert.equal(want, status)
      assert.same({ want == 414 and "uri_too_long" or "headers_too_large", body.message },
        { body.error, body.detail })
      assert.is_truthy(body.request_id)
    end
    local child = assert(cxb.process.spawn({ capture = true, args = { "python3", "-c", ([[
import socket
s = socket.create_connection(("127.0.0.1", %d)); s.settimeout(30)
s.sendall(b"GET /api/v1/calls HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
d = b""
while True:
    x = s.recv(65536)
    if not x: break
    d += x
print(d.decode().split("\r\n")[0]); print(d.decode().split("\r\n\r\n")[1])]]):format(front.port) } }))
    assert.equal("HTTP/1.1 400 Bad Request", child:line())
    body = json.decode(child:line())
    assert.same({ "bad_request", body.message }, { body.error, body.detail })
    assert.is_truthy(body.request_id)
    assert.equal(0, (child:wait(30000)))
  end)

  it("shows the metrics only to the listed addresses", function()
    local front = start({ workers = 1 })
    assert.equal(200, assert(cxb.http.request({ url = front.url .. "/metrics" })).status)
    world:close()
    front = start({ workers = 1, settings = { metrics_allow = "192.0.2.1" } })
    assert.equal(403, assert(cxb.http.request({ url = front.url .. "/metrics" })).status)
  end)

  it("serves the page with headers that keep it to itself", function()
    local front = start({ workers = 1 })
    local answer = assert(cxb.http.request({ url = front.url .. "/" }))
    assert.matches("<title>page</title>", answer.body, 1, true)
    assert.equal("nosniff", answer.headers["x-content-type-options"])
    assert.matches("frame-ancestors 'none'", answer.headers["content-security-policy"], 1, true)
  end)

  it("keeps query strings, which carry tickets, out of its log", function()
    local front = start({ workers = 1, api = true })
    assert(cxb.http.request({ url = front.url .. "/api/v1/recordings/x?ticket=topsecret" }))
    local log = support.wait_until("a log line", function()
      local text = world:read(front.dir .. "/access.log")
      return text:find("recordings", 1, true) and text
    end)
    assert.is_nil(log:find("topsecret", 1, true))
  end)

  it("drops no socket when it is reloaded, and still refuses what no worker can take", function()
    local front = start({ workers = 2, processes = 2 })
    local one, two = assert(front:call()), assert(front:call())
    front.process:kill("HUP")
    support.wait_until("a reloaded nginx", function()
      return cxb.fs.stat(front.dir .. "/nginx.pid")
        and (front:refused()) == 503 and #front.workers[1].seen() > 1
    end)
    for _, conn in ipairs({ one, two }) do
      conn:send("still there")
      assert.equal("still there", select(2, conn:receive(30000)))
    end
    one:close()
    assert(support.wait_until("the freed worker", function() return (front:call()) end))
    two:close()
  end)

  it("renders a host of 512 workers that nginx accepts", function()
    support.need("nginx")
    local front = start({ workers = 512, started = 1 })
    local conn = assert(front:call())
    conn:close()
  end)
end)
