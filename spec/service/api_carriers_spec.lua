-- stores: both
-- Carriers, their numbers, and their objects at a real LiveKit server.
local FleetHost = require("support.fleet_host")
local LiveKit = require("support.livekit_server")
local client = require("cxb.livekit")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local process = require("support.api_process")
local support = require("support.world")

local wait_until = support.wait_until
local base = "/api/v1/carriers"

describe("carriers", function()
  local world, api, n

  setup(function()
    world, n = support.new(), 0
    api = process.start(world)
  end)

  teardown(function() world:close() end)

  local function create(more)
    n = n + 1
    local body = { name = "Carrier " .. n, sip_address = "sip.example.net" }
    for name, value in pairs(more or {}) do body[name] = value end
    return api:ask("POST", base, { body = body })
  end

  local function number()
    n = n + 1
    return ("+9122%08d"):format(n)
  end

  local function add_did(id, did)
    return api:ask("POST", ("%s/%s/dids"):format(base, id), { body = did })
  end

  it("are made with defaults and never show a password", function()
    local made = create({ auth_username = "us", auth_password = "a secret of theirs" })
    assert.equal(201, made.status)
    local carrier = made.answer
    assert.same({ "auto", "credentials", 1, 1, 30, true, false, "pending" },
      { carrier.transport, carrier.inbound_auth_mode, carrier.outbound_cps, carrier.outbound_burst,
        carrier.outbound_channels, carrier.auth_password_configured,
        carrier.inbound_auth_password_configured, carrier.lk_sync_status })
    assert.is_nil(made.body:find("a secret of theirs", 1, true))
    local changed = api:ask("PUT", base .. "/" .. carrier.id,
      { body = { auth_password = "", outbound_cps = 2.5 } }).answer
    assert.same({ true, 2.5 }, { changed.auth_password_configured, changed.outbound_cps })
    local stored = api:ask("GET", base .. "/" .. carrier.id)
    assert.is_nil(stored.body:find("auth_password\"", 1, true))
    for _, file in ipairs({ "cxb.db", "cxb.db-wal" }) do
      local text = cxb.fs.read(api.dir .. "/state/" .. file) or ""
      assert.is_nil(text:find("a secret of theirs", 1, true))
    end
  end)

  it("are refused with what cannot be", function()
    for field, value in pairs({ outbound_cps = 0, outbound_burst = 1001, outbound_channels = 0,
      transport = "sctp", sip_address = "sip:x y", destination_country = "India",
      inbound_allowed_addresses = { "0.0.0.0/0" } }) do
      local answer = create({ [field] = value })
      assert.equal(422, answer.status, field)
      assert.equal(field, answer.answer.fields[1].path:match("^[%w_]+"))
    end
    for _, address in ipairs({ "300.1.1.1", "192.0.2.0/33", "192.0.2.1/", "::/0", "sip.x" }) do
      assert.equal(422, create({ inbound_allowed_addresses = { address } }).status, address)
    end
    local open = create({ inbound_auth_mode = "ip" })
    assert.equal("inbound_allowed_addresses", open.answer.fields[1].path)
    assert.equal(201, create({ inbound_auth_mode = "ip",
      inbound_allowed_addresses = { "192.0.2.0/24" } }).status)
  end)

  it("own a number once among all, and let it go", function()
    local one, two = create().answer.id, create().answer.id
    local mine = number()
    local did = add_did(one, { number = mine, bot_id = "demo" })
    assert.equal(201, did.status)
    local taken = add_did(two, { number = mine })
    assert.same({ 409, "did_taken" }, { taken.status, taken.answer.error })
    local exotel = api:ask("POST", "/api/v1/integrations/exotel/dids", { body = { number = mine } })
    assert.equal("did_taken", exotel.answer.error)
    local found = api:ask("GET", "/api/v1/sip/lookup?number=" .. mine:gsub("+", "%%2B")).answer
    assert.same({ "demo", one, did.answer.id }, { found.bot_id, found.carrier_id, found.did_id })
    assert.equal(200, api:ask("GET", "/api/v1/sip/lookup?number=" .. mine:sub(2)).status)
    assert.equal(422, add_did(one, { number = number(), bot_id = "nobody" }).status)
    local used = api:ask("DELETE", base .. "/" .. one)
    assert.same({ 409, "carrier_in_use" }, { used.status, used.answer.error })
    local at = ("%s/%s/dids/%s"):format(base, one, did.answer.id)
    local moved = number()
    assert.equal(moved, api:ask("PUT", at, { body = { number = moved } }).answer.number)
    assert.equal(201, add_did(two, { number = mine }).status)
    assert.equal(409, api:ask("PUT", at, { body = { number = mine } }).status)
    assert.equal(204, api:ask("DELETE", at).status)
    assert.equal(204, api:ask("DELETE", base .. "/" .. one).status)
    assert.equal(404, api:ask("GET", base .. "/" .. one).status)
    assert.equal(404, api:ask("GET", "/api/v1/sip/lookup?number=" .. moved:sub(2)).status)
  end)

  it("of one number asked for at once give it to one", function()
    local ids, mine = { create().answer.id, create().answer.id }, number()
    local answers = process.at_once(20, function(i)
      return add_did(ids[i % 2 + 1], { number = mine }).status
    end)
    local count = {}
    for _, status in ipairs(answers) do count[status] = (count[status] or 0) + 1 end
    assert.same({ [201] = 1, [409] = 19 }, count)
  end)

  it("cannot be mirrored without LiveKit, and say so", function()
    local answer = api:ask("POST", ("%s/%s/sync"):format(base, create().answer.id))
    assert.same({ 503, "LiveKit not configured" }, { answer.status, answer.answer.message })
  end)
end)

