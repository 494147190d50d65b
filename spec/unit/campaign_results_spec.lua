-- stores: both
local api = require("support.api")
local campaign_results = require("services.campaigns.results")

describe("the result of a campaign's call", function()
  local app, campaign, contact, call, die_at

  setup(api.install)
  teardown(api.restore)

  before_each(function()
    api.now = 1777021200000
    app, die_at = api.app({ MAX_CALLBACK_RESCHEDULES = 5 }), nil
    rawset(cxb, "fault", { pass = function(step)
      if step == die_at then
        error("died at " .. step)
      end
    end })
    campaign = assert(app.store:insert("campaigns", { name = "c", bot_id = "demo",
      number_pool = {}, status = "running", run_number = 1, config = {
        campaign_mode = "multi_day", callback_detection = { enabled = true },
        time_window = { start = "00:00", ["end"] = "00:00", timezone = "Asia/Kolkata" },
        contact_window = { enabled = false },
        redial_rules = { max_attempts = 3, retry_delay_minutes = 30,
          retry_on_system = { "no_answer" }, retry_on_custom = {} } } }))
    contact = assert(app.store:insert("campaign_calls", { campaign_id = campaign._id,
      upload_id = "u", run_number = 1, phone_number = "+919876543210", variables = {},
      status = "in_progress", attempts_made = 1, attempt_seq = 1, session_id = "s-1",
      lease = { owner = "host-a", token = 7, ["until"] = api.now + 600000 },
      dial = { at = api.now - 60000, kind = "first", from_number = "+918000000001" },
      answered_at = api.now - 40000 }))
    call = { _id = "s-1", campaign_id = campaign._id, campaign_call_id = contact._id,
      disconnected_by = "no_answer", ended_at = api.now - 1000, call_duration_seconds = 39 }
  end)

  local function now_is()
    return assert(app.store:get("campaign_calls", contact._id))
  end

  local function attempts()
    return assert(app.store:find("campaign_attempts", { campaign_call_id = contact._id }))
  end

  it("moves the contact, lets go of it and closes the attempt", function()
    assert.is_true(campaign_results.apply(app, call))
    local after = now_is()
    assert.same({ "retry_scheduled", "no_answer", 1, nil }, { after.status, after.last_outcome,
      after.attempts_made, after.lease })
    local delay = after.next_retry_at - call.ended_at
    assert.is_true(delay >= 30 * 60000 and delay <= 33 * 60000, delay)
    local row = attempts()[1]
    assert.same({ 1, "first", "no_answer", 39, true, "+918000000001" }, { row.attempt, row.kind,
      row.outcome, row.talk_seconds, row.counted, row.from_number })
    assert.equal(call.ended_at, row.ended_at)
  end)

  it("is in effect once, however often it comes", function()
    for _ = 1, 5 do
      assert.is_true(campaign_results.apply(app, call))
    end
    call.disconnected_by = "customer"
    assert.is_true(campaign_results.apply(app, call))
    assert.same({ "retry_scheduled", 1 }, { now_is().status, #attempts() })
    assert.equal("no_answer", attempts()[1].outcome)
  end)

  it("of an attempt that is over changes nothing", function()
    assert(app.store:update("campaign_calls", contact._id, { set = { session_id = "s-2",
      status = "ringing" } }))
    assert.is_true(campaign_results.apply(app, call))
    assert.same({ "ringing", 0 }, { now_is().status, #attempts() })
    call.campaign_call_id = "cc_nobody"
    assert.is_true(campaign_results.apply(app, call))
  end)

  it("waits for who works on the contact, and comes before its attach has been told", function()
    assert(app.store:update("campaign_calls", contact._id, { set = { status = "_processing" } }))
    local done, err = campaign_results.apply(app, call)
    assert.is_nil(done)
    assert.equal("busy", err.code)
    assert(app.store:update("campaign_calls", contact._id, { set = { status = "ringing" } }))
    assert.is_nil(campaign_results.apply(app, call))
    assert(app.store:update("campaign_calls", contact._id, { set = { status = "attaching" } }))
    assert.is_true(campaign_results.apply(app, call))
    assert.equal("retry_scheduled", now_is().status)
  end)

  it("that a crash cut short at any step is finished as if it had not", function()
    assert.is_true(campaign_results.apply(app, call))
    local expected, row = now_is(), attempts()[1]
    for _, step in ipairs({ "campaign_result.taken", "campaign_result.attempt" }) do
      assert(app.store:update("campaign_calls", contact._id, {
        set = { status = "in_progress", lease = { owner = "host-a", token = 7, ["until"] = 0 } },
        unset = { "next_retry_at", "last_outcome" } }))
      die_at = step
      assert.is_false(pcall(campaign_results.apply, app, call))
      assert.equal("_processing", now_is().status)
      die_at = nil
      assert.is_nil(campaign_results.apply(app, call))
      api.now = api.now + 61000
      assert.is_true(campaign_results.apply(app, call))
      local after = now_is()
      assert.same({ expected.status, expected.next_retry_at, 1 }, { after.status,
        after.next_retry_at, after.attempts_made })
      assert.equal(1, #attempts())
      assert.equal(row.attempt, attempts()[1].attempt)
    end
  end)

  it("with a wish to be called again makes one callback", function()
    call.disconnected_by = "customer"
    call.post_call_analysis = { callback_requested = true, callback_confidence = 0.95,
      callback_preferred_time_text = "kal shaam" }
    campaign_results.apply(app, call)
    campaign_results.apply(app, call)
    local after = now_is()
    assert.same({ "callback_scheduled", 1, "scheduled", "daypart" }, { after.status,
      after.callback.sequence, after.callback.status, after.callback.resolved_by })
    assert.equal(after.next_retry_at, after.callback.scheduled_at)
  end)

  it("outside of the bot's hours costs the contact nothing", function()
    call.disconnected_by = "outside_hours"
    campaign_results.apply(app, call)
    assert.same({ "retry_scheduled", 0, false }, { now_is().status, now_is().attempts_made,
      attempts()[1].counted })
  end)

  it("is told to who watches the campaign", function()
    local told = {}
    app.events = { publish = function(_, topic, name, data)
      told[#told + 1] = { topic, name, data.status }
    end }
    campaign_results.apply(app, call)
    assert.same({ { "campaign:" .. campaign._id, "contact", "retry_scheduled" } }, told)
  end)
end)
