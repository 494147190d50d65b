-- stores: both
-- waits: 19
-- The fleet as its hosts and its users meet it: a real API, real call workers, hosts by script.
local CoreHost = require("support.core_host")
local FleetHost = require("support.fleet_host")
local process = require("support.api_process")
local support = require("support.world")
local json = require("cxb.json")

local wait_until = support.wait_until

describe("the fleet", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world, { env = { CXB_INTERNAL_URL = "https://api.example.net" } })
  end)

  teardown(function() world:close() end)

  local function status()
    return api:ask("GET", "/api/v1/fleet/status").answer
  end

  local function row(id)
    for _, host in ipairs(status().hosts or {}) do
      if host.host_id == id then return host end
    end
  end

  -- What is told of a host, if anything.
  local function told(id) return row(id) or {} end

  local function reserve(key, more)
    local body = { key = key, purpose = "attach" }
    for name, value in pairs(more or {}) do body[name] = value end
    return api:ask("POST", "/api/v1/fleet/reservations", { body = body })
  end

  local function settings(urls)
    assert.equal(200, api:ask("PUT", "/api/v1/settings/fleet",
      { body = { core_fleet = json.array(urls) } }).status)
  end

  -- The first use of the list asks its hosts at once; when the job began to a moment before, their
  -- answers are on their way and the use after that has them.
  local function first_of_list(key)
    return wait_until("a slot", function()
      local given = reserve(key).answer.reservations
      return given and given[1]
    end)
  end

  local function leave(host)
    host:silence()
    assert.equal(204, api:ask("DELETE", "/api/v1/fleet/register/" .. host.id).status)
  end

  it("shows a host that registers, and what it has told", function()
    local host = FleetHost.new(world)
    local answer = host:register(api, { free = 3 })
    assert.same({ heartbeat_seconds = 1, ttl_seconds = 5,
      desired = { drain = false, flows_revision = answer.answer.desired.flows_revision } },
      answer.answer)
    local shown = status()
    assert.same({ 4, 1, 3 }, { shown.total_capacity, shown.active_calls, shown.available })
    assert.same({ { url = host.url, status = "Healthy", total_capacity = 4, total_available = 3,
      worker_calls = 1, workers = 0 } }, shown.workers)
    local one = row(host.id)
    assert.same({ "registered", "1.0.0", 0, false, "number" },
      { one.source, one.version, one.reservations, one.draining, type(one.age) })
    leave(host)
    assert.equal(0, status().total_capacity)
  end)

  it("is shown to who has the secret, in either spelling, and to no stranger", function()
    local host = FleetHost.new(world)
    host:register(api)
    local function with(headers)
      return api:ask("GET", "/api/v1/fleet/status", { secret = false, headers = headers })
    end
    for _, name in ipairs({ "x-cxbcore-secret", "x-cxb-core-secret" }) do
      local alone = with({ [name] = process.SECRET })
      assert.same({ 200, 4 }, { alone.status, alone.answer.total_capacity })
    end
    assert.equal(403, with({ ["x-cxbcore-secret"] = "wrong" }).status)
    assert.equal(403, with().status)
    leave(host)
  end)

  it("refuses heartbeats that cannot be, and a second machine of one name", function()
    local host = FleetHost.new(world)
    local function beat(more)
      return api:ask("POST", "/api/v1/fleet/register", { body = host:beat({ more = more }) })
    end
    assert.equal("fleet_calls", beat({ fleet_calls = -1 }).answer.fields[1].path)
    assert.equal("fleet_available", beat({ fleet_available = 5 }).answer.fields[1].path)
    assert.equal("base_url", beat({ base_url = "http://x/path" }).answer.fields[1].path)
    assert.equal(200, beat({ something_new = { 1 } }).status)
    for _, hours in ipairs({ -1, 1 }) do -- its clock is wrong, ours counts
      assert.equal(200, beat({ workers = { { id = "1", state = "idle", calls = 0, max = 4, pid = 1,
        since = cxb.time.iso(cxb.time.now() + hours * 3600000) } } }).status)
      assert.equal("Healthy", status().workers[1].status)
    end
    for _, boot_id in ipairs({ "another boot", "2" }) do
      local taken = beat({ boot_id = boot_id })
      assert.same({ 409, "host_id_taken" }, { taken.status, taken.answer.error })
    end
    assert.equal(403, api:ask("POST", "/api/v1/fleet/register", { secret = false,
      body = host:beat() }).status)
    leave(host)
  end)

  it("gives reservations by the wire's rules", function()
    local host = FleetHost.new(world)
    host:register(api, { free = 2, max = 2 })
    local first = reserve("k-1", { count = 1, ttl_ms = 60000 })
    assert.equal(200, first.status)
    local slot = first.answer.reservations[1]
    assert.same({ host.id, host.url }, { slot.host_id, slot.base_url })
    assert.matches("^%d+%-%d+%-%d+T.*Z$", slot.expires_at)
    assert.same(first.answer, reserve("k-1").answer)
    assert.equal(1, #reserve("k-2", { count = 5 }).answer.reservations)
    local none = reserve("k-3")
    assert.same({ 503, "no_capacity", "1" },
      { none.status, none.answer.error, none.headers["retry-after"] })
    local at = "/api/v1/fleet/reservations/" .. slot.id
    assert.equal(200, api:ask("POST", at .. "/renew", { body = { ttl_ms = 120000 } }).status)
    assert.equal(204, api:ask("DELETE", at).status)
    assert.equal(204, api:ask("DELETE", at).status)
    assert.equal(204, api:ask("DELETE", "/api/v1/fleet/reservations/no.such").status)
    assert.equal(404, api:ask("POST", at .. "/renew", { body = { ttl_ms = 120000 } }).status)
    assert.equal(200, reserve("k-3").status)
    assert.equal(422, reserve("k-4", { count = 65 }).status)
    assert.equal(422, reserve("k-4", { ttl_ms = 999 }).status)
    leave(host)
  end)

  it("drains a host when asked, also one that comes back", function()
    local host = FleetHost.new(world)
    host:register(api)
    local answer = api:ask("POST", ("/api/v1/fleet/hosts/%s/drain"):format(host.id),
      { body = { drain = true } })
    assert.same({ 200, true }, { answer.status, answer.answer.drain })
    assert.is_true(host:register(api).answer.desired.drain)
    assert.equal(503, reserve("d-1").status)
    leave(host)
    assert.is_true(host:register(api).answer.desired.drain)
    api:ask("POST", ("/api/v1/fleet/hosts/%s/drain"):format(host.id), { body = { drain = false } })
    assert.is_false(host:register(api).answer.desired.drain)
    host.task = nil
    assert.equal(404, api:ask("POST", "/api/v1/fleet/hosts/nobody/drain", { body = {} }).status)
    leave(host)
  end)

  it("passes on questions to a host's outbox and log, with the secret", function()
    local host = FleetHost.new(world)
    host:register(api)
    local base = "/api/v1/fleet/hosts/" .. host.id
    assert.equal("1-1", api:ask("GET", base .. "/outbox?state=dead").answer.items[1].id)
    assert.equal(200, api:ask("POST", base .. "/outbox/1-1/replay").status)
    assert.equal("call started", api:ask("GET", base .. "/logs?id=s-12345678").answer.items[1].msg)
    assert.equal(400, api:ask("GET", base .. "/logs").status)
    local asked = host:asked("/outbox")[1]
    assert.same({ process.SECRET, process.SECRET, "state=dead&limit=100" },
      { asked.headers["x-cxbcore-secret"], asked.headers["x-cxb-core-secret"], asked.query })
    host:answer("/outbox/9-9/replay", 404, {})
    assert.equal(404, api:ask("POST", base .. "/outbox/9-9/replay").status)
    leave(host)
    host.process:stop()
    assert.equal(502, api:ask("GET", base .. "/outbox").status)
  end)

  it("lets a machine in once for each token, over TLS or from the same machine", function()
    local token = api:ask("POST", "/api/v1/fleet/join-tokens").answer.token
    local body = { token = token, host_id = "new", base_url = "http://new.example.net" }
    local function join(headers)
      return api:ask("POST", "/api/v1/fleet/join", { body = body, secret = false,
        headers = headers })
    end
    local plain = join({ ["x-forwarded-for"] = "203.0.113.9", ["x-forwarded-proto"] = "http" })
    assert.same({ 403, "tls_required" }, { plain.status, plain.answer.error })
    local let_in = join({ ["x-forwarded-for"] = "203.0.113.9", ["x-forwarded-proto"] = "https",
      host = "api.example.net" })
    assert.same({ 200, process.SECRET, "https://api.example.net/api/v1/config" },
      { let_in.status, let_in.answer.secret, let_in.answer.config_url })
    assert.same({ 403, "bad_join_token" }, { join().status, join().answer.error })
  end)

  it("tells Prometheus where its hosts are", function()
    local host = FleetHost.new(world)
    host:register(api)
    local targets = json.decode(api:ask("GET", "/api/v1/fleet/prometheus-sd").body)
    local mine
    for _, target in ipairs(targets) do
      if target.labels.host == host.id then mine = target end
    end
    assert.same({ "127.0.0.1:" .. host.port }, mine.targets)
    assert.same({ "cxb-host", "1.0.0", "/metrics" },
      { mine.labels.job, mine.labels.version, mine.labels.__metrics_path__ })
    leave(host)
  end)

  it("asks hosts of the URL list, and believes only whole answers", function()
    local good, bad = FleetHost.new(world), FleetHost.new(world)
    bad:answer("/health/fleet", 200, '{"status":"ok","fleet_max":2,"fleet_available":3}')
    settings({ good.url, bad.url })
    assert.equal(good.url, first_of_list("u-1").base_url)
    local rows = {}
    for _, host in ipairs(status().hosts) do rows[host.base_url] = host.status end
    assert.same({ [good.url] = "Healthy", [bad.url] = "Unreachable" }, rows)
    settings({})
    wait_until("no host", function() return status().total_capacity == 0 end)
  end)

  it("asks no host of the list that registers itself, and counts it once", function()
    local host = FleetHost.new(world)
    host:register(api)
    settings({ host.url })
    assert.equal(host.url, reserve("x-1").answer.reservations[1].base_url)
    assert.same({ 4, 1 }, { status().total_capacity, #status().workers })
    assert.equal(0, #host:asked("/health/fleet"))
    settings({})
    leave(host)
  end)

  it("keeps a host that answers after six seconds, and nobody waits for it", function()
    local slow, quick = FleetHost.new(world), FleetHost.new(world)
    slow:answer("/health/fleet", 200, nil, { delay_ms = 6000 })
    settings({ slow.url, quick.url })
    assert.equal(quick.url, first_of_list("w-1").base_url)
    assert.is_true(#slow:asked("/health/fleet") <= 1)
    wait_until("the slow host", function() return status().total_capacity == 8 end)
    -- Meanwhile the other was asked again and again, and this one had one request at a time.
    assert.is_true(#slow:asked("/health/fleet") <= 2)
    wait_until("the other's answers", function() return #quick:asked("/health/fleet") >= 3 end)
    assert.equal(8, status().total_capacity)
    settings({})
    wait_until("no host", function() return status().total_capacity == 0 end)
  end)

  it("has a real host within seconds of its start, and not after its death", function()
    local front = "http://127.0.0.1:" .. world:port()
    local relay = world:server("tcp:" .. front:match("//(.*)$"), ([[
      return function(req, _, body)
        local answer = cxb.http.request({ url = "http+unix:%s:" .. req.path, method = req.method,
          headers = { ["x-cxb-core-secret"] = req.headers["x-cxb-core-secret"],
            ["content-type"] = "application/json" }, body = body ~= "" and body or nil })
        req:respond(answer and answer.status or 502, answer and answer.body)
      end]]):format(api.socket))
    local host = CoreHost.new(world, { env = { CXBCORE_SECRET = process.SECRET,
      CXB_API_CONFIG_URL = front .. "/api/v1/config", CXB_HOST_ID = "real",
      CXB_HOST_URL = "http://127.0.0.1:1" } })
    host:start(1)
    wait_until("the host", function() return told("real").available == 1 end)
    host:start(2)
    wait_until("the second worker", function() return told("real").available == 2 end)

    local call = assert(host:call(1))
    wait_until("the call", function()
      local one = told("real")
      return one.calls == 1 and one.available == 1 and one.workers[1].state == "call"
    end)
    wait_until("its session", function()
      local workers = told("real").workers
      return workers and workers[1].session_id
    end)
    call:hangup()
    wait_until("the free slot", function() return told("real").available == 2 end)

    -- A start request that names its reservation uses it up, whatever becomes of the call.
    local slot = reserve("r-0", { ttl_ms = 120000 }).answer.reservations[1]
    assert.equal(1, row("real").reservations)
    local answer = assert(cxb.http.request({ method = "POST", body = "{}",
      url = "http+unix:" .. host:socket(2) .. ":/livekit/dialout",
      headers = { ["x-cxbcore-secret"] = process.SECRET, ["x-cxb-reservation"] = slot.id } }))
    assert.equal(503, answer.status) -- it has no LiveKit
    wait_until("the reservation's end", function() return told("real").reservations == 0 end)
    wait_until("the host's figure", function()
      return api:ask("GET", "/metrics").body:find('cxb_fleet_available{host="real"} 2', 1, true)
    end)

    api:ask("POST", "/api/v1/fleet/hosts/real/drain", { body = { drain = true } })
    wait_until("the drain on the host", function()
      return host:get(1, "/health/fleet").fleet_available == 0
    end)
    api:ask("POST", "/api/v1/fleet/hosts/real/drain", { body = { drain = false } })
    wait_until("the end of the drain", function() return told("real").available == 2 end)

    host:kill(1) -- it held the lock, or the other does
    wait_until("what is left", function()
      local one = told("real")
      return one.available == 1 and one.max == 1
    end)
    host.workers[2]:stop() -- the last one that ends in order takes the host out
    wait_until("the host has left", function() return row("real") == nil end)
    host:start(1)
    wait_until("the host again", function() return row("real") end)
    host:kill(1)
    wait_until("nobody", function() return told("real").status == "Unreachable" end)
    assert.equal(503, reserve("r-1").status)
    relay:stop()
  end)
end)
