-- The POSTs that start a call: the order of their checks, their fields, and where the secret goes.
local pure = require("spec.support.pure")
local door = require("cxb.core.door")
local fields = require("cxb.core.start_fields")
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")

describe("a start request", function()
  local started, slot
  local ready = { CXBCORE_SECRET = "s", LIVEKIT_URL = "ws://l", LIVEKIT_API_KEY = "k",
    LIVEKIT_API_SECRET = "s" }
  local good = { ["x-cxb-core-secret"] = "s" }
  local attach = '{"room_name":"r","bot_id":"b"}'

  before_each(function()
    pure.install()
    started, slot = {}, { taken = 0 }
    rawset(cxb, "scoreboard", { update = function(row) slot.reservation = row.reservation end })
    door.rooms = { attach = function(req, checked)
      started[#started + 1] = checked
      req:respond(200, { status = "accepted" })
    end }
  end)
  after_each(function()
    door.rooms = nil
    pure.restore()
  end)

  -- A request with everything wrong but what is given.
  local function ask(o)
    local answer
    local req = {
      headers = o.headers or {},
      respond = function(_, status, body, headers)
        assert.is_nil(answer)
        body = type(body) == "string" and json.decode(body) or body
        answer = { status = status, error = body.error, field = body.field,
          message = body.message, headers = headers or {} }
      end,
      take_slot = function()
        if o.slot then return nil, o.slot[1], o.slot[2] end
        slot.taken = slot.taken + 1
        return true
      end,
      body = function(_, max)
        slot.read = true
        if #(o.body or "") > max then return nil, "too_large" end
        return o.body or "{"
      end,
    }
    door.serve(o.settings or { CXBCORE_SECRET = "s" }, req, "attach")
    return answer
  end

  it("is checked in one order: secret, slot, disk, rooms, size, JSON, fields", function()
    local busy = { 429, "at_capacity" }
    local steps = {
      { 403, "forbidden", {} },
      { 403, "forbidden", { headers = { ["x-cxb-core-secret"] = "s", ["x-cxbcore-secret"] = "t" } } },
      { 429, "at_capacity", { headers = good, slot = busy } },
      { 429, "draining", { headers = good, slot = { 429, "draining" } } },
      { 503, "storage_full", { headers = good, slot = { 503, "storage_full" } } },
      { 503, "livekit_not_configured", { headers = good } },
      { 413, "too_large", { headers = good, settings = ready, body = ("x"):rep(1048577) } },
      { 400, "bad_json", { headers = good, settings = ready } },
      { 400, "bad_json", { headers = good, settings = ready, body = "[]" } },
      { 422, "invalid", { headers = good, settings = ready, body = "{}" } },
      { 200, nil, { headers = good, settings = ready, body = attach } },
    }
    for i, step in ipairs(steps) do
      local answer = ask(step[3])
      assert.same({ step[1], step[2] }, { answer.status, answer.error }, "step " .. i)
    end
    assert.equal(1, #started)
  end)

  it("takes no slot without the secret, and reads no body without the slot", function()
    ask({ headers = { ["x-cxb-core-secret"] = "wrong" }, body = attach })
    assert.equal(0, slot.taken)
    ask({ headers = good, slot = { 429, "at_capacity" }, body = attach })
    assert.is_nil(slot.read)
    local answer = ask({ headers = good, slot = { 429, "at_capacity" } })
    assert.equal("1", answer.headers["retry-after"])
  end)

  it("says that the client library is missing when LiveKit is configured without it", function()
    door.rooms = nil
    local answer = ask({ headers = good, settings = ready, body = attach })
    assert.same({ 503, "livekit_unavailable" }, { answer.status, answer.error })
  end)

  it("names the first bad field and its rule", function()
    local answer = ask({ headers = good, settings = ready,
      body = '{"bot_id":"no spaces","room_name":"","zebra":1}' })
    assert.equal("room_name", answer.field)
    assert.matches("1 to 256", answer.message)
    answer = ask({ headers = good, settings = ready, body = '{"bot_id":"a b","room_name":"r"}' })
    assert.equal("bot_id", answer.field)
  end)

  it("hands on what it carries and notes the reservation of its header with the slot", function()
    local headers = { ["x-cxbcore-secret"] = "s", ["x-cxb-reservation"] = "res-1" }
    ask({ headers = headers, settings = ready, body = '{"room_name":"r","bot_id":"b",'
      .. '"to_number":"98765 43210","connected_event":{"crm":{"a":[]}},"campaign_call_id":"c.1"}' })
    assert.same({ room_name = "r", bot_id = "b", to_number = "+9876543210",
      connected_event = '{"crm":{"a":[]}}', campaign_call_id = "c.1" }, started[1])
    assert.equal("res-1", slot.reservation)
    ask({ headers = { ["x-cxbcore-secret"] = "s", ["x-cxb-reservation"] = "res-2" },
      slot = { 429, "at_capacity" } })
    assert.equal("res-1", slot.reservation)
  end)
end)

describe("fields of a start request", function()
  before_each(pure.install)
  after_each(pure.restore)

  local c = {}
  local function bad(kind, body, settings)
    local checked, field, message = fields.check(kind, body, settings or c)
    assert.is_nil(checked)
    assert.truthy(message:find(field, 1, true))
    return field
  end

  it("are required, absent or default by the kind of the request", function()
    assert.equal("room_name", bad("dispatch", {}))
    assert.equal("caller_number", bad("dispatch", { room_name = "r" }))
    assert.equal("dialed_number", bad("dispatch", { room_name = "r", caller_number = "+911" }))
    assert.same({ room_name = "r", caller_number = "+911", dialed_number = "0123", final = false },
      fields.check("dispatch", { room_name = "r", caller_number = "+911", dialed_number = "0123" }, c))
    assert.equal("bot_id", bad("dialout", {}))
    assert.equal("to_number", bad("dialout", { bot_id = "b" }))
    assert.equal("widget-user", fields.check("widget", { bot_id = "b", room_name = "r" }, c).caller_id)
    assert.is_nil(fields.check("attach", { bot_id = "b", room_name = "r", to_number = json.null },
      c).to_number)
  end)

  it("keep to their lengths and characters", function()
    assert.equal("bot_id", bad("widget", { bot_id = ("b"):rep(65), room_name = "r" }))
    assert.equal("bot_id", bad("widget", { bot_id = "a/b", room_name = "r" }))
    assert.equal("bot_id", bad("widget", { bot_id = 7, room_name = "r" }))
    assert.equal("room_name", bad("widget", { bot_id = "b", room_name = ("r"):rep(257) }))
    assert.equal("room_name", bad("widget", { bot_id = "b", room_name = "r\n" }))
    assert.equal("room_name", bad("widget", { bot_id = "b", room_name = "\255" }))
    local dispatch = { room_name = "r", caller_number = "+1", dialed_number = "+2" }
    dispatch.call_id = ("c"):rep(129)
    assert.equal("call_id", bad("dispatch", dispatch))
    dispatch.call_id, dispatch.final = "a.b_c-d", "yes"
    assert.equal("final", bad("dispatch", dispatch))
    assert.equal("connected_event", bad("dialout", { bot_id = "b", to_number = "+1",
      connected_event = { x = ("y"):rep(16 * 1024) } }))
    assert.equal("connected_event", bad("dialout", { bot_id = "b", to_number = "+1",
      connected_event = { 1, 2 } }))
  end)

  it("write numbers as they are dialled", function()
    local cases = {
      ["+919876543210"] = "+919876543210", ["919876543210"] = "+919876543210",
      ["09876543210"] = "09876543210", ["98765 43210"] = "+9876543210",
      ["(022) 2345-6789"] = "02223456789", ["12345678"] = "+12345678",
      ["+1 (415) 555-0100"] = "+14155550100",
    }
    for given, want in pairs(cases) do assert.equal(want, fields.number(given), given) end
    for _, given in ipairs({ "", "1234567", "1234567890123456", "+", "12a45678", "sip:a@b", "++91",
      "٩٨٧٦٥٤٣٢", "+12345678901234567" }) do
      assert.is_nil(fields.number(given), given)
    end
  end)

  it("take a config_url only from the listed prefixes", function()
    local function taken(address, allow)
      return fields.check("dialout", { bot_id = "b", to_number = "+1", config_url = address },
        { CXB_CONFIG_URL_ALLOW = allow }) ~= nil
    end
    assert.is_true(taken("https://any.example/config"))
    assert.is_false(taken("ftp://any.example/config"))
    assert.is_false(taken("not an address"))
    local allow = { "https://api.example/api/v1" }
    assert.is_true(taken("https://api.example/api/v1/config", allow))
    assert.is_true(taken("https://API.example:443/api/v1", allow))
    for _, address in ipairs({ "https://api.example.evil.test/api/v1", "http://api.example/api/v1",
      "https://api.example/api/v10", "https://api.example@evil.test/api/v1",
      "https://api.example/api/v1/../admin", "https://api.example/api/v1/%2e%2e/admin" }) do
      assert.is_false(taken(address, allow), address)
    end
  end)
end)

describe("the shared secret", function()
  it("goes to the listed origins only", function()
    local c = { CXBCORE_SECRET = "s" }
    assert.equal("s", outgoing.headers(c, "https://hook.example/x")["x-cxb-core-secret"])
    c.CXB_SECRET_ORIGINS = { "https://api.example", "http://10.0.0.5:8000" }
    assert.equal("s", outgoing.headers(c, "https://api.example/api/v1/x")["x-cxb-core-secret"])
    assert.equal("s", outgoing.headers(c, "http://10.0.0.5:8000/y")["x-cxb-core-secret"])
    for _, address in ipairs({ "https://hook.example/x", "http://api.example/x",
      "https://api.example:8443/", "https://api.example.evil.test/" }) do
      assert.same({ accept = "a" }, outgoing.headers(c, address, { accept = "a" }), address)
    end
  end)
end)
