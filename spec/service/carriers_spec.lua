-- Hang-up and transfer over the carriers' REST interfaces: a real worker, a local server in the
-- carriers' place that is asked over HTTP, and the far end of each wire.

local json = require("cjson.safe")
local World = require("support.world")

local SECRET = ("s"):rep(40)
local world, dir, socket, api, public

-- What the far end of each carrier says first, and how it says goodbye.
local wires = {
  twilio = {
    hello = { '{"event":"connected"}', '{"event":"start","streamSid":"%s","start":{"callSid":'
      .. '"CA1","customParameters":{"from":"+1555","to":"+1444"}}}' },
    bye = '{"event":"stop"}',
  },
  telnyx = {
    hello = { '{"event":"connected"}', '{"event":"start","stream_id":"%s","start":{'
      .. '"call_control_id":"v3:ab/c","from":"+1555","to":"+1444"}}' },
    bye = '{"event":"stop"}',
  },
  plivo = { hello = { '{"event":"start","start":{"callId":"P-1","streamId":"%s"}}' } },
  vonage = { hello = { '{"event":"websocket:connected","content-type":"audio/l16;rate=8000",'
    .. '"uuid":"%s"}' } },
}

-- Answers what a carrier would: "slow" holds a hang-up back, "refuse" a transfer.
local handler = [[
local mode = "ok"
return function(req, seen, body)
  if req.path:match("^/_mode/") then
    mode = req.path:match("[^/]*$")
    for i = #seen, 1, -1 do seen[i] = nil end
    return req:respond(200, "{}")
  end
  if mode == "slow" then cxb.time.sleep(20000) end
  if mode == "refuse" then return req:respond(422, "{}") end
  req:respond(200, "{}")
end
]]

local flows = {
  bye = "return function(call) return call:hangup() end",
  wait = "return function(call) repeat local e = call:next() until e.type == 'hangup' end",
  give = [[return function(call)
    local t = call:transfer(nil, "asked")
    call:event("outcome", { ok = t.ok, reason = t.reason })
    return call:hangup()
  end]],
}

