-- stores: both
-- Calls that are on now, and recordings that only a host of the fleet has.
local FleetHost = require("support.fleet_host")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local process = require("support.api_process")
local support = require("support.world")

local wait_until = support.wait_until

describe("calls that are on", function()
  local world, api, near, far

  -- A call of a bot, on the worker of a host.
  local function begin(host, worker)
    local answer = api:ask("GET", "/api/v1/config/demo?caller_id=%2B4930111222&stream_id=s").answer
    assert.is_string(answer.session_id)
    local told = host:register(api, { free = 3, more = { workers = { { id = worker,
      state = "busy", calls = 1, max = 1, session_id = answer.session_id } } } })
    assert.equal(200, told.status, told.body)
    return answer.session_id
  end

  local function row(id)
    for _, call in ipairs(api:ask("GET", "/api/v1/calls/live").answer.items) do
      if call.session_id == id then
        return call
      end
    end
  end

  local function over(id)
    assert.equal(200, api:ask("POST", "/api/v1/call-results",
      { body = { session_id = id, disconnected_by = "customer" } }).status)
  end

  setup(function()
    world = support.new()
    api = process.start(world)
    near, far = FleetHost.new(world), FleetHost.new(world)
    near:register(api)
    far:register(api)
  end)

  teardown(function()
    near:silence()
    far:silence()
    world:close()
  end)

  it("are listed with their host, worker, time and last line until they end", function()
    local id = begin(far, "3")
    assert.equal(204, api:ask("POST", "/api/v1/calls/" .. id .. "/live", { body = { seq = 1,
      events = {
        { t_ms = 1, type = "transcript", data = { role = "user", text = "Guten Tag" } },
        { t_ms = 2, type = "transcript", data = { role = "bot", text = "Hallo!" } },
      } } }).status)
    wait_until("the line", function()
      local call = row(id)
      return call and call.last_line and call.last_line.text == "Hallo!"
    end)
    local call = row(id)
    assert.same({ "demo", far.id, "3", "busy", "bot" }, { call.bot_id, call.host_id,
      call.worker_id, call.state, call.call_type })
    assert.is_true(call.seconds >= 0 and call.seconds < 3600)
    assert.is_string(call.bot_name)
    over(id)
    assert.is_nil(row(id))
  end)

  it("are listened to with a ticket for this call, once the fleet has told where it is", function()
    local id = begin(far, "1")
    local answer = api:ask("POST", "/api/v1/calls/" .. id .. "/listen")
    assert.equal(200, answer.status, answer.body)
    local made = answer.answer
    assert.same({ "ws", far.url:gsub("^http", "ws") .. "/monitor/" .. id },
      { made.mode, made.url })
    local key = cxb.crypto.hkdf_sha256(process.SECRET, "core-listen", 32)
    local claims = assert(jwt.verify(made.ticket, key, { aud = "core-listen" }))
    assert.same({ "demo", id, true }, { claims.bot_id, claims.session_id,
      claims.exp - cxb.time.now() / 1000 <= 60 })
    assert.is_string(claims.jti)
    local audit = api:ask("GET", "/api/v1/audit?action=call.listen").answer
    assert.equal(id, audit.items[1].target.id)
    over(id)
    local late = api:ask("POST", "/api/v1/calls/" .. id .. "/listen")
    assert.same({ 409, "not_live" }, { late.status, late.answer.error })
  end)

  it("are ended by their host, as often as one asks", function()
    local id = begin(near, "2")
    local path = "/calls/" .. id .. "/hangup"
    near:answer(path, 202, {})
    for _ = 1, 2 do
      assert.equal(202, api:ask("POST", "/api/v1/calls/" .. id .. "/hangup").status)
    end
    local asked = near:asked(path)
    assert.same({ 2, process.SECRET, process.SECRET }, { #asked,
      asked[1].headers["x-cxbcore-secret"], asked[1].headers["x-cxb-core-secret"] })
    assert.equal(0, #far:asked(path))
    near:answer(path, 404, { error = "not_live" })
    assert.equal(409, api:ask("POST", "/api/v1/calls/" .. id .. "/hangup").status)
    near:answer(path, 500, {})
    assert.equal(502, api:ask("POST", "/api/v1/calls/" .. id .. "/hangup").status)
    over(id)
    assert.equal("not_live", api:ask("POST", "/api/v1/calls/" .. id .. "/hangup").answer.error)
    assert.equal(404, api:ask("POST", "/api/v1/calls/nobody/hangup").status)
  end)

  it("no host has told of are looked for on all of them to be ended", function()
    local id = api:ask("GET", "/api/v1/config/demo?caller_id=%2B4930111222&stream_id=t")
      .answer.session_id
    local path = "/calls/" .. id .. "/hangup"
    near:answer(path, 404, { error = "not_live" })
    far:answer(path, 200, {})
    assert.equal(202, api:ask("POST", "/api/v1/calls/" .. id .. "/hangup").status)
    assert.same({ 1, 1 }, { #near:asked(path), #far:asked(path) })
  end)

  it("leave recordings that play from the one host that has them", function()
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "far-rec",
      disconnected_by = "bot", recording_key = "recordings/2026/04/24/far.wav" } })
    local path = "/recordings/recordings/2026/04/24/far.wav"
    near:answer(path, 404, { error = "not_found" })
    far:answer(path, 200, "audio of the far host")
    local answer = api:ask("GET", "/api/v1/recordings/far-rec")
    assert.same({ 200, "audio of the far host" }, { answer.status, answer.body })
    far:answer(path, 404, { error = "not_found" })
    local missing = api:ask("GET", "/api/v1/recordings/far-rec")
    assert.same({ 404, "recording_missing" }, { missing.status, missing.answer.error })
    assert.equal(json.encode(process.SECRET),
      json.encode(far:asked(path)[1].headers["x-cxbcore-secret"]))
  end)

  it("are erased with the copy that a host has, or not at all", function()
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "far-red",
      disconnected_by = "bot", recording_key = "recordings/2026/04/24/red.wav" } })
    local path = "/recordings/recordings/2026/04/24/red.wav"
    local function redact()
      return api:ask("POST", "/api/v1/calls/far-red/redact")
    end
    near:answer(path, 404, { error = "not_found" })
    far:answer(path, 500, { error = "not_erased" })
    local refused = redact()
    assert.same({ 503, "fleet_unavailable" }, { refused.status, refused.answer.error })
    assert.equal("The recording could not be erased, so nothing was: " .. far.url
      .. " answered 500.", refused.answer.message)
    local call = api:ask("GET", "/api/v1/calls/far-red").answer
    assert.same({ nil, "recordings/2026/04/24/red.wav" }, { call.redacted_at, call.recording_key })
    far:answer(path, 204, "")
    assert.equal(200, redact().status)
    local asked = far:asked(path)
    assert.same({ "DELETE", process.SECRET }, { asked[#asked].method,
      asked[#asked].headers["x-cxbcore-secret"] })
    assert.is_string(api:ask("GET", "/api/v1/calls/far-red").answer.redacted_at)
  end)

  it("are erased without hosts that are away, which the audit names", function()
    local function redact(id)
      api:ask("POST", "/api/v1/call-results", { body = { session_id = id,
        disconnected_by = "bot", recording_key = id .. ".wav" } })
      for _, host in ipairs({ near, far }) do
        host:answer("/recordings/" .. id .. ".wav", 404, { error = "not_found" })
      end
      assert.equal(200, api:ask("POST", "/api/v1/calls/" .. id .. "/redact").status)
      return api:ask("GET", "/api/v1/audit?action=call.redact").answer.items[1]
    end
    assert.same({ "all-asked", {} }, { redact("all-asked").target.id, redact("all-asked").changes })
    local gone = ("http://127.0.0.1:%d"):format(world:port())
    local function list(urls)
      assert.equal(200, api:ask("PUT", "/api/v1/settings/fleet",
        { body = { core_fleet = json.array(urls) } }).status)
    end
    list({ gone })
    local told = redact("one-away")
    list({})
    assert.same({ "one-away", "recording.hosts_not_asked", { gone } },
      { told.target.id, told.changes[1].path, told.changes[1].to })
  end)
end)
