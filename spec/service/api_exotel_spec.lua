-- stores: both
-- The Exotel integration, with a server that speaks Exotel's REST.
local FleetHost = require("support.fleet_host")
local process = require("support.api_process")
local support = require("support.world")
local url = require("cxb.url")

local base = "/api/v1/integrations/exotel"

-- Exotel's Calls/connect: Basic credentials, a form, an answer in XML.
local EXOTEL = [[
return function(req, _, body)
  if req.headers.authorization ~= "Basic a2V5OnRva2Vu" then -- key:token
    return req:respond(401, "<TwilioResponse><RestException><Status>401</Status>"
      .. "<Message>Authentication failed</Message></RestException></TwilioResponse>")
  end
  if body:find("From=%2B910000000000", 1, true) then
    return req:respond(403, '{"RestException":{"Status":403,"Message":"NDNC number"}}')
  end
  req:respond(200, "<TwilioResponse><Call><Sid>sid-77</Sid><Status>in-progress</Status></Call>"
    .. "</TwilioResponse>", { ["content-type"] = "application/xml" })
end
]]

describe("the Exotel integration", function()
  local world, api, provider, host

  setup(function()
    world = support.new()
    local port = world:port()
    provider = world:server("tcp:127.0.0.1:" .. port, EXOTEL)
    provider.url = "http://127.0.0.1:" .. port
    api = process.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
    host = FleetHost.new(world)
  end)

  teardown(function()
    host:silence()
    world:close()
  end)

  local function put(body)
    return api:ask("PUT", base, { body = body })
  end

  it("keeps credentials and shows none", function()
    assert.same({ 200, false }, { api:ask("GET", base).status,
      api:ask("GET", base).answer.configured })
    local changed = put({ account_sid = "acme1", api_key = "key", api_token = "wrong",
      api_base_url = provider.url })
    assert.same({ 200, true, true, "acme1" }, { changed.status, changed.answer.configured,
      changed.answer.api_token_configured, changed.answer.account_sid })
    assert.is_nil(changed.body:find("wrong", 1, true))
    assert.is_true(put({ api_key = "" }).answer.configured)
    local refused = put({ api_base_url = "http://169.254.169.254/latest" })
    assert.same({ 422, "url_not_allowed" }, { refused.status, refused.answer.error })
  end)

  it("has numbers with the socket their calls come to", function()
    host:register(api)
    local did = api:ask("POST", base .. "/dids", { body = { number = "+918012345678",
      bot_id = "demo", label = "Support" } })
    assert.same({ 201, host.url:gsub("^http", "ws") .. "/exotel/demo" },
      { did.status, did.answer.websocket_url })
    local taken = api:ask("POST", base .. "/dids", { body = { number = "+918012345678" } })
    assert.same({ 409, "did_taken" }, { taken.status, taken.answer.error })
    local found = api:ask("GET", "/api/v1/sip/lookup?number=918012345678")
    assert.same({ 200, "demo" }, { found.status, found.answer.bot_id })
    local option = api:ask("GET", base .. "/test-call-options").answer.items[1]
    assert.same({ false, "flow_url_missing" }, { option.ready, option.reason })
    local at = base .. "/dids/" .. did.answer.id
    local changed = api:ask("PUT", at, { body = { flow_url = "http://my.exotel.com/acme1/1",
      label = "Sales" } })
    assert.same({ "Sales", "+918012345678" }, { changed.answer.label, changed.answer.number })
    assert.is_true(api:ask("GET", base .. "/test-call-options").answer.items[1].ready)
  end)

  it("calls a telephone for a test, and passes on why it could not", function()
    local id = api:ask("GET", base).answer.dids[1].id
    local function call(number)
      return api:ask("POST", ("%s/dids/%s/test-call"):format(base, id),
        { body = { to_number = number } })
    end
    local denied = call("+919876543210")
    assert.same({ 502, "Authentication failed" }, { denied.status, denied.answer.message })
    put({ api_token = "token" })
    local good = call("+919876543210")
    assert.same({ 200, "sid-77" }, { good.status, good.answer.call_sid })
    local seen = provider.seen()
    local sent = seen[#seen]
    assert.equal("/v1/Accounts/acme1/Calls/connect", sent.path)
    assert.same({ From = "+919876543210", CallerId = "+918012345678", CallType = "trans",
      Url = "http://my.exotel.com/acme1/1", CustomField = "cxb-test:" .. id },
      url.parse_query(sent.body))
    local ndnc = call("+910000000000")
    assert.same({ 502, "NDNC number" }, { ndnc.status, ndnc.answer.message })
    assert.equal(404, api:ask("POST", base .. "/dids/nobody/test-call",
      { body = { to_number = "+919876543210" } }).status)
    assert.equal(204, api:ask("DELETE", base .. "/dids/" .. id).status)
    assert.equal(0, #api:ask("GET", base).answer.dids)
  end)
end)
