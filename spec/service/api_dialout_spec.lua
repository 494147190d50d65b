-- stores: both
-- Calls to people through hosts by script: what forbids them, in which order, and what hosts answer.
local FleetHost = require("support.fleet_host")
local process = require("support.api_process")
local support = require("support.world")
local json = require("cxb.json")

local path = "/api/v1/sip/dialout"

describe("a call to a person", function()
  local world, api, hosts, n

  setup(function()
    world, n = support.new(), 0
    api = process.start(world, { env = { CXB_INTERNAL_URL = "http://api.internal:8080",
      CXB_RATE_SCALE = "0" } })
    hosts = {}
    for i = 1, 4 do hosts[i] = FleetHost.new(world, "host-" .. i) end
  end)

  before_each(function()
    for _, host in ipairs(hosts) do
      host:answer("/livekit/dialout", 200, { status = "accepted", call_id = "c-" .. host.id,
        room_name = "call-" .. host.id })
    end
  end)

  after_each(function()
    for _, host in ipairs(hosts) do
      host:silence()
      host.task = nil
      api:ask("DELETE", "/api/v1/fleet/register/" .. host.id)
    end
  end)

  teardown(function() world:close() end)

  local function person()
    n = n + 1
    return ("+9198%08d"):format(n)
  end

  local function dial(more, options)
    local body = { bot_id = "demo", to_number = person() }
    for name, value in pairs(more or {}) do body[name] = value end
    options = options or {}
    options.body = body
    return api:ask("POST", path, options)
  end

  local function key(more)
    local body = { name = "caller", scopes = { "dialout" } }
    for name, value in pairs(more or {}) do body[name] = value end
    return api:ask("POST", "/api/v1/api-keys", { body = body }).answer.key
  end

  local function with_key(text)
    return { secret = false, headers = { ["x-api-key"] = text } }
  end

  local function dialled()
    local count = 0
    for _, host in ipairs(hosts) do count = count + #host:asked("/livekit/dialout") end
    return count
  end

  local function refusal(answer)
    return { answer.status, answer.answer.error }
  end

  it("goes to a host with everything it needs", function()
    hosts[1]:register(api)
    local before = #hosts[1]:asked("/livekit/dialout")
    local answer = dial({ to_number = "98765 43210", from_number = "+911140000000",
      variables = { name = "Asha" } })
    assert.same({ status = "ok", call_id = "c-host-1", room_name = "call-host-1" }, answer.answer)
    local asked = hosts[1]:asked("/livekit/dialout")[before + 1]
    assert.same({ bot_id = "demo", to_number = "+9876543210", from_number = "+911140000000",
      connected_event = { name = "Asha" }, config_url = "http://api.internal:8080/api/v1/config" },
      asked.sent)
    assert.equal(process.SECRET, asked.headers["x-cxbcore-secret"])
    assert.matches("^rsv_", asked.headers["x-cxb-reservation"])
    assert.equal(answer.headers["x-request-id"], asked.headers["x-request-id"])
  end)

  it("is refused in one order, and nobody is dialled", function()
    hosts[1]:register(api)
    local before = dialled()
    local blocked = person()
    api:ask("POST", "/api/v1/dnc", { body = { numbers = { blocked }, scope = "global",
      reason = "asked" } })
    assert.same({ 401, "invalid_api_key" }, refusal(dial({}, { secret = false })))
    assert.same({ 422, "validation_failed" }, refusal(dial({ bot_id = "nobody",
      variables = { a = 1 }, connected_event = { b = 1 } })))
    assert.same({ 404, "not_found" }, refusal(dial({ bot_id = "nobody", to_number = blocked })))
    local other = with_key(key({ bot_ids = { "echo" } }))
    assert.same({ 403, "forbidden" }, refusal(dial({ to_number = blocked }, other)))
    assert.same({ 422, "number_not_allowed" }, refusal(dial({ to_number = "112" })))
    assert.same({ 422, "validation_failed" }, refusal(dial({ bot_id = "nobody",
      to_number = "my mother" })))
    local flags = dial({ variables = { _skip_post_push = true } }, with_key(key()))
    assert.same({ 422, "variables._skip_post_push" },
      { flags.status, flags.answer.fields[1].path })
    assert.same({ 422, "number_on_dnc" }, refusal(dial({ to_number = blocked })))
    assert.equal(before, dialled())
  end)

  it("never goes to a number on the list, however it is written", function()
    hosts[1]:register(api)
    local blocked = person()
    api:ask("POST", "/api/v1/dnc", { body = { numbers = { blocked } } })
    local before, digits = dialled(), blocked:sub(4)
    for _, text in ipairs({ blocked, blocked:sub(2), "0" .. digits, digits, "0091" .. digits }) do
      assert.same({ 422, "number_on_dnc" }, refusal(dial({ to_number = text })), text)
    end
    assert.equal(before, dialled())
  end)

  it("never goes to one of our own numbers", function()
    hosts[1]:register(api)
    local id = api:ask("POST", "/api/v1/carriers", { body = { name = "Own",
      sip_address = "sip.example.net" } }).answer.id
    local mine = person()
    api:ask("POST", ("/api/v1/carriers/%s/dids"):format(id), { body = { number = mine,
      direction = "inbound" } })
    assert.same({ 422, "number_not_allowed" }, refusal(dial({ to_number = mine })))
  end)

  it("goes to another host after 429, to three at most, and gives the slots back", function()
    for _, host in ipairs(hosts) do
      host:register(api)
      host:answer("/livekit/dialout", 429, { error = "at_capacity" })
    end
    local before = dialled()
    local full = dial()
    assert.same({ 429, "at_capacity", "1" }, { full.status, full.answer.error,
      full.headers["retry-after"] })
    assert.equal(before + 3, dialled())
    assert.equal(0, api:ask("GET", "/api/v1/fleet/status").answer.reservations)
    hosts[1]:answer("/livekit/dialout", 200, { call_id = "c-1", room_name = "r-1" })
    hosts[2]:answer("/livekit/dialout", 200, { call_id = "c-1", room_name = "r-1" })
    before = dialled()
    assert.equal("c-1", dial().answer.call_id) -- of four, two refuse: the third try is good
    assert.is_true(dialled() - before <= 3)
  end)

  it("ends with the first host that says anything else", function()
    hosts[1]:register(api, { free = 4 })
    hosts[2]:register(api, { free = 1 })
    for status, code in pairs({ [404] = "no_bot", [422] = "invalid", [503] = "livekit_unavailable" }) do
      hosts[1]:answer("/livekit/dialout", status, { error = code })
      local before = #hosts[2]:asked("/livekit/dialout")
      assert.same({ status, code }, refusal(dial()))
      assert.equal(before, #hosts[2]:asked("/livekit/dialout"))
    end
    hosts[1]:answer("/livekit/dialout", 500, { error = "SIP trunk 7 is gone" })
    local said = dial()
    assert.same({ 500, "upstream_failed", "SIP trunk 7 is gone" }, { said.status,
      said.answer.error, said.answer.message })
    hosts[1]:answer("/livekit/dialout", 409, { error = "sip_486" })
    assert.same({ 409, "sip_486" }, refusal(dial()))
    hosts[1]:answer("/livekit/dialout", 200, "<html>")
    assert.same({ 502, "upstream_failed" }, refusal(dial()))
    assert.equal(0, api:ask("GET", "/api/v1/fleet/status").answer.hosts[2].reservations)
  end)

  it("finds no fleet, or none that is healthy", function()
    local none = dial()
    assert.same({ 503, "No fleet" }, { none.status, none.answer.message })
    hosts[1]:register(api, { free = 0 })
    local full = dial()
    assert.same({ 503, "No healthy fleet" }, { full.status, full.answer.message })
    hosts[1]:silence()
    hosts[1].task = nil
    api:ask("DELETE", "/api/v1/fleet/register/host-1")
    api:ask("POST", "/api/v1/fleet/register", { body = hosts[1]:beat({ more = {
      base_url = "http://127.0.0.1:1" } }) })
    assert.same({ 502, "upstream_failed" }, refusal(dial()))
  end)

  it("is made once for one Idempotency-Key", function()
    hosts[1]:register(api)
    local before, to = dialled(), person()
    local function once(number)
      return dial({ to_number = number or to }, { headers = { ["idempotency-key"] = "once-1" } })
    end
    local answers = process.at_once(5, function() return once() end)
    for _, answer in ipairs(answers) do
      assert.is_true(answer.status == 200 or answer.status == 409, tostring(answer.status))
    end
    local again = once()
    assert.same({ 200, "true", "c-host-1" }, { again.status, again.headers["idempotent-replay"],
      again.answer.call_id })
    assert.equal(before + 1, dialled())
    assert.same({ 422, "idempotency_mismatch" }, refusal(once(person())))
  end)

  it("is counted: so many a day by a key, so many by everybody", function()
    hosts[1]:register(api)
    local two = with_key(key({ daily_call_limit = 2 }))
    assert.equal(200, dial({}, two).status)
    hosts[1]:answer("/livekit/dialout", 503, { error = "livekit_unavailable" }, { times = 1 })
    assert.equal(503, dial({}, two).status) -- a call that was not begun does not count
    assert.equal(200, dial({}, two).status)
    assert.same({ 429, "rate_limited" }, refusal(dial({}, two)))
    assert.equal(200, dial().status)
    api:ask("PUT", "/api/v1/settings/limits", { body = { max_outbound_calls_per_day = 1 } })
    assert.same({ 429, "rate_limited" }, refusal(dial()))
    api:ask("PUT", "/api/v1/settings/limits",
      { body = { max_outbound_calls_per_day = json.null } })
    assert.equal(200, dial().status)
  end)

  it("keeps to its carrier's rate", function()
    hosts[1]:register(api)
    local id = api:ask("POST", "/api/v1/carriers", { body = { name = "Slow",
      sip_address = "sip.example.net", outbound_cps = 0.1, outbound_burst = 1 } }).answer.id
    local mine = person()
    api:ask("POST", ("/api/v1/carriers/%s/dids"):format(id), { body = { number = mine,
      direction = "outbound" } })
    assert.equal(200, dial({ from_number = mine }).status)
    local fast = dial({ from_number = mine })
    assert.same({ 429, "at_capacity" }, refusal(fast))
    assert.is_true(tonumber(fast.headers["retry-after"]) >= 1)
    assert.equal(200, dial({ from_number = "+14155550100" }).status)
  end)
end)
