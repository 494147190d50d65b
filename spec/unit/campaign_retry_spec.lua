local retry = require("cxb.campaign.retry")
local times = require("cxb.times")

local NOW = times.parse("2026-04-24T12:00:00+05:30")
local MINUTE = 60000

local function decide(more, config)
  local input = {
    now = NOW, ended_at = NOW - MINUTE, spread = 0, max_reschedules = 5,
    contact = { attempts_made = 1 },
    campaign = {
      status = "running", run_started_at = NOW - 3600000,
      config = {
        campaign_mode = "multi_day", callback_detection = { enabled = true },
        time_window = { timezone = "Asia/Kolkata", start = "09:00", ["end"] = "18:00" },
        contact_window = { enabled = false },
        redial_rules = { max_attempts = 3, retry_delay_minutes = 30,
          retry_on_system = { "no_answer", "error" }, retry_on_custom = { "BUSY_NOW" } },
      },
    },
  }
  for key, value in pairs(config or {}) do
    input.campaign.config[key] = value
  end
  for key, value in pairs(more) do
    input[key] = value
  end
  return retry.decide(input), input
end

describe("the result of a contact's call", function()
  it("ends a conversation, and every end nobody has named is one", function()
    for _, by in ipairs({ "customer", "bot", "transfer", "who knows" }) do
      local decision = decide({ disconnected_by = by })
      assert.equal("completed", decision.status)
      assert.equal("conversation", decision.outcome)
    end
    assert.equal("completed", decide({ disconnected_by = "voicemail" }).status)
    assert.equal("completed", decide({}).status)
  end)

  it("is tried again after the delay and its spread, inside the window", function()
    local decision = decide({ disconnected_by = "no_answer" })
    assert.equal("retry_scheduled", decision.status)
    assert.equal(NOW + 29 * MINUTE, decision.next_retry_at)
    decision = decide({ disconnected_by = "no_answer", spread = 1 })
    assert.equal(NOW + 32 * MINUTE, decision.next_retry_at)
    decision = decide({ disconnected_by = "error" }, { redial_rules = {
      retry_delay_minutes = 600 } })
    assert.equal("2026-04-25T03:30:00.000Z", times.format(decision.next_retry_at))
  end)

  it("uses one budget over all outcomes and dispositions", function()
    local used = { attempts_made = 3 }
    assert.equal("exhausted", decide({ disconnected_by = "no_answer", contact = used }).status)
    assert.equal("exhausted", decide({ disconnected_by = "customer", disposition = "BUSY_NOW",
      contact = used }).status)
    assert.equal("retry_scheduled", decide({ disconnected_by = "customer",
      disposition = "BUSY_NOW" }).status)
    local decision = decide({ disconnected_by = "rejected" })
    assert.equal("exhausted", decision.status)
    assert.equal("not_retried", decision.cause)
  end)

  it("outside of the bot's hours waits for the window and costs no attempt", function()
    local decision = decide({ disconnected_by = "outside_hours", contact = { attempts_made = 3 } })
    assert.equal("retry_scheduled", decision.status)
    assert.is_true(decision.uncounted)
    assert.equal(NOW, decision.next_retry_at)
  end)

  it("is exhausted when no window will ever open", function()
    local decision = decide({ disconnected_by = "no_answer" }, { time_window = { days = {} } })
    assert.equal("exhausted", decision.status)
    assert.equal("window_never_opens", decision.cause)
  end)

  it("after the campaign has been stopped is not tried again", function()
    local _, input = decide({})
    input.campaign.status, input.disconnected_by = "completed", "no_answer"
    assert.equal("exhausted", retry.decide(input).status)
  end)
end)

describe("a wish to be called again", function()
  local function wish(more)
    local analysis = { callback_requested = true, callback_preferred_time_text = "5 min",
      callback_reason = "driving", callback_confidence = 0.95 }
    for key, value in pairs(more or {}) do
      analysis[key] = value
    end
    return analysis
  end

  it("is granted beyond the budget and beats a retry", function()
    local decision = decide({ disconnected_by = "no_answer", analysis = wish(),
      contact = { attempts_made = 3 } })
    assert.equal("callback_scheduled", decision.status)
    assert.equal(NOW + 4 * MINUTE, decision.next_retry_at)
    assert.same({ active = true, requested = true, status = "scheduled", sequence = 1,
      requested_at = NOW - MINUTE, scheduled_at = NOW + 4 * MINUTE, time_text = "5 min",
      reason = "driving", confidence = 0.95, resolved_by = "relative" }, decision.callback)
  end)

  it("is beaten by a wish not to be called at all", function()
    assert.equal("dnc", decide({ disconnected_by = "customer",
      analysis = wish({ do_not_call = true }) }).status)
    assert.equal("completed", decide({ analysis = { do_not_call = "no" } }).status)
  end)

  it("is read only from its four keys, when it is sure enough and the campaign listens", function()
    assert.equal("completed", decide({ analysis = wish({ callback_confidence = 0.49 }) }).status)
    assert.equal("completed", decide({ analysis = wish({ callback_requested = "maybe" }) }).status)
    assert.equal("completed", decide({ analysis = wish() },
      { callback_detection = { enabled = false } }).status)
    assert.equal("callback_scheduled",
      decide({ analysis = { callback_requested = true, requested = false } }).status)
    assert.equal("completed", decide({ analysis = "text" }).status)
  end)

  it("is granted five times again, then the contact is exhausted", function()
    local function after(n)
      return decide({ analysis = wish(),
        contact = { attempts_made = 9, callback = { active = true, sequence = n } } })
    end
    assert.equal("callback_scheduled", after(5).status)
    assert.equal(6, after(5).callback.sequence)
    assert.equal("exhausted", after(6).status)
    assert.equal("cancelled", after(6).callback.status)
  end)

  it("is cancelled where it cannot be granted", function()
    local decision = decide({ analysis = wish({ callback_preferred_time_text = "kal" }) },
      { campaign_mode = "single_day" })
    assert.equal("completed", decision.status)
    assert.equal("cancelled", decision.callback.status)
    assert.equal("callback_scheduled",
      decide({ analysis = wish() }, { campaign_mode = "single_day" }).status)
    local _, input = decide({ analysis = wish() })
    input.campaign.status = "completed"
    assert.equal("cancelled", retry.decide(input).callback.status)
  end)

  it("is over when its call has been made", function()
    local decision = decide({ disconnected_by = "no_answer",
      contact = { attempts_made = 1, callback = { active = true, status = "scheduled",
        sequence = 2 } } })
    assert.equal("retry_scheduled", decision.status)
    assert.same({ active = false, status = "completed", sequence = 2 }, decision.callback)
  end)
end)
