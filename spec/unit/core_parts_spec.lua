-- Parts of the call worker that need no call: settings, who may call, configuration, health bytes,
-- recording keys.
local pure = require("spec.support.pure")
local auth = require("cxb.core.auth")
local health = require("cxb.core.health")
local jwt = require("cxb.jwt")
local recordings = require("cxb.core.recordings")
local settings = require("cxb.core.settings")

local function upgrade(transport, c, req, bot_id)
  req.headers, req.query, req.path = req.headers or {}, req.query or "", req.path or "/ws/demo"
  return auth.upgrade(c, req, transport, bot_id or "demo", function()
    return true
  end)
end

describe("the worker's settings", function()
  local fake
  before_each(function()
    fake = select(2, pure.install())
    fake.root = "/opt/cxb"
  end)
  after_each(pure.restore)

  local function load(env)
    env.CXB_STATE_DIR = env.CXB_STATE_DIR or "/nowhere"
    return settings.load(env)
  end

  it("take the worker from the socket's name, else from CXB_WORKER_ID", function()
    assert.equal(3, load({ CXB_DEV = "1", CXB_LISTEN = "unix:/run/cxb/core-3.sock" }).worker)
    assert.equal(4, load({ CXB_DEV = "1", CXB_LISTEN = "unix:/run/cxbcore_4.sock" }).worker)
    assert.equal(5, load({ CXB_DEV = "1", CXB_WORKER_ID = "5" }).worker)
    assert.equal(2, load({ CXB_DEV = "1", CXB_WORKER_ID = "2", CXB_LISTEN = "tcp:h:1" }).worker)
  end)

  it("refuse a start without a secret, with several slots or above the count", function()
    assert.has_error(function()
      load({})
    end, "start refused: CXBCORE_SECRET: is not set, expected a shared secret (or CXB_DEV=1)")
    local ok, why = pcall(load, { CXBCORE_SECRET = "s", MAX_CONCURRENT_CALLS = "2" })
    assert.is_false(ok)
    assert.truthy(why:find('MAX_CONCURRENT_CALLS: "2"', 1, true))
    ok, why = pcall(load, { CXBCORE_SECRET = "s", CXBCORE_WORKERS = "4", CXB_WORKER_ID = "5" })
    assert.is_false(ok)
    assert.truthy(why:find("^start refused: worker id above CXBCORE_WORKERS: 5"))
  end)

  it("read the API's base from the config URL", function()
    assert.equal("http://h/api/v1",
      load({ CXB_DEV = "1", CONFIG_URL = "http://h/api/v1/config/" }).api)
  end)
end)

describe("who may call", function()
  local clock
  before_each(function()
    local fake
    clock, fake = pure.install()
    fake.crypto.base64 = function(data)
      return "b64:" .. data
    end
  end)
  after_each(pure.restore)

  it("both header spellings carry the secret, two different values none", function()
    local c = { CXBCORE_SECRET = "new", CXBCORE_SECRET_PREVIOUS = "old" }
    assert.is_true(auth.secret_ok(c, { ["x-cxb-core-secret"] = "new" }))
    assert.is_true(auth.secret_ok(c, { ["x-cxbcore-secret"] = "old" }))
    assert.is_false(auth.secret_ok(c, { ["x-cxb-core-secret"] = "new",
      ["x-cxbcore-secret"] = "old" }))
    assert.is_false(auth.secret_ok(c, { ["x-cxb-core-secret"] = "" }))
    assert.is_false(auth.secret_ok({}, { ["x-cxb-core-secret"] = "" }))
    assert.is_false(auth.secret_ok(c, {}))
  end)

  it("a token comes as query or bearer", function()
    local c = { CXB_WS_TOKEN = "t0" }
    assert.truthy(upgrade("cxb", c, { query = "token=t0" }))
    assert.truthy(upgrade("cxb", c, { headers = { authorization = "Bearer t0" } }))
    local ok, status, code = upgrade("cxb", c, { query = "token=t1" })
    assert.is_nil(ok)
    assert.equal(401, status)
    assert.equal("unauthorized", code)
    assert.truthy(upgrade("cxb", {}, {}))
  end)

  it("a Twilio signature is over the public base, path and query", function()
    local c = { TWILIO_AUTH_TOKEN = "k", CXB_PUBLIC_WSS_BASE = "wss://calls.example.com" }
    local function signed(address)
      return { ["x-twilio-signature"] = "b64:" .. cxb.crypto.hmac_sha1("k", address) }
    end
    for _, address in ipairs({ "wss://calls.example.com/twilio/demo?a=1",
      "https://calls.example.com/twilio/demo/?a=1" }) do
      assert.truthy(upgrade("twilio", c,
        { path = "/twilio/demo", query = "a=1", headers = signed(address) }))
    end
    local ok, status, code = upgrade("twilio", c, { path = "/twilio/demo",
      headers = signed("wss://other.example.com/twilio/demo") })
    assert.is_nil(ok)
    assert.equal(403, status)
    assert.equal("bad_signature", code)
    assert.is_nil(upgrade("twilio", c, { path = "/twilio/demo" }))
  end)

  it("a ticket is for one bot, at most 60 s ahead, and good once", function()
    local c = { CXBCORE_SECRET = "s" }
    local now, used = clock.ms / 1000, {}
    local function try(claims, bot_id)
      local ticket = jwt.sign(claims, auth.ticket_key("s", "core-test"))
      return auth.upgrade(c, { headers = {}, query = "ticket=" .. ticket, path = "/browser/demo" },
        "browser", bot_id or "demo", function(jti)
          local first = not used[jti]
          used[jti] = true
          return first
        end)
    end
    local function claims(o)
      local t = { aud = "core-test", bot_id = "demo", exp = now + 60, jti = "j1",
        session_id = "s1" }
      for k, v in pairs(o or {}) do
        t[k] = v
      end
      return t
    end
    assert.is_nil(try(claims(), "other"))
    assert.is_nil(try(claims({ exp = now + 61 })))
    assert.is_nil(try(claims({ exp = now - 1 })))
    assert.is_nil(try(claims({ aud = "core-listen" })))
    assert.equal("s1", try(claims()).session_id)
    assert.is_nil(try(claims()))
    assert.equal("s1", try(claims({ jti = "j2" })).session_id)
  end)

  it("a browser needs no ticket in development, unless it brings one", function()
    assert.truthy(upgrade("browser", { CXB_DEV = true }, {}))
    assert.is_nil(upgrade("browser", {}, {}))
    assert.is_nil(upgrade("browser", { CXB_DEV = true, CXBCORE_SECRET = "s" },
      { query = "ticket=x.y.z" }))
  end)
end)