local function openssl(args)
  local child = assert(cxb.process.spawn({ args = { "openssl", unpack(args) }, capture = true }))
  local lines = {}
  for line in function() return child:line() end do lines[#lines + 1] = line end
  return child:wait(20000), table.concat(lines, "\n")
end

-- X-Twilio-Signature as Twilio makes it, by another program.
local function signature(address)
  local child = assert(cxb.process.spawn({ capture = true, args = { "/usr/bin/python3", "-c",
    "import base64,hmac,sys;print(base64.b64encode(hmac.new(b'twilio-token',"
    .. "sys.argv[1].encode(),'sha1').digest()).decode())", address } }))
  return child:line()
end

local function requests()
  local list = {}
  for _, r in ipairs(api.seen()) do
    if not r.path:match("^/_mode") then list[#list + 1] = r end
  end
  return list
end

local function mode(name)
  assert(World.get_json(api.url .. "/_mode/" .. name))
end

local function idle()
  World.wait_until("a free slot", function()
    return World.get_json("http+unix:" .. socket .. ":/health").worker_calls == 0
  end)
end

-- A call of this carrier to a bot; read() collects what comes until the socket is closed.
local function call(transport, name)
  idle()
  local path = ("/%s/%s"):format(transport, name)
  local headers = transport == "twilio"
    and { ["X-Twilio-Signature"] = signature("wss://calls.example.com" .. path) } or nil
  local ws = assert(cxb.ws.connect("ws+unix:" .. socket .. ":" .. path, { headers = headers }))
  local c = { ws = ws, stream_id = "st-" .. cxb.crypto.hex(cxb.crypto.random(6)), texts = {} }
  for _, text in ipairs(wires[transport].hello) do
    ws:send((text:gsub("%%s", c.stream_id)))
  end
  c.task = cxb.task.spawn("far end", function()
    while true do
      local kind, data, code = ws:receive()
      if not kind then
        c.closed, c.code = true, code
        return
      end
      c.texts[#c.texts + 1] = data
    end
  end)
  function c:goodbye()
    if wires[transport].bye then return ws:send(wires[transport].bye) end
    return ws:close(1000)
  end
  function c:wait_closed()
    World.wait_until("the close", function() return self.closed end)
  end
  return c
end

local function result(stream_id)
  return World.wait_until("the result of " .. stream_id, function()
    local child = cxb.process.spawn({ capture = true,
      args = { "grep", "-rsl", "--include=*.json", stream_id, dir .. "/state/results" } })
    local path = child:line()
    return path and json.decode(world:read(path))
  end)
end

local function event(r, kind)
  for _, e in ipairs(r.events) do
    if e.type == kind then return e end
  end
end

local function one_request()
  return World.wait_until("a request of the carrier's interface", function()
    return requests()[1]
  end)
end

setup(function()
  world = World.new()
  dir = world:folder()
  socket = dir .. "/core-1.sock"
  local port = world:port()
  api = world:server("tcp:127.0.0.1:" .. port, handler)
  api.url = "http://127.0.0.1:" .. port
  for name, text in pairs(flows) do
    world:write(("%s/flows/%s.lua"):format(dir, name), text)
    world:write(("%s/bots/%s.json"):format(dir, name), json.encode({ flow = name,
      stt = { provider = "none" }, tts = { provider = "none" }, recording_enabled = false,
      transfer_targets = { { id = "desk", method = "websocket_reverse_transfer",
        type = "phone_number", value = "+15559876", is_default = true } } }))
  end
  assert.equal(0, (openssl({ "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
    "-out", dir .. "/key.pem" })))
  openssl({ "pkey", "-in", dir .. "/key.pem", "-pubout", "-out", dir .. "/public.pem" })
  world:service("core.lua", {
    CXBCORE_SECRET = SECRET, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
    CXBCORE_WORKERS = "1", CXB_LISTEN = "unix:" .. socket, CXB_BOTS_DIR = dir .. "/bots",
    CXB_FLOWS_DIR = dir .. "/flows", PATH = os.getenv("PATH"),
    CXB_CARRIER_API_BASE = api.url .. "/", CXB_PUBLIC_WSS_BASE = "wss://calls.example.com",
    TWILIO_ACCOUNT_SID = "AC123", TWILIO_AUTH_TOKEN = "twilio-token",
    TELNYX_API_KEY = "telnyx-key", PLIVO_AUTH_ID = "MA1", PLIVO_AUTH_TOKEN = "plivo-token",
    VONAGE_APPLICATION_ID = "app-1", VONAGE_PRIVATE_KEY_FILE = dir .. "/key.pem",
  }, socket)
  public = dir .. "/public.pem"
end)

teardown(function()
  world:close()
end)

before_each(function()
  mode("ok")
end)

-- The claims of a bearer token signed by the application's key, checked by openssl.
local function vonage_claims(header)
  local head, body, mark = header:match("^Bearer ([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  world:write(dir .. "/signed", head .. "." .. body)
  world:write(dir .. "/mark", cxb.crypto.unbase64url(mark))
  assert.equal(0, (openssl({ "dgst", "-sha256", "-verify", public, "-signature", dir .. "/mark",
    dir .. "/signed" })))
  assert.equal("RS256", json.decode(cxb.crypto.unbase64url(head)).alg)
  return json.decode(cxb.crypto.unbase64url(body))
end

local function basic(text)
  return "Basic " .. cxb.crypto.base64(text)
end

-- What each carrier must be asked.
local hangups = {
  twilio = function(r)
    assert.same({ "POST", "/2010-04-01/Accounts/AC123/Calls/CA1.json" }, { r.method, r.path })
    assert.equal(basic("AC123:twilio-token"), r.headers.authorization)
    assert.equal("Status=completed", r.body)
  end,
  telnyx = function(r)
    assert.same({ "POST", "/v2/calls/v3:ab/c/actions/hangup" }, { r.method, r.path })
    assert.equal("Bearer telnyx-key", r.headers.authorization)
    assert.truthy(json.decode(r.body).command_id)
  end,
  plivo = function(r)
    assert.same({ "DELETE", "/v1/Account/MA1/Call/P-1/" }, { r.method, r.path })
    assert.equal(basic("MA1:plivo-token"), r.headers.authorization)
  end,
  vonage = function(r, c)
    assert.same({ "PUT", "/v1/calls/" .. c.stream_id }, { r.method, r.path })
    assert.same({ action = "hangup" }, json.decode(r.body))
    local claims = vonage_claims(r.headers.authorization)
    assert.equal("app-1", claims.application_id)
    assert.is_true(claims.exp > claims.iat and claims.jti ~= nil)
  end,
}

local transfers = {
  twilio = function(r)
    assert.same({ "POST", "/2010-04-01/Accounts/AC123/Calls/CA1.json" }, { r.method, r.path })
    local xml = require("cxb.url").parse_query(r.body).Twiml
    assert.truthy(xml:find("<Response><Dial><Number>+15559876</Number></Dial></Response>", 1, true))
  end,
  telnyx = function(r)
    assert.equal("/v2/calls/v3:ab/c/actions/transfer", r.path)
    assert.equal("+15559876", json.decode(r.body).to)
  end,
  plivo = function(r)
    assert.same({ "POST", "/v1/Account/MA1/Call/P-1/" }, { r.method, r.path })
    local body = json.decode(r.body)
    assert.same({ "aleg", "GET" }, { body.legs, body.aleg_method })
    local path = assert(body.aleg_url:match("^https://calls%.example%.com(/carrier/plivo%.xml.*)$"))
    local answer = cxb.http.request({ url = "http+unix:" .. socket .. ":" .. path })
    assert.equal(200, answer.status)
    assert.equal("application/xml", answer.headers["content-type"])
    assert.truthy(answer.body:find("<Dial><Number>+15559876</Number></Dial>", 1, true))
    local forged = cxb.http.request({ url = "http+unix:" .. socket .. ":" .. path .. "x" })
    assert.equal(403, forged.status)
  end,
  vonage = function(r, c)
    assert.equal("/v1/calls/" .. c.stream_id, r.path)
    local body = json.decode(r.body)
    assert.equal("transfer", body.action)
    assert.same({ type = "phone", number = "15559876" }, body.destination.ncco[1].endpoint[1])
  end,
}

for _, carrier in ipairs({ "twilio", "telnyx", "plivo", "vonage" }) do
  describe("a call of " .. carrier, function()
    it("is ended by its carrier, which then ends the stream", function()
      local c = call(carrier, "bye")
      local request = one_request()
      assert.is_nil(c.closed)
      c:goodbye()
      c:wait_closed()
      hangups[carrier](request, c)
      local r = result(c.stream_id)
      assert.equal("bot", r.disconnected_by)
      assert.equal(1, #requests())
    end)

    it("is transferred by its carrier, and not hung up then", function()
      local c = call(carrier, "give")
      transfers[carrier](one_request(), c)
      c:wait_closed()
      local r = result(c.stream_id)
      assert.equal("bot", r.disconnected_by)
      assert.is_true(r.was_transferred)
      assert.equal("+15559876", r.transfer_destination)
      assert.equal(1, #requests())
    end)
  end)
end

describe("a carrier", function()
  it("that refuses a transfer keeps the caller with the bot", function()
    mode("refuse")
    local c = call("telnyx", "give")
    c:wait_closed() -- it refuses the hang-up, too: the stream ends
    local r = result(c.stream_id)
    assert.is_false(r.was_transferred)
    assert.equal("http_422", r.transfer_failed_reason)
    assert.same({ ok = false, reason = "http_422" }, event(r, "outcome").data)
    local paths = {}
    for i, seen in ipairs(requests()) do paths[i] = seen.path:match("[^/]*$") end
    assert.same({ "transfer", "hangup" }, paths)
  end)

  it("that does not answer a hang-up holds nobody: the socket is closed by force", function()
    mode("slow")
    local c = call("twilio", "bye")
    c:wait_closed()
    assert.equal(1000, c.code)
    assert.equal("bot", result(c.stream_id).disconnected_by)
  end)

  it("that ends the stream before it answers a transfer has taken the caller", function()
    mode("slow")
    local c = call("twilio", "give")
    one_request()
    c:goodbye()
    c:wait_closed()
    local r = result(c.stream_id)
    assert.equal("bot", r.disconnected_by)
    assert.is_true(r.was_transferred)
    assert.is_true(event(r, "transfer_result").data.ok)
  end)
end)

describe("a far end", function()
  it("that reports an error and closes ends the call by error; one that stops, by the customer",
    function()
      local ends = {
        function(c) c.ws:close(1000) end, function(c) c:goodbye() end,
      }
      for i, want in ipairs({ { "error", "carrier:malformed_frame" }, { "customer" } }) do
        local c = call("telnyx", "wait")
        c.ws:send('{"event":"error","payload":{"code":100003,"title":"malformed_frame"}}')
        ends[i](c)
        c:wait_closed()
        local r = result(c.stream_id)
        assert.same(want, { r.disconnected_by, r.error })
        assert.same({ stage = "transport", error = "malformed_frame" },
          event(r, "service_error").data)
      end
    end)

  for _, transport in ipairs({ "twilio", "telnyx", "plivo", "vonage" }) do
    it("that sends more than 50 broken messages is given up, on " .. transport, function()
      local c = call(transport, "wait")
      for _ = 1, 50 do c.ws:send('{"event":') end
      c.ws:send('{"event":"hello"}')
      assert.is_nil(c.closed)
      c.ws:send("{")
      c:wait_closed()
      assert.equal(1002, c.code)
      local r = result(c.stream_id)
      assert.same({ "error", "protocol_errors" }, { r.disconnected_by, r.error })
    end)
  end
end)

describe("Twilio's signature", function()
  local function status(path, given)
    idle()
    local ws, code, message = cxb.ws.connect("ws+unix:" .. socket .. ":" .. path,
      { headers = given and { ["X-Twilio-Signature"] = given } or nil })
    if ws then
      ws:close(1000)
      return 101
    end
    return tonumber(tostring(message):match("%d%d%d")), code
  end

  it("opens the socket over the public address, with its query, in both spellings", function()
    local base = "calls.example.com/twilio/bye"
    assert.equal(101, status("/twilio/bye", signature("wss://" .. base)))
    assert.equal(101, status("/twilio/bye", signature("https://" .. base .. "/")))
    assert.equal(101, status("/twilio/bye?a=b%20c", signature("wss://" .. base .. "?a=b%20c")))
  end)

  it("that is wrong, of another address or missing gets 403, and no call", function()
    assert.equal(403, status("/twilio/bye", signature("wss://calls.example.com/twilio/other")))
    assert.equal(403, status("/twilio/bye?x=1", signature("wss://calls.example.com/twilio/bye")))
    assert.equal(403, status("/twilio/bye", "AAAA"))
    assert.equal(403, status("/twilio/bye"))
    idle()
  end)
end)
