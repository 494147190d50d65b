-- Signed deliveries of a real worker, checked by somebody else's code.

local CoreHost = require "support.core_host"
local World = require "support.world"
local webhooks = require "support.webhooks"
local webhook = require "cxb.webhook"

local function secret(byte)
  return "whsec_" .. cxb.crypto.base64(byte:rep(24))
end

describe("a signed delivery", function()
  local world, host

  before_each(function() world = World.new() end)
  after_each(function() world:close() end)

  local function verdicts(cases)
    return webhooks.verdicts(world, cases)
  end

  it("verifies with an independent implementation, on every attempt, under each secret", function()
    host = CoreHost.new(world, { env = { CXB_WEBHOOK_SECRET = secret("a") .. " " .. secret("b") } })
    host:start(1)
    host:mode("503", 1)
    host:short_call(1)
    host:delivery(1)
    local got = host:got()
    assert.equal(2, #got)
    local cases = {}
    for _, d in ipairs(got) do
      cases[#cases + 1] = { headers = d.headers, body = d.body, secret = secret("a") }
      cases[#cases + 1] = { headers = d.headers, body = d.body, secret = secret("b") }
    end
    cases[5] = { headers = got[1].headers, body = got[1].body, secret = secret("c") }
    cases[6] = { headers = got[1].headers, body = got[1].body .. " ", secret = secret("a") }
    local said = verdicts(cases)
    assert.same({ "ok", "ok", "ok", "ok" }, { said[1], said[2], said[3], said[4] })
    assert.truthy(said[5]:find("^refused"))
    assert.truthy(said[6]:find("^refused"))
    assert.equal(got[1].headers["webhook-id"], got[2].headers["webhook-id"])
    assert.truthy(got[1].headers["webhook-id"]:find("^msg_" .. ("[A-Z2-7]"):rep(26) .. "$"))
  end)

  it("has the id that base32 of the key's SHA-256 gives elsewhere", function()
    local p = world:start({ "python3", "-c", [[
import base64, hashlib
print("msg_" + base64.b32encode(hashlib.sha256(b"event:s-1:7").digest()).decode()[:26])]] })
    assert.equal(0, p:wait(30000))
    assert.equal(p.log[1], webhook.id("event:s-1:7"))
  end)

  it("carries the shared secret to named origins only", function()
    host = CoreHost.new(world, { env = { CXB_SECRET_ORIGINS = "http://127.0.0.1:1" } })
    host:start(1)
    host:short_call(1)
    assert.is_nil(host:delivery(1).headers["x-cxb-core-secret"])
    host.workers[1]:stop()
    host:start(1, { CXB_SECRET_ORIGINS = "http://127.0.0.1:1 " .. host.url .. "/any/path" })
    host:short_call(1)
    assert.equal(CoreHost.SECRET, host:delivery(2).headers["x-cxb-core-secret"])
  end)

  it("is not begun with a secret that is none", function()
    host = CoreHost.new(world)
    host.env.CXB_WEBHOOK_SECRET = "whsec_***"
    host.env.CXB_WORKER_ID = "1"
    local p = world:start({ World.program, "core.lua" }, host.env)
    assert.equal(1, p:wait())
    assert.truthy(p:output():find("CXB_WEBHOOK_SECRET", 1, true))
    assert.is_nil(p:output():find("whsec_***", 1, true))
  end)
end)
