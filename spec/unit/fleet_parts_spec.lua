-- stores: both
-- Parts of the fleet that need no process: what a host tells, what a polled host's answer says, the
-- rate of a carrier, numbers and their owners.
local api = require("spec.support.api")
local json = require("cxb.json")

describe("what a host tells of itself", function()
  local registration, rows
  local host_cxb = cxb

  before_each(function()
    _G.cxb = setmetatable({
      scoreboard = { host_draining = function() return false end },
      metrics = { render = function()
        return '\ncxb_outbox_rows{kind="result",state="ready"} 2\n'
          .. 'cxb_outbox_rows{kind="result",state="dead"} 1\n'
          .. 'cxb_outbox_oldest_age_seconds{kind="result"} 12.5\n'
      end },
    }, { __index = host_cxb })
    package.loaded["cxb.core.registration"] = nil
    registration = require("cxb.core.registration")
    rows = {
      { id = 1, live = true, calls = 1, max = 1, pid = 11, disk = true, session_id = "s-1",
        since = 0, reservation = "rsv_1" },
      { id = 2, live = true, calls = 0, max = 1, pid = 12, disk = false, reservation = "" },
      { id = 3, live = true, calls = 0, max = 1, pid = 13, disk = true, reservation = "rsv_0" },
      { id = 4, live = false },
    }
  end)

  after_each(function()
    _G.cxb = host_cxb
    package.loaded["cxb.core.registration"] = nil
  end)

  local c = { CXB_HOST_ID = "host-a", CXB_HOST_URL = "http://host-a/", CXB_RUN_DIR = "/run/x",
    CXB_FLEET_AVAILABLE_CAP = 0 }

  it("is what its scoreboard shows, with the reservations its calls were started with", function()
    local body = registration.body(c, rows)
    assert.same({ "host-a", "http://host-a", 3, 1, 1 }, { body.host_id, body.base_url,
      body.fleet_max, body.fleet_calls, body.fleet_available })
    assert.same({ "call", "storage_full", "idle", "unreachable" }, { body.workers[1].state,
      body.workers[2].state, body.workers[3].state, body.workers[4].state })
    assert.equal("s-1", body.workers[1].session_id)
    assert.same({ "rsv_1", "rsv_0" }, { unpack(body.consumed) })
    assert.same({ pending = 2, dead = 1, oldest_age_seconds = 12.5 }, body.outbox)
    assert.equal(32, #body.boot_id)
  end)

  it("tells two platforms on one machine apart", function()
    local other = registration.body({ CXB_HOST_ID = "host-a", CXB_HOST_URL = "http://host-a",
      CXB_RUN_DIR = "/run/y" }, rows)
    assert.not_equal(registration.body(c, rows).boot_id, other.boot_id)
  end)

  it("takes what others add to it", function()
    registration.report[1] = function(_, body) body.flows_revision = 7 end
    assert.equal(7, registration.body(c, rows).flows_revision)
    table.remove(registration.report, 1)
  end)
end)

describe("a polled host's answer", function()
  before_each(api.install)
  after_each(api.restore)

  it("counts when it is whole and possible", function()
    local poll = require("services.fleet.poll")
    local good = { status = "ok", fleet_max = 4, fleet_available = 3, fleet_calls = 1,
      workers = json.array() }
    local function read(more, status)
      local body = {}
      for name, value in pairs(good) do body[name] = value end
      for name, value in pairs(more or {}) do body[name] = value end
      return poll.read({ status = status or 200, body = json.encode(body) }) ~= nil
    end
    assert.is_true(read())
    assert.is_true(read({ fleet_max = 0, fleet_available = 0, fleet_calls = 0 }))
    for _, wrong in ipairs({ { status = "degraded" }, { fleet_max = -1 }, { fleet_max = "4" },
      { fleet_available = 5 }, { fleet_available = 1.5 }, { fleet_calls = -1 },
      { workers = "none" }, { workers = { a = 1 } } }) do
      assert.is_false(read(wrong), json.encode(wrong))
    end
    assert.is_false(read(nil, 500))
    assert.is_nil(poll.read({ status = 200, body = "[]" }))
    assert.is_nil(poll.read({ status = 200, body = "<html>" }))
    assert.is_nil(poll.read(nil))
  end)

  it("counts no more once the host was taken off the list", function()
    local fleet, poll = require("services.fleet"), require("services.fleet.poll")
    local app = api.app({ FLEET_HEALTH_TIMEOUT_SECONDS = 10 })
    local base, meanwhile = "http://host-1.example.net", nil
    local function list(urls)
      assert(app.store:upsert("system_settings", { _id = "system" },
        { set = { core_fleet = json.array(urls) } }))
      require("services.system.settings").drop(app)
    end
    rawset(cxb, "http", { request = function()
      if meanwhile then meanwhile() end
      return { status = 200, body = '{"status":"ok","fleet_max":4,"fleet_available":4,'
        .. '"fleet_calls":0,"workers":[]}' }
    end })
    list({ base })
    poll.all(app, {})
    assert.equal(1, #fleet.hosts(app))
    fleet.step(app, "leave", poll.host_id(base))
    meanwhile = function() list({}) end
    poll.all(app, {})
    assert.equal(0, #fleet.hosts(app))
  end)
end)

describe("carriers at LiveKit", function()
  before_each(api.install)
  after_each(api.restore)

  it("are not made twice by the look at all of them while one is mirrored", function()
    local livekit, sync = require("cxb.livekit"), require("services.carriers.sync")
    local app, twirp, made, meanwhile = api.app(), livekit.twirp, 0, nil
    function livekit.twirp(_, _, method)
      if method:match("^Create") then
        made = made + 1
        return { sip_trunk_id = "ST_" .. made, sip_dispatch_rule_id = "SDR_" .. made }
      end
      if meanwhile then meanwhile() end
      return { items = {} }
    end
    local carrier = assert(app.store:insert("carriers", { name = "C", sip_address = "sip.example.net",
      lk_sync_status = "pending", dids = { { id = "d", number = "+912212345678",
        direction = "inbound" } } }))
    local function look()
      api.now = api.now + 60000
      assert(sync.all(app))
      return made
    end
    function meanwhile() -- once all have been listed as they were before
      meanwhile = nil
      api.now = api.now + 5
      assert(sync.run(app, carrier))
    end
    local first, second = { pcall(look) }, { pcall(look) }
    livekit.twirp = twirp
    assert.same({ true, 2 }, first) -- a trunk and its rule
    assert.same({ true, 4 }, second) -- nothing is there: made anew
  end)
end)

describe("the rate of a carrier", function()
  local bucket, store

  before_each(function()
    api.install()
    bucket, store = require("cxb.carrier_bucket"), api.store()
  end)
  after_each(api.restore)

  it("begins with one call, never exceeds burst and rate over any time", function()
    local carrier = { _id = "car_1", outbound_cps = 2, outbound_burst = 5 }
    local now, taken, log = 1000000, 0, {}
    assert.equal(1, bucket.take(store, carrier, 10, now))
    local none, wait = bucket.take(store, carrier, 1, now)
    assert.same({ 0, 500 }, { none, wait })
    for step = 1, 200 do
      now = now + (step * 37) % 400
      local got = bucket.take(store, carrier, step % 4 + 1, now)
      for _ = 1, got do log[#log + 1] = now end
      taken = taken + got
    end
    for i = 1, #log do
      for j = i, #log do
        local span = (log[j] - log[i]) / 1000
        assert.is_true(j - i + 1 <= 5 + 2 * span + 1e-6)
      end
    end
    assert.is_true(taken >= math.floor((now - 1000000) / 1000 * 2 * 0.9))
  end)
end)

describe("the calls of a day", function()
  before_each(api.install)
  after_each(api.restore)

  it("are counted for a key and for everybody, and anew tomorrow", function()
    local limits, app = require("services.fleet.dial_limits"), api.app()
    local key = { id = "key_1", daily_call_limit = 2 }
    local undo = assert(limits.take(app, key))
    assert(limits.take(app, key))
    local none, err = limits.take(app, key)
    assert.same({ nil, 429 }, { none, err.status })
    undo() -- that call was not begun
    assert(limits.take(app, key))
    assert(limits.take(app, { id = "key_2", daily_call_limit = 1 }))
    api.now = api.now + 15 * 3600000 -- midnight
    assert(limits.take(app, key))
  end)
end)

describe("a number of ours", function()
  local dids, app

  before_each(function()
    api.install()
    dids, app = require("services.carriers.dids"), api.app()
  end)
  after_each(api.restore)

  it("that a crash left without an owner is free after a minute", function()
    local lost = { id = "did_lost", number = "+912200000001" }
    assert.is_true(dids.claim(app, lost, "carrier", "car_gone"))
    local mine = { id = "did_mine", number = "+912200000001" }
    local _, err = dids.claim(app, mine, "carrier", "car_mine")
    assert.equal("did_taken", err.code)
    api.now = api.now + 60000
    assert.is_true(dids.claim(app, mine, "carrier", "car_mine"))
    assert.equal("car_mine", dids.find(app, "+912200000001").owner_id)
  end)

  it("is found as query strings write it", function()
    assert.equal("+912212345678", dids.number(" 912212345678"))
    assert.equal("+912212345678", dids.number("912212345678"))
    assert.equal("+912212345678", dids.number("+91 22-1234 5678"))
  end)
end)