describe("carriers at LiveKit", function()
  local world, api, livekit

  setup(function()
    world = support.new()
    livekit = LiveKit.new(world):start()
    api = process.start(world, { env = livekit:env() })
  end)

  teardown(function() world:close() end)

  local function carrier(id)
    return api:ask("GET", base .. "/" .. id).answer
  end

  local function synced(id)
    return wait_until("the carrier in step", function()
      local found = carrier(id)
      return found.lk_sync_status == "synced" and found
    end)
  end

  it("are two trunks and a rule, however often they are mirrored", function()
    local id = api:ask("POST", base, { body = { name = "Real", sip_address = "sip.example.net:5061",
      transport = "tls", auth_username = "us", auth_password = "their secret" } }).answer.id
    api:ask("POST", ("%s/%s/dids"):format(base, id), { body = { number = "+912200000001" } })
    api:ask("POST", ("%s/%s/dids"):format(base, id),
      { body = { number = "+912200000002", direction = "inbound" } })
    local found = wait_until("both trunks", function()
      local one = carrier(id)
      return one.lk_sync_status == "synced" and one.lk_inbound_trunk_id and one.lk_outbound_trunk_id
        and one
    end)
    local name = "cxb:" .. id .. ":"
    local incoming = livekit:sip("ListSIPInboundTrunk")[name .. "in"]
    assert.same({ found.lk_inbound_trunk_id, { "+912200000001", "+912200000002" }, "us",
      "their secret" }, { incoming.sip_trunk_id, incoming.numbers, incoming.auth_username,
      incoming.auth_password })
    local outgoing = livekit:sip("ListSIPOutboundTrunk")[name .. "out"]
    assert.same({ "sip.example.net:5061", "SIP_TRANSPORT_TLS", { "+912200000001" } },
      { outgoing.address, outgoing.transport, outgoing.numbers })
    local rule = livekit:sip("ListSIPDispatchRule")[name .. "rule"]
    assert.same({ { incoming.sip_trunk_id }, "call-" },
      { rule.trunk_ids, rule.rule.dispatch_rule_individual.room_prefix })

    local trunk = api:ask("GET", "/api/v1/sip/outbound-trunk").answer
    assert.same({ outgoing.sip_trunk_id, "+912200000001", id, 1, 30 }, { trunk.trunk_id,
      trunk.number, trunk.carrier_id, trunk.outbound_cps, trunk.outbound_channels })
    local again = api:ask("POST", ("%s/%s/sync"):format(base, id)).answer
    assert.same({ found.lk_inbound_trunk_id, found.lk_outbound_trunk_id, found.lk_dispatch_rule_id },
      { again.lk_inbound_trunk_id, again.lk_outbound_trunk_id, again.lk_dispatch_rule_id })
    local count = 0
    for _ in pairs(livekit:sip("ListSIPInboundTrunk")) do count = count + 1 end
    assert.equal(1, count)

    -- What somebody removed at LiveKit is made anew.
    assert(client.twirp(livekit.settings, "SIP", "DeleteSIPTrunk",
      { sip_trunk_id = found.lk_outbound_trunk_id }))
    local mended = api:ask("POST", ("%s/%s/sync"):format(base, id)).answer
    assert.not_equal(found.lk_outbound_trunk_id, mended.lk_outbound_trunk_id)
    assert.equal(mended.lk_outbound_trunk_id,
      livekit:sip("ListSIPOutboundTrunk")[name .. "out"].sip_trunk_id)

    assert.equal(204, api:ask("DELETE", base .. "/" .. id).status)
    wait_until("nothing at LiveKit", function()
      return not livekit:sip("ListSIPInboundTrunk")[name .. "in"]
        and not livekit:sip("ListSIPOutboundTrunk")[name .. "out"]
        and not livekit:sip("ListSIPDispatchRule")[name .. "rule"]
    end)
  end)

  it("tell which number a caller dialled who names the trunk only", function()
    local id = api:ask("POST", base, { body = { name = "Trunk",
      sip_address = "sip.example.com" } }).answer.id
    api:ask("POST", ("%s/%s/dids"):format(base, id),
      { body = { number = "+912200000021", direction = "inbound" } })
    local trunk = wait_until("the trunk", function() return carrier(id).lk_inbound_trunk_id end)
    local host = FleetHost.new(world)
    host:register(api)
    local event = json.encode({ event = "participant_joined", id = "EV_trunk",
      room = { name = "call-9" }, participant = { identity = "+919800000000", kind = "SIP",
        attributes = { ["sip.trunkID"] = trunk } } })
    local now = math.floor(cxb.time.now() / 1000)
    local mark = jwt.sign({ iss = LiveKit.KEY, nbf = now, exp = now + 60,
      sha256 = cxb.crypto.base64(cxb.crypto.sha256(event)) }, LiveKit.SECRET)
    assert.equal(200, api:ask("POST", "/api/v1/livekit/webhook", { secret = false, body = event,
      headers = { authorization = mark } }).status)
    assert.same({ room_name = "call-9", caller_number = "+919800000000", final = false,
      dialed_number = "+912200000021" }, host:asked("/livekit/dispatch")[1].sent)
    host:silence()
  end)

  it("are changed here while LiveKit is away, and follow when it is back", function()
    local id = api:ask("POST", base, { body = { name = "Later",
      sip_address = "sip.example.org" } }).answer.id
    synced(id)
    livekit:stop()
    local did = api:ask("POST", ("%s/%s/dids"):format(base, id),
      { body = { number = "+912200000009" } })
    assert.equal(201, did.status)
    wait_until("the error", function()
      local found = carrier(id)
      return found.lk_sync_status == "error" and found.lk_sync_error
    end)
    livekit:start()
    local back = api:ask("POST", ("%s/%s/sync"):format(base, id)).answer
    assert.same({ "synced", nil }, { back.lk_sync_status, back.lk_sync_error })
    assert.truthy(livekit:sip("ListSIPInboundTrunk")["cxb:" .. id .. ":in"])
  end)
end)
