-- stores: both
local Campaigns = require("support.campaigns")
local process = require("support.api_process")
local support = require("support.world")

describe("a campaign's call", function()
  local world, site

  setup(function()
    world = support.new()
    site = Campaigns.start(world)
  end)
  teardown(function()
    site:close()
    world:close()
  end)

  local serial = 0

  -- A contact in a call, as the Dialler leaves it.
  local function in_call()
    serial = serial + 1
    local id = site:campaign({ callback_detection = { enabled = true } }).id
    site:upload(id, Campaigns.numbers(1, 30000000 + serial))
    site:settled(id)
    assert.equal(200, site:ask("POST", "/campaigns/" .. id .. "/start").status)
    local contact, session = site:contacts(id)[1], cxb.crypto.uuid7()
    assert(site.store:update("campaign_calls", contact._id, { set = { status = "in_progress",
      session_id = session, attempts_made = 1, attempt_seq = 1, dial = { at = cxb.time.now(),
        kind = "first" }, lease = { owner = "host-a", token = 1,
        ["until"] = cxb.time.now() + 600000 } } }))
    local event = ('{"_campaign_session_id":"%s","_campaign_id":"%s","_campaign_call_id":"%s",'
      .. '"_campaign_attempt":1,"_campaign_run_number":1}'):format(session, id, contact._id)
    local answer = site:ask("GET", "/config/demo?connected_event="
      .. event:gsub("[^%w_.-]", function(c)
        return ("%%%02X"):format(c:byte())
      end))
    assert.equal(200, answer.status, answer.body)
    assert.equal(session, answer.answer.session_id)
    return { id = id, contact = contact._id, session = session, number = contact.phone_number }
  end

  local function contact_of(one)
    return assert(site.store:get("campaign_calls", one.contact))
  end

  local function finished(one)
    support.wait_until("the contact has moved", function()
      local state = contact_of(one).status
      return state ~= "in_progress" and state ~= "_processing"
    end)
    return contact_of(one)
  end

  it("moves its contact once, whatever arrives at once, twice or late", function()
    local one = in_call()
    local body = { session_id = one.session, disconnected_by = "no_answer",
      call_duration_seconds = 3 }
    for _, answer in ipairs(process.at_once(30, function()
      return site:ask("POST", "/call-results", body)
    end)) do
      assert.equal(200, answer.status, answer.body)
    end
    local contact = finished(one)
    assert.same({ "retry_scheduled", 1 }, { contact.status, contact.attempts_made })
    body.disconnected_by = "customer"
    assert.equal(200, site:ask("POST", "/call-results", body).status)
    support.wait_until("the later result is worked on", function()
      local call = assert(site.store:get("calls", one.session))
      return call.disconnected_by == "customer" and not (call.fanout or {}).pending
    end)
    assert.equal(contact.v, contact_of(one).v)
    local shown = site:ask("GET", "/campaigns/" .. one.id .. "/calls/" .. one.contact).answer
    assert.same({ 1, "no_answer" }, { #shown.attempts, shown.attempts[1].outcome })
    -- The Dialler reads the outcome with the secret alone.
    local call = site:ask("GET", "/calls/" .. one.session, nil,
      { secret = false, headers = { ["x-cxb-core-secret"] = process.SECRET } })
    assert.same({ 200, one.contact }, { call.status, call.answer.campaign_call_id })
  end)

  it("of who asks not to be called ends the contact and lists the number for good", function()
    local one = in_call()
    assert.equal(200, site:ask("POST", "/dnc", { numbers = { one.number },
      expires_at = "2999-01-01T00:00:00Z" }).status)
    assert.equal(200, site:ask("POST", "/call-results", { session_id = one.session,
      caller_id = one.number, disconnected_by = "customer",
      post_call_analysis = { do_not_call = true, callback_requested = true } }).status)
    assert.equal("dnc", finished(one).status)
    support.wait_until("the number is on the list", function()
      local entry = site:ask("GET", "/dnc?q=" .. one.number:sub(2)).answer.items[1]
      return entry and entry.expires_at == nil
    end)
  end)

  it("of who wants to be called again is scheduled and found by that", function()
    local one = in_call()
    assert.equal(200, site:ask("POST", "/call-results", { session_id = one.session,
      disconnected_by = "customer", post_call_analysis = { callback_requested = true,
        callback_preferred_time_text = "2 hours", callback_confidence = 0.8 } }).status)
    local contact = finished(one)
    assert.equal("callback_scheduled", contact.status)
    local listed = site:ask("GET", "/campaigns/" .. one.id .. "/calls?callback=pending").answer
    assert.same({ 1, "relative" }, { listed.total, listed.items[1].callback.resolved_by })
  end)
end)
