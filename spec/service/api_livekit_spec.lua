-- stores: both
-- LiveKit's webhook and the website widget, with signatures made here and hosts by script.
local FleetHost = require("support.fleet_host")
local LiveKit = require("support.livekit_server")
local client = require("cxb.livekit")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local process = require("support.api_process")
local support = require("support.world")

local KEY, SECRET = "cxbkey", ("webhook-secret-"):rep(3)

describe("LiveKit's webhook", function()
  local world, api, hosts, n

  setup(function()
    world, n = support.new(), 0
    api = process.start(world, { env = { LIVEKIT_URL = "ws://127.0.0.1:1", LIVEKIT_API_KEY = KEY,
      LIVEKIT_API_SECRET = SECRET } })
    hosts = {}
    for i = 1, 4 do hosts[i] = FleetHost.new(world, "host-" .. i) end
  end)

  after_each(function()
    for _, host in ipairs(hosts) do
      host:silence()
      host.task = nil
      api:ask("DELETE", "/api/v1/fleet/register/" .. host.id)
      host:answer("/livekit/dispatch", 200, { status = "accepted", call_id = "c" })
    end
  end)

  teardown(function() world:close() end)

  local function sign(text, options)
    options = options or {}
    local now = math.floor(cxb.time.now() / 1000)
    return jwt.sign({ iss = options.iss or KEY, nbf = now + (options.nbf or -5),
      exp = now + (options.exp or 300),
      sha256 = cxb.crypto.base64(cxb.crypto.sha256(options.over or text)) },
      options.secret or SECRET)
  end

  local function post(event, options)
    local text = type(event) == "table" and json.encode(event) or event
    local mark = options and options.authorization or sign(text, options)
    return api:ask("POST", "/api/v1/livekit/webhook", { secret = false, body = text, headers = {
      ["content-type"] = "application/webhook+json", authorization = mark ~= "" and mark or nil } })
  end

  local function joined(more)
    n = n + 1
    local event = { event = "participant_joined", id = "EV_" .. n, room = { name = "call-" .. n },
      participant = { identity = "sip_+919800000000", kind = "SIP", attributes = {
        ["sip.phoneNumber"] = "+919800000000", ["sip.trunkPhoneNumber"] = "+912200000000",
        ["sip.callID"] = "SCL_" .. n, ["sip.trunkID"] = "ST_1" } } }
    for name, value in pairs(more or {}) do event[name] = value end
    return event
  end

  local function dispatched()
    local list = {}
    for _, host in ipairs(hosts) do
      for _, request in ipairs(host:asked("/livekit/dispatch")) do list[#list + 1] = request.sent end
    end
    return list
  end

  it("is believed only when LiveKit's own secret signed this very body, lately", function()
    local event = { event = "room_started", id = "EV_vectors", room = { name = "x" } }
    assert.same({ 200, true }, { post(event).status, post(event).answer.ok })
    local none = post(event, { authorization = "" })
    assert.same({ 401, "Missing auth" }, { none.status, none.answer.message })
    for name, options in pairs({
      altered = { over = "another body" }, ["other secret"] = { secret = ("x"):rep(45) },
      ["empty secret"] = { secret = "" }, ["other key"] = { iss = "somebody" },
      stale = { exp = -61 }, early = { nbf = 90 }, nonsense = { authorization = "a.b.c" },
    }) do
      local answer = post(event, options)
      assert.same({ 401, "Invalid signature" }, { answer.status, answer.answer.message }, name)
    end
    assert.equal(200, post(event, { exp = -30 }).status) -- a minute of skew either way
    assert.equal(200, post(event, { nbf = 55 }).status)
  end)

  it("is refused whole where no secret is set", function()
    local bare = process.start(world)
    local text = '{"event":"room_started","id":"EV_1"}'
    local answer = bare:ask("POST", "/api/v1/livekit/webhook", { secret = false, body = text,
      headers = { authorization = sign(text, { secret = "" }) } })
    assert.same({ 401, "Invalid signature" }, { answer.status, answer.answer.message })
    bare.process:stop()
  end)

  it("brings a caller to a worker, once however often it is told", function()
    hosts[1]:register(api)
    local before = #dispatched()
    local event = joined()
    for _ = 1, 3 do assert.equal(200, post(event).status) end
    local list = dispatched()
    assert.equal(before + 1, #list)
    assert.same({ room_name = event.room.name, caller_number = "+919800000000", final = false,
      dialed_number = "+912200000000", call_id = event.participant.attributes["sip.callID"] },
      list[#list])
    assert.matches("^rsv_", hosts[1]:asked("/livekit/dispatch")[1].headers["x-cxb-reservation"])
  end)

  it("leaves alone who is no caller, or in another room", function()
    hosts[1]:register(api)
    local before = #dispatched()
    assert.equal(200, post(joined({ room = { name = "desk-1" } })).status)
    assert.equal(200, post(joined({ event = "participant_left" })).status)
    assert.equal(200, post(joined({ participant = { identity = "a", kind = "STANDARD" } })).status)
    assert.equal(before, #dispatched())
  end)

  it("asks three hosts that register, the last for good", function()
    for _, host in ipairs(hosts) do
      host:register(api)
      host:answer("/livekit/dispatch", 429, { error = "at_capacity" })
    end
    local before = {}
    for i, host in ipairs(hosts) do before[i] = #host:asked("/livekit/dispatch") end
    assert.equal(200, post(joined()).status)
    local finals = {}
    for i, host in ipairs(hosts) do
      local asked = host:asked("/livekit/dispatch")
      assert.is_true(#asked - before[i] <= 1)
      if #asked > before[i] then finals[#finals + 1] = tostring(asked[#asked].sent.final) end
    end
    table.sort(finals)
    assert.same({ "false", "false", "true" }, finals)
  end)

  it("asks a host of the URL list once, and tells it nothing of trying again", function()
    api:ask("PUT", "/api/v1/settings/fleet", { body = { core_fleet = { hosts[1].url,
      hosts[2].url } } })
    for i = 1, 2 do hosts[i]:answer("/livekit/dispatch", 429, { error = "at_capacity" }) end
    support.wait_until("both hosts", function()
      return api:ask("GET", "/api/v1/fleet/status").answer.total_capacity == 8
    end)
    local event, found = joined(), {}
    assert.equal(200, post(event).status)
    for _, sent in ipairs(dispatched()) do
      if sent.room_name == event.room.name then found[#found + 1] = sent end
    end
    assert.equal(1, #found)
    assert.is_nil(found[1].final)
    api:ask("PUT", "/api/v1/settings/fleet", { body = { core_fleet = json.array() } })
    support.wait_until("no host", function()
      return api:ask("GET", "/api/v1/fleet/status").answer.total_capacity == 0
    end)
  end)

  it("without a fleet is answered 503, and taken when it comes again", function()
    local event = joined()
    local answer = post(event)
    assert.same({ 503, "No fleet" }, { answer.status, answer.answer.message })
    hosts[1]:register(api)
    local before = #dispatched()
    assert.equal(200, post(event).status)
    assert.equal(before + 1, #dispatched())
  end)
end)

describe("the website widget", function()
  local world, api, livekit, host, key

  setup(function()
    world = support.new()
    livekit = LiveKit.new(world):start()
    api = process.start(world, { env = livekit:env() })
    host = FleetHost.new(world)
    host:register(api)
    key = api:ask("POST", "/api/v1/bots/demo/widget-key").answer.widget_api_key
  end)

  teardown(function()
    host:silence()
    world:close()
  end)

  local function ask(body, origin)
    return api:ask("POST", "/api/v1/widget/token", { secret = false, body = body,
      headers = { origin = origin } })
  end

  it("gives a visitor a token for one room, after a worker has taken it", function()
    local answer = ask({ bot_id = "demo", api_key = key })
    assert.equal(201, answer.status)
    assert.equal(livekit.settings.LIVEKIT_URL, answer.answer.server_url)
    local claims = assert(jwt.verify(answer.answer.participant_token, LiveKit.SECRET))
    local sent = host:asked("/livekit/widget")[1].sent
    assert.same({ "Website Visitor", sent.room_name, true },
      { claims.name, claims.video.room, claims.video.roomJoin })
    assert.matches("^widget%-demo%-%x%x%x%x%x%x%x%x%x%x%x%x$", sent.room_name)
    assert.matches("^widget%-user%-%x%x%x%x%x%x%x%x$", claims.sub)
    assert.is_true(claims.exp - cxb.time.now() / 1000 <= 600)
    assert.equal("demo", sent.bot_id)
    -- The real server takes the token.
    local page = assert(cxb.http.request({ url = client.http_url(livekit.settings)
      .. "/rtc/validate?access_token=" .. answer.answer.participant_token }))
    assert.equal(200, page.status)
  end)

  it("refuses strangers, and any website may read why", function()
    local wrong = ask({ bot_id = "demo", api_key = "wk_wrong" })
    assert.same({ 401, "*" }, { wrong.status, wrong.headers["access-control-allow-origin"] })
    assert.equal(404, ask({ bot_id = "nobody", api_key = key }).status)
    local preflight = api:ask("OPTIONS", "/api/v1/widget/token", { secret = false, headers = {
      origin = "https://shop.example.net", ["access-control-request-method"] = "POST" } })
    assert.same({ 204, "*" },
      { preflight.status, preflight.headers["access-control-allow-origin"] })
    assert.equal(200, api:ask("PUT", "/api/v1/bots/demo",
      { body = { widget_allowed_origins = { "https://shop.example.net" } } }).status)
    local elsewhere = ask({ bot_id = "demo", api_key = key }, "https://other.example.net")
    assert.same({ 403, "origin_not_allowed" }, { elsewhere.status, elsewhere.answer.error })
    assert.equal(201, ask({ bot_id = "demo", api_key = key }, "https://shop.example.net").status)
  end)

  it("gives no token when no worker takes the visitor", function()
    host:answer("/livekit/widget", 503, { error = "livekit_unavailable" })
    local answer = ask({ bot_id = "demo", api_key = key }, "https://shop.example.net")
    assert.same({ 503, "dispatch_failed" }, { answer.status, answer.answer.error })
  end)
end)
