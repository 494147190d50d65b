-- Who may open a call's socket: tokens, Basic credentials and tickets, over the real socket of a real
-- worker; and when nobody may.

local json = require("cjson.safe")
local jwt = require("cxb.jwt")
local World = require("support.world")

local SECRET = ("s"):rep(40)
local world, dir, socket, env

local function start(more)
  world = World.new()
  dir = world:folder()
  socket = dir .. "/core-1.sock"
  env = {
    CXBCORE_SECRET = SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
    CXBCORE_WORKERS = "1", CXB_LISTEN = "unix:" .. socket, CXB_BOTS_DIR = dir .. "/bots",
    PATH = os.getenv("PATH"),
  }
  for key, value in pairs(more or {}) do env[key] = value end
  return world:service("core.lua", env, socket)
end

after_each(function()
  world:close()
end)

-- The status of an upgrade, and the JSON of a refusal.
local function upgrade(path, headers)
  World.wait_until("a free slot", function()
    return World.get_json("http+unix:" .. socket .. ":/health").worker_calls == 0
  end)
  local all = { connection = "Upgrade", upgrade = "websocket", ["sec-websocket-version"] = "13",
    ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" }
  for key, value in pairs(headers or {}) do all[key] = value end
  local ws = cxb.ws.connect("ws+unix:" .. socket .. ":" .. path, { headers = headers })
  if ws then
    ws:close(1000)
    return 101
  end
  local answer = assert(cxb.http.request({ url = "http+unix:" .. socket .. ":" .. path,
    headers = all, timeout_ms = 30000 }))
  return answer.status, (json.decode(answer.body) or {}).error
end

local function refused(status, code, path, headers)
  assert.same({ status, code }, { upgrade(path, headers) })
end

local function basic(text)
  return { authorization = "Basic " .. cxb.crypto.base64(text) }
end

describe("a carrier's socket", function()
  it("opens with the token, as a parameter or as a bearer, and not without", function()
    start({ CXB_WS_TOKEN = "tok-1" })
    for _, wire in ipairs({ "ws", "telnyx", "plivo", "vonage", "asterisk", "audiofork", "exotel",
      "twilio" }) do
      local path = "/" .. wire .. "/demo"
      refused(401, "unauthorized", path)
      refused(401, "unauthorized", path .. "?token=tok-2")
      assert.equal(101, (upgrade(path .. "?a=b&token=tok-1")))
      assert.equal(101, (upgrade(path, { authorization = "Bearer tok-1" })))
    end
  end)

  it("of Exotel opens with its own credentials only, when there are some", function()
    start({ CXB_WS_TOKEN = "tok-1", CXB_EXOTEL_BASIC = "exo:p:w" })
    assert.equal(101, (upgrade("/exotel/demo", basic("exo:p:w"))))
    refused(401, "unauthorized", "/exotel/demo", basic("exo:p"))
    refused(401, "unauthorized", "/exotel/demo", { authorization = "Basic ***" })
    refused(401, "unauthorized", "/exotel/demo?token=tok-1")
    refused(401, "unauthorized", "/exotel/demo")
  end)

  it("of Twilio opens with what the provider's own library signs", function()
    start({ TWILIO_AUTH_TOKEN = "12345", CXB_PUBLIC_WSS_BASE = "wss://calls.example.com" })
    -- twilio 9 (Python), RequestValidator("12345").compute_signature(address, {})
    local plain, query = "+a/r0JvvYxd3OPUlg5v63VTIqSg=", "qQgwV7VIbl/UOg+7FJAGMUn5wEc="
    assert.equal(101, (upgrade("/twilio/demo", { ["x-twilio-signature"] = plain })))
    assert.equal(101, (upgrade("/twilio/demo?from=%2B1555&a=b", { ["x-twilio-signature"] = query })))
    refused(403, "bad_signature", "/twilio/demo?from=%2B1555", { ["x-twilio-signature"] = query })
    refused(403, "bad_signature", "/twilio/demo", { ["x-twilio-signature"] = query })
  end)

  it("is no place for a plain request, nor for a bot id that cannot be", function()
    start()
    local answer = cxb.http.request({ url = "http+unix:" .. socket .. ":/vonage/demo" })
    assert.equal(426, answer.status)
    assert.equal("upgrade_required", json.decode(answer.body).error)
    refused(404, "not_found", "/plivo/" .. ("x"):rep(65))
    refused(404, "not_found", "/telnyx/a.b")
  end)
end)

describe("a ticket", function()
  local function ticket(claims)
    local now = math.floor(cxb.time.now() / 1000)
    local all = { aud = "core-test", bot_id = "demo", session_id = "s1", exp = now + 60,
      jti = cxb.crypto.uuid4() }
    for key, value in pairs(claims or {}) do all[key] = value end
    return jwt.sign(all, cxb.crypto.hkdf_sha256(SECRET, claims and claims.label or "core-test", 32))
  end

  it("opens the test call of its bot once, within its minute", function()
    start()
    local good = ticket()
    assert.equal(101, (upgrade("/browser/demo?ticket=" .. good)))
    refused(401, "unauthorized", "/browser/demo?ticket=" .. good)
    refused(401, "unauthorized", "/browser/other?ticket=" .. ticket())
    refused(401, "unauthorized", "/browser/demo")
    local now = math.floor(cxb.time.now() / 1000)
    for _, claims in ipairs({ { exp = now - 1 }, { exp = now + 3600 }, { aud = "core-listen" },
      { label = "core-listen" }, { bot_id = "other" }, { jti = "" } }) do
      refused(401, "unauthorized", "/browser/demo?ticket=" .. ticket(claims))
    end
    refused(401, "unauthorized", "/browser/demo?ticket=" .. good:sub(1, -2) .. "x")
    assert.equal(101, (upgrade("/browser/demo?ticket=" .. ticket())))
  end)
end)

describe("a worker", function()
  it("without disk takes no socket: 503 storage_full, and goodbye on AudioSocket", function()
    local port = World.new():port()
    start({ CXB_MIN_FREE_MB = "1000000000", CXB_AUDIOSOCKET_BOT = "demo",
      CXB_AUDIOSOCKET_LISTEN = "tcp:127.0.0.1:" .. port })
    for _, wire in ipairs({ "ws", "twilio", "vonage", "asterisk" }) do
      refused(503, "storage_full", "/" .. wire .. "/demo")
    end
    local client = world:start({ "/usr/bin/python3", cxb.root .. "/spec/sim/wscall.py",
      "--transport", "audiosocket", "--tcp", "127.0.0.1:" .. port, "--json" })
    assert(client:wait(60000))
    local report = json.decode(client.log[#client.log])
    assert.equal("hangup", report.events[1].event)
    assert.is_false(cxb.fs.stat(dir .. "/state/results") ~= nil)
  end)

  it("refuses to start with AudioSocket but no bot, and with half a key", function()
    world = World.new()
    dir = world:folder()
    local base = { CXB_DEV = "1", CXB_RUN_DIR = dir, CXB_STATE_DIR = dir, CXBCORE_WORKERS = "1",
      CXB_LISTEN = "unix:" .. dir .. "/core-1.sock", PATH = os.getenv("PATH") }
    local bad = world:write(dir .. "/key.pem", "-----BEGIN PRIVATE KEY-----\nnot one\n")
    for line, more in pairs({
      ["CXB_AUDIOSOCKET_BOT: is not set"] = { CXB_AUDIOSOCKET_LISTEN = "tcp:127.0.0.1:9" },
      ["CXB_AUDIOSOCKET_LISTEN: \"9001\" is not valid, expected tcp:HOST:PORT"] = {
        CXB_AUDIOSOCKET_LISTEN = "9001" },
      ["CXB_EXOTEL_CHUNK_BYTES: \"3300\" is not valid, expected a multiple of 320"] = {
        CXB_EXOTEL_CHUNK_BYTES = "3300" },
      ["VONAGE_PRIVATE_KEY_FILE: \"" .. bad .. "\" is not valid"] = {
        VONAGE_PRIVATE_KEY_FILE = bad },
    }) do
      local all = {}
      for key, value in pairs(base) do all[key] = value end
      for key, value in pairs(more) do all[key] = value end
      local p = world:start({ World.program, "core.lua" }, all)
      assert.equal(1, p:wait(30000))
      assert.truthy(p:output():find(line, 1, true), p:output())
    end
  end)
end)
