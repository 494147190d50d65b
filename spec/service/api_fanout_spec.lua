-- stores: both
-- What follows from a result in the real API, with a receiver of its own: each thing once, whatever
-- comes twice and whenever the API dies.
local Campaigns = require("support.campaigns")
local SseClient = require("support.sse_client")
local support = require("support.world")
local process = require("support.api_process")
local json = require("cxb.json")
local webhooks = require("support.webhooks")

local receiver = [[
return function(req)
  req:respond(200, "taken")
end
]]

local function secret(byte)
  return "whsec_" .. cxb.crypto.base64(byte:rep(24))
end

describe("a result's consequences", function()
  local world, site, api, port, server, url, bot
  local started_at = cxb.time.iso(cxb.time.now() - 3600000)

  setup(function()
    world = support.new()
    port = world:port()
    server = world:server("tcp:127.0.0.1:" .. port, receiver)
    url = "http://127.0.0.1:" .. port
    site = Campaigns.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1", CXB_DEV = "1",
      CXB_WEBHOOK_SECRET = secret("w") } })
    api = site.api
    local made = api:ask("POST", "/api/v1/bots", { body = {
      name = "Pushing", post_call_push = { enabled = true, url = url .. "/push",
        key_mapper = { id = "{{result.call_id}}", outcome = "{{analysis.DISPOSITION}}" },
        headers = { ["X-Token"] = "crm-token-of-the-spec" },
        signing_secrets = { secret("a"), secret("b") } } } })
    assert.equal(201, made.status, made.body)
    bot = made.answer.id
  end)

  teardown(function()
    site:close()
    world:close()
  end)

  local function result(id)
    return json.encode({
      session_id = id, bot_id = bot, caller_id = "+919876543210", disconnected_by = "customer",
      call_duration_seconds = 42.3, started_at = started_at,
      recording_key = "recordings/" .. id .. ".wav",
      post_call_analysis = { DISPOSITION = "Paid", do_not_call = true },
    })
  end

  -- A call that a campaign's contact is having, as Dialler and configuration leave it.
  local function on_line(id, number)
    local campaign = site:campaign()
    site:set(campaign.id, { status = "running" })
    local contact = assert(site.store:insert("campaign_calls", {
      campaign_id = campaign.id, upload_id = "u", run_number = 1, phone_number = number,
      variables = {}, status = "in_progress", attempts_made = 1, attempt_seq = 1,
      session_id = id, dial = { at = cxb.time.now(), kind = "first" },
    }))
    assert(site.store:insert("calls", {
      _id = id, call_type = "bot", status = "in_progress", bot_id = bot, started_at = 1,
      campaign_id = campaign.id, campaign_call_id = contact._id, campaign_attempt = 1,
    }))
    return contact._id
  end

  local function contact_of(id)
    return assert(site.store:find("campaign_calls", { session_id = id })[1])
  end

  local function post(body, headers)
    local all = { ["content-type"] = "application/json" }
    for name, value in pairs(headers or {}) do
      all[name] = value
    end
    return api:ask("POST", "/api/v1/call-results", { body = body, headers = all })
  end

  local function deliveries(id)
    return api:ask("GET", "/api/v1/crm-deliveries?session_id=" .. id).answer.items or {}
  end

  local function delivered(id)
    local rows = deliveries(id)
    return #rows == 1 and rows[1].state == "delivered" and rows[1]
  end

  -- What the receiver got about a call.
  local function got(id)
    local out = {}
    for _, request in ipairs(server.seen()) do
      if json.decode(request.body).id == id then
        out[#out + 1] = request
      end
    end
    return out
  end

  it("are one call, one delivery, one move of the contact after 100 results at once and 100 in turn", function()
    on_line("hundred", "+919876543201")
    local body = result("hundred")
    local answers = process.at_once(100, function()
      return post(body)
    end)
    for i = 101, 200 do
      answers[i] = post(body)
    end
    local fresh = 0
    for _, answer in ipairs(answers) do
      assert.equal(200, answer.status)
      fresh = fresh + (answer.answer.duplicate and 0 or 1)
    end
    assert.equal(1, fresh)
    process.wait_until("the delivery", function()
      return delivered("hundred")
    end)
    assert.same({ 1, 1 }, { #deliveries("hundred"), #got("hundred") })
    process.wait_until("the contact", function()
      return contact_of("hundred").status == "dnc"
    end)
    assert.same({ 3, 1, 1 }, { contact_of("hundred").v, contact_of("hundred").attempts_made,
      site.store:count("campaign_attempts", { session_id = "hundred" }) })
    local calls = api:ask("GET", "/api/v1/calls?bot_id=" .. bot).answer
    assert.equal(1, calls.total)
    assert.equal('{"id":"hundred","outcome":"Paid"}', got("hundred")[1].body)
    assert.equal("crm-token-of-the-spec", got("hundred")[1].headers["x-token"])
  end)

  it("are signed as an independent implementation expects, under each secret", function()
    local request = got("hundred")[1]
    local cases = {}
    for i, case in ipairs({ { secret("a") }, { secret("b") }, { secret("c") },
      { secret("a"), " " } }) do
      cases[i] = { headers = request.headers, secret = case[1],
        body = request.body .. (case[2] or "") }
    end
    local said = webhooks.verdicts(world, cases)
    assert.same({ "ok", "ok" }, { said[1], said[2] })
    assert.matches("^refused", said[3])
    assert.matches("^refused", said[4])
  end)

  it("are shown without the credentials of the receiver", function()
    local row = delivered("hundred")
    local shown = api:ask("GET", "/api/v1/crm-deliveries/" .. row.id)
    assert.equal(200, shown.status)
    assert.is_nil(shown.body:find("crm-token-of-the-spec", 1, true))
    assert.is_nil(shown.body:find(secret("a"), 1, true))
    assert.same({ "application/json", 200 },
      { shown.answer.headers["content-type"], shown.answer.log[1].status })
    assert.equal(404, api:ask("GET", "/api/v1/crm-deliveries/dlv_none").status)
    assert.equal(409, api:ask("DELETE", "/api/v1/crm-deliveries/" .. row.id).status)
    assert.equal(401, api:ask("GET", "/api/v1/crm-deliveries", { secret = false }).status)
  end)

  it("come once more when somebody asks for it, under the same id", function()
    local row = delivered("hundred")
    local again = api:ask("POST", ("/api/v1/crm-deliveries/%s/replay"):format(row.id))
    assert.equal(200, again.status)
    process.wait_until("the replay", function()
      return #got("hundred") == 2
    end)
    local two = got("hundred")
    assert.equal(two[1].headers["webhook-id"], two[2].headers["webhook-id"])
    process.wait_until("its end", function()
      return delivered("hundred")
    end)
    local many = api:ask("POST", "/api/v1/crm-deliveries/replay",
      { body = { filter = { state = "delivered", session_id = "hundred" } } })
    assert.same({ 200, 1 }, { many.status, many.answer.replayed })
    process.wait_until("the second replay", function()
      return #got("hundred") == 3 and delivered("hundred")
    end)
  end)

  it("need a signature that verifies where one is given", function()
    local webhook = require("cxb.webhook")
    local body = result("signed")
    local key = { ("w"):rep(24) }
    local now = math.floor(cxb.time.now() / 1000)
    local good = webhook.sign(key, "result:signed", body)
    assert.equal(200, post(body, good).status)
    assert.equal(200, post(body, good).status)
    for name, headers in pairs({
      altered = webhook.sign(key, "result:signed", body .. " "),
      other = webhook.sign({ ("v"):rep(24) }, "result:signed", body),
      stale = webhook.sign(key, "result:signed", body, now - 400),
      future = webhook.sign(key, "result:signed", body, now + 400),
      empty = webhook.sign({ "" }, "result:signed", body),
      nameless = { ["webhook-signature"] = good["webhook-signature"] },
    }) do
      local answer = post(body, headers)
      assert.same({ 403, "bad_signature" }, { answer.status, answer.answer.error }, name)
    end
  end)

  it("are watched live and kept nowhere", function()
    local function live(body, headers)
      return api:ask("POST", "/api/v1/calls/nobody/live",
        { body = body, headers = headers or { ["content-type"] = "application/json" } }).status
    end
    assert.equal(204, live('{"seq":1,"events":[{"type":"turn"}]}'))
    assert.equal(204, live("{}"))
    assert.equal(404, api:ask("GET", "/api/v1/calls/nobody").status)
  end)

  it("are 204 live whatever is said, and what cannot be read is told to nobody", function()
    local stream = SseClient.open(api, "/api/v1/events/stream?topics=calls")
    local long = '{"seq":2,"events":[{"x":"' .. ("x"):rep(65536) .. '"}]}'
    for _, body in ipairs({ "", "no json", "[]", "{}", '{"seq":"1","events":[]}',
      '{"seq":1,"events":"x"}', '{"seq":1,"events":[1]}', long,
      '{"seq":7,"events":[{"type":"turn"}]}' }) do
      local answer = api:ask("POST", "/api/v1/calls/babbled/live",
        { body = body, headers = { ["content-type"] = "application/json" } })
      assert.same({ 204, "" }, { answer.status, answer.body }, body:sub(1, 40))
    end
    assert.equal(204, api:ask("POST", "/api/v1/calls/babbled/live", { body = "x",
      headers = { ["content-type"] = "text/plain" } }).status)
    assert.equal(403, api:ask("POST", "/api/v1/calls/babbled/live", { body = "x",
      secret = false }).status)
    local said
    repeat
      said = assert(stream:next())
    until said.name == "call.live" and said.data.data.session_id == "babbled"
    stream:close()
    assert.equal(7, said.data.data.seq)
  end)

  it("of a carrier's record are found by its stream", function()
    local cdr = function(body)
      return api:ask("POST", "/api/v1/cdr", { body = body })
    end
    assert.equal(200, api:ask("POST", "/api/v1/call-results", { body = {
      session_id = "carried", stream_id = "st-9", disconnected_by = "no_answer" } }).status)
    assert.same({ status = "ok", stream_id = "st-9" },
      cdr({ streamId = "st-9", callStatus = "completed" }).answer)
    assert.same({ status = "not_found", stream_id = "st-8" }, cdr({ stream_id = "st-8" }).answer)
    assert.same({ status = "ignored", reason = "no streamId" }, cdr({ x = 1 }).answer)
    local call = api:ask("GET", "/api/v1/calls/carried").answer
    assert.same({ "failed", "completed" }, { call.status, call.cdr_call_status })
  end)

  it("are each there once after kill -9 between any two steps", function()
    local points = { "fanout.kept", "campaign_result.taken", "campaign_result.attempt",
      "fanout.campaign", "fanout.dnc", "fanout.crm", "fanout.settled" }
    for i, point in ipairs(points) do
      points[i] = { step = point, id = point:gsub("%p", "-"), contact =
        on_line((point:gsub("%p", "-")), "+9198765433" .. (10 + i)) }
    end
    api.process:stop()
    server:stop() -- a delivery that a kill cuts off would come again
    for _, point in ipairs(points) do
      api.env.CXB_CRASH_AT = point.step
      api:run()
      post(result(point.id))
      assert.truthy(api.process:wait(60000) or api.process.ended, point.step)
      assert.equal(9, api.process.signal, point.step)
      if site.store:get("campaign_calls", point.contact).status == "_processing" then
        -- as if the minute were over for which the dead process has it
        assert(site.store:update("campaign_calls", point.contact,
          { set = { ["lease.until"] = 1 } }))
      end
    end
    -- as if the minute were over for which a dead process has a delivery, or it waits
    assert(site.store:update_many("crm_deliveries", { state = { ["in"] = { "pending", "sending" } } },
      { set = { ["lease.until"] = 1, next_at = 1 } }))
    api.env.CXB_CRASH_AT = nil
    server = world:server("tcp:127.0.0.1:" .. port, receiver)
    api:run()
    for _, point in ipairs(points) do
      local again = post(result(point.id))
      assert.same({ 200, true }, { again.status, again.answer.duplicate })
    end
    for _, point in ipairs(points) do
      process.wait_until(point.step, function()
        return delivered(point.id) and contact_of(point.id).status == "dnc"
      end)
      assert.equal(1, #got(point.id), point.step)
      assert.same({ 1, 1 }, { contact_of(point.id).attempts_made,
        site.store:count("campaign_attempts", { session_id = point.id }) })
      local call = api:ask("GET", "/api/v1/calls/" .. point.id).answer
      assert.same({ "completed", "Paid" }, { call.status, call.disposition })
    end
    assert.equal(1, site.store:count("dnc", { number = "+919876543210" }))
  end)
end)