describe("health", function()
  it("of a worker is these bytes", function()
    assert.equal('{"status":"ok","worker_calls":0,"worker_max":1,"total_capacity":16,'
      .. '"total_available":16,"workers":16,"worker_id":"3","worker_pid":12345,"draining":false,'
      .. '"generation":4,"reload":"ok","reload_error":"","version":"1.0.0"}',
      health.worker({ worker_calls = 0, worker_max = 1, total_capacity = 16, workers = 16,
        worker_id = "3", pid = 12345, draining = false, generation = 4, reload = "ok",
        reload_error = "", version = "1.0.0" }))
  end)

  local rows = {
    { id = 1, live = true, calls = 1, max = 1, pid = 12345, disk = true },
    { id = 2, live = true, calls = 0, max = 1, pid = 12346, disk = true },
    { id = 3, live = false },
  }

  it("of the fleet is these bytes", function()
    assert.equal('{"status":"ok","fleet_calls":1,"fleet_max":2,"fleet_available":1,"workers":['
      .. '{"id":"1","calls":1,"max":1,"pid":12345},{"id":"2","calls":0,"max":1,"pid":12346},'
      .. '{"id":"3","status":"unreachable"}]}', health.fleet(rows))
  end)

  it("of the fleet counts no draining worker and none without disk as available", function()
    rows[2].draining = true
    assert.truthy(health.fleet(rows):find('"fleet_available":0,', 1, true))
    rows[2].draining, rows[2].disk = false, false
    assert.truthy(health.fleet(rows):find('"fleet_available":0,', 1, true))
    rows[2].disk = true
  end)

  -- "fleet_available":([1-9]|1[0-6])[,}]
  local function ingress_takes(body)
    return body:find('"fleet_available":[1-9][,}]') ~= nil
      or body:find('"fleet_available":1[0-6][,}]') ~= nil
  end

  local function fleet_of(workers, free, cap)
    local many = {}
    for id = 1, workers do
      many[id] = { id = id, live = true, calls = id <= free and 0 or 1, max = 1, pid = 1, disk = true }
    end
    return health.fleet(many, cap)
  end

  it("of the fleet is matched by the ingress for 1 to 16 free", function()
    assert.is_false(ingress_takes(fleet_of(16, 0)))
    for free = 1, 16 do
      assert.is_true(ingress_takes(fleet_of(16, free)), free .. " free")
      assert.is_true(ingress_takes(fleet_of(64, free)), free .. " free of 64")
    end
    assert.is_false(ingress_takes(fleet_of(64, 17)))
    for free = 17, 64 do assert.is_true(ingress_takes(fleet_of(64, free, 16)), free .. " capped") end
  end)
end)

describe("a recording's key", function()
  it("is taken in three spellings and never leaves the folder", function()
    assert.equal("2026/04/24/a.wav", recordings.clean("recordings/2026/04/24/a.wav"))
    assert.equal("2026/04/24/a.wav", recordings.clean("2026/04/24/a.wav"))
    assert.equal("a.wav", recordings.clean("a.wav"))
    for _, bad in ipairs({ "", "../a.wav", "2026/../../a.wav", "2026//a.wav", "a\\b", "a\0b",
      "recordings/", "./a.wav", "a\nb" }) do
      assert.is_nil(recordings.clean(bad), bad)
    end
  end)
end)

describe("what the service manager is told", function()
  local standing = require("cxb.core.status")

  it("is one line: idle, in a call, draining, a failed reload", function()
    local function line(f)
      f.generation, f.outbox = 4, 2
      return standing.line(f)
    end
    assert.equal("idle, generation 4, outbox 2", line({}))
    assert.equal("call 2m13s, generation 4, outbox 2", line({ call_seconds = 133.9 }))
    assert.equal("draining, call 40s, generation 4, outbox 2",
      line({ draining = true, call_seconds = 40 }))
    assert.equal("draining, generation 4, outbox 2", line({ draining = true }))
    assert.equal("idle, reload failed: flows/demo.lua:12 oops, generation 4, outbox 2",
      line({ reload_error = "flows/demo.lua:12\noops" }))
    assert.equal("1h02m", standing.duration(3725))
  end)
end)
