-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")
local World = require("spec.support.world")

local secret = "whsec_" .. cxb.crypto.base64(("k"):rep(24))

-- Answers 200 but for paths /status/<n>; /down?<file> answers 503 while the file is there.
local receiver = [[
return function(req)
  local status = tonumber(req.path:match("^/status/(%d+)"))
  local down = req.path == "/down" and io.open(req.query)
  if down then
    down:close()
    status = 503
  end
  req:respond(status or 200, "thanks", status == 429 and { ["retry-after"] = "700" } or nil)
end
]]

describe("a delivery to a CRM", function()
  local world, server, base, app, outbox, bot

  setup(function()
    world = World.new()
    local port = world:port()
    server = world:server("tcp:127.0.0.1:" .. port, receiver)
    base = "http://127.0.0.1:" .. port
  end)

  teardown(function()
    world:close()
  end)

  local function bot_with(push)
    push.enabled = push.enabled == nil or push.enabled
    return { _id = "demo", name = "Demo", is_active = true, timezone = "Asia/Kolkata",
      post_call_push = push }
  end

  before_each(function()
    api.install()
    app = api.app({ CXB_OUTBOUND_ALLOW = { "127.0.0.1" }, CXB_PUBLIC_URL = "https://cxb.example" })
    outbox = require("services.crm.outbox").new(app)
    bot = assert(app.store:insert("bots", bot_with({ url = base .. "/push",
      key_mapper = { id = "{{result.call_id}}" } })))
  end)

  after_each(api.restore)

  local function push(changes)
    local set = {}
    for name, value in pairs(changes) do
      set["post_call_push." .. name] = value
    end
    assert(app.store:update("bots", bot._id, { set = set }))
  end

  local function finish(id, more)
    local payload = { session_id = id, bot_id = "demo", disconnected_by = "customer" }
    for name, value in pairs(more or {}) do
      payload[name] = value
    end
    local body = json.encode(payload)
    return assert(require("services.results").ingest(app, body, json.decode_object(body)))
  end

  local function row(id)
    return app.store:find("crm_deliveries", { session_id = id or "s1" })[1]
  end

  -- Requests of one path, since the spec began.
  local seen_before = 0
  local function seen(path)
    local out = {}
    for i, request in ipairs(server.seen()) do
      if i > seen_before and (not path or request.path == path) then
        out[#out + 1] = request
      end
    end
    return out
  end

  before_each(function()
    seen_before = #server.seen()
  end)

  -- Virtual time: looks at the outbox each `step` ms for so long.
  local function let_pass(ms, step)
    local till = api.now + ms
    repeat
      assert(outbox:turn())
      api.now = math.min(api.now + step, till)
    until api.now >= till
    assert(outbox:turn())
  end

  it("is made once for a call, and delivered once", function()
    finish("s1")
    finish("s1")
    finish("s1", { events = { { type = "x" } } })
    assert.same({ "pending", 0 }, { row().state, row().attempts })
    let_pass(5000, 1000)
    assert.same({ "delivered", 1, '{"id":"s1"}' }, { row().state, row().attempts, row().body })
    assert.equal(1, #seen())
    finish("s1", { events = { { type = "y" } } })
    let_pass(5000, 1000)
    assert.equal(1, #seen())
    assert.equal(1, app.store:count("crm_deliveries", {}))
  end)

  it("is not made for a test call, one that skips it, or a bot that has switched it off", function()
    assert(app.store:insert("calls", { _id = "t", call_type = "test", status = "in_progress",
      bot_id = "demo", started_at = 1 }))
    assert(app.store:insert("calls", { _id = "k", call_type = "bot", status = "in_progress",
      bot_id = "demo", started_at = 1, skip_post_push = true }))
    finish("t")
    finish("k")
    finish("n", { bot_id = "nobody" })
    push({ enabled = false })
    finish("s1")
    assert.equal(0, app.store:count("crm_deliveries", {}))
  end)

  it("says of the call what the bot's key_mapper asks for", function()
    push({ url = base .. "/push?of={{result.call_id}}{{no.such}}", key_mapper = {
      who = "{{call.name}} / {{crm.city}} / {{name}}", when = "{{result.start_time}}",
      how = "{{result.disposition}} {{result.was_transferred}}", zone = "{{system.timezone}}",
      nothing = "[{{analysis.CALLING_REMARKS}}{{qc.remarks}}{{no.such}}{{DISPOSITION}}]",
      outcome = "{{analysis.DISPOSITION}}", score = "{{qc.overall_score}}",
      link = "{{result.recording_url}}", said = "{{result.transcript}}", fixed = 7,
      deep = { { seconds = "{{result.call_duration_seconds}}" } },
    } })
    assert(app.store:insert("calls", { _id = "s1", call_type = "bot", status = "in_progress",
      bot_id = "demo", started_at = 1, connected_event = { name = "{{no.such}}" },
      crm_data = { city = "Pune" } }))
    finish("s1", {
      started_at = "2026-04-24T09:00:00Z", call_duration_seconds = 42.5, was_transferred = true,
      post_call_analysis = { DISPOSITION = "Paid" }, qc_analysis = { overall_score = 8 },
      recording_key = "recordings/x.wav", recording_access_token = "tok-of-the-worker",
      transcript = { { role = "bot", text = "Hello" }, { role = "customer", text = "Hi \"you\"" } },
    })
    let_pass(0, 1)
    assert.equal("of=s1", seen("/push")[1].query)
    assert.same({
      who = "{{no.such}} / Pune / {{no.such}}", when = "2026-04-24 14:30:00",
      how = "Connected yes", zone = "Asia/Kolkata", nothing = "[]", outcome = "Paid", score = "8",
      link = "https://cxb.example/api/v1/public/recordings/tok-of-the-worker",
      said = 'Bot: Hello\nCustomer: Hi "you"', fixed = 7, deep = { { seconds = "42.5" } },
    }, json.decode(seen("/push")[1].body))
  end)

  it("of a recording whose public link was withdrawn has one that ends by itself", function()
    push({ key_mapper = { link = "{{result.recording_url}}" } })
    finish("s1", { recording_key = "recordings/x.wav" })
    assert(require("services.recordings.links").withdraw(app, app.store:get("calls", "s1")))
    let_pass(0, 1)
    local ticket = json.decode(seen("/push")[1].body).link
      :match("^https://cxb%.example/api/v1/recordings/s1%?ticket=(%S+)$")
    local tickets = require("services.identity.tickets")
    assert.is_table(tickets.check_playback(app, ticket, "s1"))
    api.now = api.now + 7201000
    assert.is_nil(tickets.check_playback(app, ticket, "s1"))
  end)

  it("is written anew at each try until one succeeds, so that a late analysis is in it", function()
    push({ url = base .. "/status/500", key_mapper = { d = "{{analysis.DISPOSITION}}" } })
    finish("s1")
    let_pass(0, 1)
    finish("s1", { post_call_analysis = { DISPOSITION = "Paid" } })
    push({ url = base .. "/push" })
    let_pass(10000, 1000)
    assert.equal('{"d":""}', seen("/status/500")[1].body)
    assert.equal('{"d":"Paid"}', seen("/push")[1].body)
  end)

  it("carries the id that stays without a signature too, whatever headers the bot has", function()
    push({ url = base .. "/status/500", headers = { ["Webhook-Id"] = "mine" } })
    finish("s1")
    let_pass(7000, 1000)
    local got = seen("/status/500")
    assert.same({ 2, row()._id, row()._id, nil }, { #got, got[1].headers["webhook-id"],
      got[2].headers["webhook-id"], got[1].headers["webhook-signature"] })
  end)

  it("carries a signature of each secret under an id that stays, and the bot's headers", function()
    local vault = require("services.identity.vault")
    push({ url = base .. "/status/500", headers = { ["X-Key"] = "{{call.key}}\r\nEvil: 1" },
      signing_secrets = { secret, vault.seal(app, "whsec_" .. cxb.crypto.base64("other-secret")) } })
    finish("s1", { connected_event = { key = "abc" } })
    let_pass(7000, 1000)
    local got = seen("/status/500")
    assert.equal(2, #got)
    assert.same({ row()._id, row()._id },
      { got[1].headers["webhook-id"], got[2].headers["webhook-id"] })
    local webhook = require("cxb.webhook")
    for _, key in ipairs({ ("k"):rep(24), "other-secret" }) do
      assert.is_true(webhook.verify({ key }, got[1].headers, got[1].body))
    end
    assert.is_false(webhook.verify({ "third" }, got[1].headers, got[1].body))
    assert.equal("abc Evil: 1", got[1].headers["x-key"])
    assert.is_nil(got[1].headers.evil)
  end)

  it("to a receiver that fails comes again after 5 s, 30 s, 2 min … and dies after a day", function()
    push({ url = base .. "/status/500" })
    finish("s1")
    local schedule = require("services.crm.schedule")
    local from, at = api.now, {}
    local next_at, attempts = from, 0
    while next_at do
      local now = next_at
      attempts = attempts + 1
      at[attempts] = (now - from) / 1000
      next_at = schedule.next({ attempts = attempts, since = from }, { status = 500 }, now, 0.5)
    end
    assert.same({ 0, 5, 35, 155, 755, 2555, 6155, 13355 }, { unpack(at, 1, 8) })
    assert.is_true(at[#at] <= 86400 and at[#at] > 86400 - 7200)
    api.now = from + 86400000
    let_pass(0, 1)
    assert.same({ "dead", 1 }, { row().state, row().attempts })
    assert.equal(500, row().log[1].status)
    assert.equal("thanks", row().log[1].excerpt)
  end)

  it("is spread by a fifth either way", function()
    local schedule = require("services.crm.schedule")
    local fresh = { attempts = 1, since = 0 }
    assert.equal(4000, schedule.next(fresh, { status = 500 }, 0, 0))
    assert.equal(6000, schedule.next(fresh, { status = 500 }, 0, 1))
  end)

  it("that is refused is tried three times", function()
    push({ url = base .. "/status/404" })
    finish("s1")
    let_pass(300000, 1000)
    assert.same({ "dead", 3, 3 }, { row().state, row().attempts, #seen("/status/404") })
    push({ url = base .. "/push" })
    assert(require("services.crm").replay(app, row()._id))
    let_pass(0, 1)
    assert.same({ "delivered", 1 }, { row().state, row().attempts })
  end)

  it("waits as long as the receiver asks, an hour at most", function()
    local schedule = require("services.crm.schedule")
    assert.equal(700000, schedule.retry_after("700", 0))
    assert.equal(3600000, schedule.retry_after("86400", 0))
    assert.equal(60000, schedule.retry_after("Fri, 24 Apr 2026 09:01:00 GMT", api.now))
    assert.is_nil(schedule.retry_after("soon", 0))
    push({ url = base .. "/status/429" })
    finish("s1")
    let_pass(0, 1)
    assert.equal(api.now + 700000, row().next_at)
  end)

  it("is not followed elsewhere: a redirect is a failure", function()
    push({ url = base .. "/status/302" })
    finish("s1")
    let_pass(0, 1)
    assert.same({ "pending", 302 }, { row().state, row().log[1].status })
  end)

  it("never goes to a private address that nobody allowed", function()
    app.settings.CXB_OUTBOUND_ALLOW = nil
    finish("s1")
    let_pass(300000, 1000)
    assert.same({ "dead", 3 }, { row().state, row().attempts })
    assert.matches("url_not_allowed", row().log[1].error)
    assert.equal(0, #seen())
  end)

  it("keeps a log of its last ten attempts", function()
    push({ url = base .. "/status/500" })
    finish("s1")
    for _ = 1, 13 do
      app.store:update("crm_deliveries", row()._id, { set = { next_at = api.now } })
      api.now = api.now + 61000
      let_pass(0, 1)
    end
    assert.same({ 13, 10 }, { row().attempts, #row().log })
    assert.equal(api.now, row().log[10].at)
  end)

  it("whose receiver was away for two hours arrives once, within one retry interval", function()
    local flag = world:folder() .. "/down"
    world:write(flag, "")
    push({ url = base .. "/down?" .. flag })
    for i = 1, 30 do
      finish("s" .. i)
    end
    let_pass(2 * 3600000, 30000)
    local tries = #seen("/down")
    assert.is_true(tries < 200, tries) -- mostly left alone
    os.remove(flag)
    let_pass(2 * 3600000 * 1.2, 60000)
    local delivered = {}
    for i, request in ipairs(seen("/down")) do
      if i > tries then
        delivered[request.body] = (delivered[request.body] or 0) + 1
      end
    end
    for i = 1, 30 do
      assert.equal("delivered", row("s" .. i).state)
      assert.equal(1, delivered[('{"id":"s%d"}'):format(i)])
    end
  end)

  it("is not kept waiting by another receiver that is dead", function()
    local dead = bot_with({ url = "http://127.0.0.1:" .. world:port(), key_mapper = {} })
    dead._id = "dead"
    assert(app.store:insert("bots", dead))
    for i = 1, 40 do
      finish("d" .. i, { bot_id = "dead" })
    end
    finish("s1")
    let_pass(0, 1)
    assert.equal("delivered", row("s1").state)
    let_pass(30000, 1000)
    local attempts = 0
    for i = 1, 40 do
      attempts = attempts + row("d" .. i).attempts
    end
    assert.is_true(attempts >= 10 and attempts <= 14, attempts) -- then it was left alone
    api.now = api.now + 61000
    finish("s2")
    let_pass(0, 1)
    assert.equal("delivered", row("s2").state)
  end)

  it("is left alone by every process when the receiver failed one of them, until one succeeds", function()
    local flag = world:folder() .. "/down"
    world:write(flag, "")
    push({ url = base .. "/down?" .. flag })
    for i = 1, 30 do
      finish("s" .. i)
    end
    repeat
      local before = #seen("/down")
      outbox:turn()
    until #seen("/down") == before
    assert.equal(12, #seen("/down")) -- three times four
    local other = require("services.crm.outbox").new(app)
    assert.equal(0, other:turn())
    api.now = api.now + 59000
    assert.equal(0, other:turn())
    api.now = api.now + 2000
    assert.equal(1, other:turn()) -- one at a time
    assert.same({ 0, 0 }, { outbox:turn(), other:turn() })
    os.remove(flag)
    api.now = api.now + 61000
    assert.equal(1, outbox:turn())
    assert.equal(4, other:turn())
  end)

  it("that cannot be sent at all says nothing of its receiver", function()
    push({ url = base .. "/status/500" })
    for i = 1, 16 do
      finish("s" .. i)
    end
    repeat
      local before = #seen()
      outbox:turn()
    until #seen() == before
    api.now = api.now + 61000
    assert(app.store:update("calls", "s1", { set = { redacted_at = api.now } }))
    assert(app.store:update("crm_deliveries", row()._id, { set = { next_at = 1 } }))
    assert.same({ 1, "dead" }, { outbox:turn(), row().state })
    assert.equal(1, outbox:turn()) -- still one at a time
  end)

  it("has four places at its receiver, whichever processes hold them", function()
    push({ url = base .. "/push" })
    for i = 1, 8 do
      finish("s" .. i)
    end
    local key, begun = "crm:busy:" .. row("s1").host, {}
    for i = 1, 3 do -- another process is sending three
      assert.equal(1, app.cache:script("busy", { key }, { api.now, "other:" .. i, api.now + 60000, 4 }))
    end
    begun[1] = outbox:turn()
    app.cache:script("busy", { key }, { api.now, "other:1", 0, 0 })
    begun[2] = outbox:turn()
    app.cache:script("busy", { key }, { api.now, "other:9", api.now + 60000, 4 })
    app.cache:script("busy", { key }, { api.now, "other:8", api.now + 60000, 4 })
    begun[3] = outbox:turn()
    api.now = api.now + 60001 -- it died
    begun[4] = outbox:turn()
    assert.same({ 1, 2, 0, 4 }, begun)
  end)

  it("is taken by one process only, and by another when the first died with it", function()
    finish("s1")
    local store = app.store
    local taken = assert(store:lease("crm_deliveries", { session_id = "s1" },
      { owner = "x", ttl_ms = 60000, set = { state = "sending" } }))
    assert.equal(1, #taken)
    let_pass(59000, 1000)
    assert.equal(0, #seen())
    let_pass(2000, 1000)
    assert.equal(1, #seen())
    assert.equal("delivered", row().state)
  end)

  it("whose answer was lost with its sender comes again, under the same id", function()
    push({ signing_secrets = { secret } })
    finish("s1")
    local update = app.store.update
    app.store.update = function(self, name, ...)
      if name == "crm_deliveries" then
        return nil, { code = "unavailable", message = "killed" }
      end
      return update(self, name, ...)
    end
    let_pass(0, 1)
    app.store.update = nil
    let_pass(62000, 1000)
    local got = seen()
    assert.same({ 2, "delivered", 1 }, { #got, row().state, row().attempts })
    assert.equal(got[1].headers["webhook-id"], got[2].headers["webhook-id"])
    assert.equal(got[1].body, got[2].body)
  end)

  it("of a redacted call or a deleted bot is given up", function()
    finish("s1")
    finish("s2")
    assert(app.store:update("calls", "s2", { set = { redacted_at = api.now } }))
    assert(app.store:delete("bots", "demo"))
    let_pass(0, 1)
    assert.same({ "dead", "dead" }, { row("s1").state, row("s2").state })
    assert.matches("no such bot", row("s1").log[1].error)
    assert.matches("redacted", row("s2").log[1].error)
    assert.equal(0, #seen())
  end)
end)
