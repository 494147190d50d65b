-- stores: both
local support = require("support.world")
local process = require("support.api_process")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local url = require("cxb.url")

describe("calls", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function config(bot, event, more)
    return api:ask("GET", ("/api/v1/config/%s?caller_id=%%2B919876543210&stream_id=st&connected_event=%s%s")
      :format(bot, url.escape(type(event) == "string" and event or json.encode(event)), more or ""))
  end

  it("go from configuration to skeleton to result", function()
    local answer = config("demo", { callDirection = "incoming", did = "+911234" },
      "").answer
    assert.matches("/api/v1/call%-results$", answer.webhook_url)
    assert.equal("demo", answer.flow)
    local skeleton = api:ask("GET", "/api/v1/calls/" .. answer.session_id).answer
    assert.same({ "in_progress", "bot", "demo", "incoming", "+919876543210" }, { skeleton.status,
      skeleton.call_type, skeleton.bot_id, skeleton.direction, skeleton.caller_id })
    api:ask("POST", "/api/v1/call-results", { body = { session_id = answer.session_id,
      disconnected_by = "customer", call_duration_seconds = 3.5 } })
    local call = api:ask("GET", "/api/v1/calls/" .. answer.session_id)
    assert.same({ "completed", 3.5 }, { call.answer.status, call.answer.call_duration_seconds })
    assert.matches('^"%d+"$', call.headers.etag)
  end)

  it("get their configuration only with the secret, of a bot there is", function()
    assert.equal(403, api:ask("GET", "/api/v1/config/demo", { secret = false }).status)
    assert.equal(403, api:ask("GET", "/api/v1/config/demo", { token = process.token() }).status)
    local missing = config("nobody", {})
    assert.same({ 404, "unknown_bot" }, { missing.status, missing.answer.error })
    assert.equal(404, config("a%2Fb", {}).status)
    assert.equal(200, config("demo", "nonsense").status)
    assert.equal(200, config("demo", { big = ("x"):rep(30000) }).status)
    assert.equal(414, config("demo", { big = ("x"):rep(33000) }).status)
    assert.equal(414, api:ask("GET", "/api/v1/calls?number=" .. ("1"):rep(9000)).status)
  end)

  it("get their configuration with 32 KiB of headers, which nothing else may have", function()
    local headers = { ["x-cxb-core-secret"] = process.SECRET, ["x-request-id"] = "asked-by-spec" }
    for i = 1, 4 do
      headers["x-sip-" .. i] = ("h"):rep(7500)
    end
    local function ask(path)
      return api:ask("GET", path, { secret = false, headers = headers })
    end
    assert.equal(200, ask("/api/v1/config/demo").status)
    local refused = ask("/api/v1/bots")
    assert.same({ 431, "headers_too_large", "asked-by-spec", refused.answer.message },
      { refused.status, refused.answer.error, refused.answer.request_id, refused.answer.detail })
  end)

  it("of a browser test begin with a ticket the worker can check", function()
    local answer = api:ask("POST", "/api/v1/bots/demo/test-call", {
      body = { kind = "browser", variables = { name = "Mia" } },
      headers = { ["x-forwarded-proto"] = "http", host = "127.0.0.1:8099" },
    })
    assert.equal(200, answer.status)
    local made = answer.answer
    assert.equal("ws://127.0.0.1:8099/browser/demo", made.ws_url)
    local claims = assert(jwt.verify(made.ticket,
      cxb.crypto.hkdf_sha256(process.SECRET, "core-test", 32), { aud = "core-test" }))
    assert.same({ "demo", made.session_id }, { claims.bot_id, claims.session_id })
    local fetched = config("demo", { _campaign_session_id = made.session_id, streamId = "b" }).answer
    assert.same({ made.session_id, "Mia" }, { fetched.session_id, fetched.variables["call.name"] })
    local call = api:ask("GET", "/api/v1/calls/" .. made.session_id).answer
    assert.same({ "test", true, nil }, { call.call_type, call.skip_post_push, call.test })
  end)

  it("of a browser test are refused with what is wrong", function()
    local function test_call(bot, body)
      return api:ask("POST", "/api/v1/bots/" .. bot .. "/test-call", { body = body })
    end
    assert.equal(404, test_call("nobody", { kind = "browser" }).status)
    assert.equal("kind", test_call("demo", { kind = "fax" }).answer.fields[1].path)
    assert.equal("unknown_field", test_call("demo", { kind = "browser", x = 1 }).answer.fields[1].rule)
    assert.equal(401, api:ask("POST", "/api/v1/bots/demo/test-call",
      { secret = false, body = { kind = "browser" } }).status)
  end)

  it("are listed newest first, page by page, without a gap or a repeat", function()
    for i = 1, 25 do
      api:ask("POST", "/api/v1/call-results", { body = { session_id = "list-" .. i,
        bot_id = "listed", disconnected_by = i % 5 == 0 and "error" or "bot",
        started_at = cxb.time.iso(cxb.time.now() - (30 - math.floor(i / 3)) * 1000) } })
    end
    local seen, n, after = {}, 0, nil
    repeat
      local page = api:ask("GET", "/api/v1/calls?bot_id=listed&limit=7"
        .. (after and "&after=" .. url.escape(after) or "")).answer
      assert.same({ 25, true }, { page.total, page.total_exact })
      for i, call in ipairs(page.items) do
        assert.is_nil(seen[call.session_id])
        seen[call.session_id] = true
        n = n + 1
        if i > 1 then
          assert.is_true(page.items[i - 1].started_at >= call.started_at)
        end
      end
      after = page.next ~= json.null and page.next or nil
    until not after
    assert.equal(25, n)
    local failed = api:ask("GET", "/api/v1/calls?bot_id=listed&status=failed").answer
    assert.same({ 5, 5 }, { failed.total, #failed.items })
  end)

  it("are found by number, whole or by its end", function()
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "num", disconnected_by = "bot",
      caller_id = "+12025550147", call_direction = "incoming" } })
    for query, n in pairs({ ["%2B12025550147"] = 1, ["0147"] = 1, ["550147"] = 1,
      ["%2B2025550147"] = 0, ["1202555"] = 0 }) do
      assert.equal(n, api:ask("GET", "/api/v1/calls?number=" .. query).answer.total, query)
    end
  end)

  it("of the last seven days are listed unless a time is asked for", function()
    assert.equal(200, api:ask("PUT", "/api/v1/settings/retention", { body = { calls_days = 0 } })
      .status) -- none is too old to be kept
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "old", disconnected_by = "bot",
      bot_id = "aged", started_at = "2020-01-01T00:00:00Z" } })
    assert.equal(0, api:ask("GET", "/api/v1/calls?bot_id=aged").answer.total)
    assert.equal(1, api:ask("GET", "/api/v1/calls?bot_id=aged&from=2019-12-31T00:00:00Z"
      .. "&to=2020-01-02T00:00:00%2B05:30").answer.total)
    assert.equal(1, api:ask("GET", "/api/v1/calls?bot_id=aged&to=2020-01-05T00:00:00Z")
      .answer.total, "the seven days before a given end")
  end)

  it("are refused for a query that makes no sense", function()
    for _, query in ipairs({ "limit=0", "limit=201", "limit=x", "after=zzz", "sort=bot_id",
      "from=yesterday", "number=12", "direction=up", "what=ever", "status[$gt]=" }) do
      local answer = api:ask("GET", "/api/v1/calls?" .. query)
      assert.same({ 400, "invalid_query" }, { answer.status, answer.answer.error }, query)
    end
    assert.equal(401, api:ask("GET", "/api/v1/calls", { secret = false }).status)
    assert.equal(401, api:ask("GET", "/api/v1/calls",
      { secret = false, headers = { ["x-cxb-core-secret"] = process.SECRET } }).status)
  end)

  it("are asked for by the values there are, and another is named", function()
    local allowed = {
      status = "in_progress, completed, failed, voicemail", call_type = "bot, agent, test",
      direction = "incoming, outgoing",
      disconnected_by = "bot, customer, voicemail, RNR, outside_hours, timeout, error, no_answer, "
        .. "rejected, transfer_to_agent, agent, abandoned, timed_out, declined, force_ended",
    }
    for name, values in pairs(allowed) do
      local answer = api:ask("GET", ("/api/v1/calls?%s=typo"):format(name))
      assert.same({ 400, { { path = name, rule = "enum", message = "must be one of " .. values } } },
        { answer.status, answer.answer.fields })
      for value in values:gmatch("[%w_]+") do
        assert.equal(200, api:ask("GET", ("/api/v1/calls?%s=%s"):format(name, value)).status, value)
      end
    end
  end)

  describe("recordings", function()
    local audio, path

    setup(function()
      local bytes = {}
      for i = 1, 200000 do
        bytes[i] = string.char(i * 7 % 251)
      end
      audio = table.concat(bytes)
      world:write(api.dir .. "/state/recordings/2026/04/24/rec.wav", audio)
      api:ask("POST", "/api/v1/call-results", { body = { session_id = "rec",
        disconnected_by = "bot", recording_key = "recordings/2026/04/24/rec.wav" } })
      path = "/api/v1/recordings/rec"
    end)

    local function range(value, more)
      local headers = { range = value }
      for name, text in pairs(more or {}) do
        headers[name] = text
      end
      return api:ask("GET", path, { headers = headers })
    end

    it("are sent whole, and their facts by HEAD", function()
      local whole = api:ask("GET", path)
      assert.equal(200, whole.status)
      assert.is_true(whole.body == audio)
      assert.same({ "audio/wav", "bytes", "inline" }, { whole.headers["content-type"],
        whole.headers["accept-ranges"], whole.headers["content-disposition"] })
      assert.matches('^"[^"]+"$', whole.headers.etag)
      local head = api:ask("HEAD", path)
      assert.same({ 200, "200000", "" }, { head.status, head.headers["content-length"],
        head.body or "" })
    end)

    it("are sent by ranges, to the byte", function()
      for value, span in pairs({
        ["bytes=0-0"] = { 0, 0 }, ["bytes=0-99"] = { 0, 99 }, ["bytes=65530-65540"] = { 65530, 65540 },
        ["bytes=131000-"] = { 131000, 199999 }, ["bytes=-1"] = { 199999, 199999 },
        ["bytes=-300000"] = { 0, 199999 }, ["bytes=199999-900000"] = { 199999, 199999 },
      }) do
        local part = range(value)
        assert.same({ 206, ("bytes %d-%d/200000"):format(span[1], span[2]) },
          { part.status, part.headers["content-range"] }, value)
        assert.is_true(part.body == audio:sub(span[1] + 1, span[2] + 1), value)
      end
    end)

    it("answer ranges that cannot be had as the contract says", function()
      for value, status in pairs({ ["bytes=200000-"] = 416, ["bytes=9-3"] = 416,
        ["bytes=-0"] = 416, ["bytes=0-0,5-6"] = 200, ["lines=1-2"] = 200, ["bytes=a-b"] = 200 }) do
        local answer = range(value)
        assert.equal(status, answer.status, value)
        if status == 416 then
          assert.equal("bytes */200000", answer.headers["content-range"])
        end
      end
    end)

    it("are sent by range only while they are the same", function()
      local etag = api:ask("HEAD", path).headers.etag
      assert.equal(206, range("bytes=0-9", { ["if-range"] = etag }).status)
      assert.equal(200, range("bytes=0-9", { ["if-range"] = '"other"' }).status)
      assert.equal(304, api:ask("GET", path, { headers = { ["if-none-match"] = etag } }).status)
    end)

    it("are played by a ticket from the call, which opens nothing else", function()
      local play = api:ask("GET", "/api/v1/calls/rec").answer.recording_play_url
      local played = api:ask("GET", play, { secret = false, headers = { range = "bytes=1-3" } })
      assert.same({ 206, audio:sub(2, 4) }, { played.status, played.body })
      assert.equal(401, api:ask("GET", path, { secret = false }).status)
      assert.equal(401, api:ask("GET", path .. "?ticket=x", { secret = false }).status)
      api:ask("POST", "/api/v1/call-results", { body = { session_id = "rec2",
        disconnected_by = "bot", recording_key = "recordings/2026/04/24/rec.wav" } })
      local ticket = play:match("ticket=(.*)")
      assert.equal(401, api:ask("GET", "/api/v1/recordings/rec2?ticket=" .. ticket,
        { secret = false }).status)
      assert.equal(401, api:ask("GET", "/api/v1/calls/rec?ticket=" .. ticket,
        { secret = false }).status)
    end)

    it("that are not there, or whose key leaves the folder, are not found", function()
      world:write(api.dir .. "/state/private.wav", "private")
      for i, key in ipairs({ "../private.wav", "recordings/../private.wav", "/etc/passwd",
        "recordings/", "a//b.wav", "./x.wav", "..\\private.wav", "gone.wav", "2026/04/24" }) do
        local id = "esc-" .. i
        api:ask("POST", "/api/v1/call-results", { body = { session_id = id,
          disconnected_by = "bot", recording_key = key } })
        local answer = api:ask("GET", "/api/v1/recordings/" .. id)
        assert.same({ 404, "recording_missing" }, { answer.status, answer.answer.error }, key)
      end
      assert.equal(404, api:ask("GET", "/api/v1/recordings/nobody").status)
      assert.equal(404, api:ask("GET", "/api/v1/recordings/..%2f..%2fetc%2fpasswd").status)
    end)
  end)
end)
