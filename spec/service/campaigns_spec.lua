-- stores: both
local Campaigns = require("support.campaigns")
local support = require("support.world")

describe("campaigns", function()
  local world, site

  setup(function()
    world = support.new()
    site = Campaigns.start(world)
  end)

  teardown(function()
    site:close()
    world:close()
  end)

  local function act(id, action, body)
    return site:ask("POST", "/campaigns/" .. id .. "/" .. action, body)
  end

  -- A campaign with three contacts, in a state that its actions have led to.
  local ways = {
    draft = {}, running = { "start" }, paused = { "start", "pause" },
    completed = { "start", "stop" }, failed = { "start" },
  }

  local function campaign_in(state)
    local campaign = site:campaign()
    assert.equal(200, site:upload(campaign.id, Campaigns.numbers(3)).status)
    site:settled(campaign.id)
    for _, action in ipairs(ways[state]) do
      local answer = act(campaign.id, action)
      assert.equal(200, answer.status, answer.body)
    end
    if state == "failed" then
      site:set(campaign.id, { status = "failed", completion_reason = "no_trunk" })
    end
    return campaign.id
  end

  it("are made with the defaults of everything that is left out", function()
    local made = site:ask("POST", "/campaigns", { name = "Bare", bot_id = "demo",
      config = { campaign_mode = "continuous" } })
    assert.equal(201, made.status, made.body)
    local campaign = made.answer
    assert.matches("^cmp_%x+$", campaign.id)
    assert.same({ "draft", 1, false }, { campaign.status, campaign.run_number,
      campaign.identity_locked })
    assert.matches("/api/v1/config$", campaign.config_url)
    local config = campaign.config
    assert.same({ 50, "multi_day", "IN", 3, 1, false }, { config.concurrency_limit,
      config.campaign_mode, config.default_region, config.abandon_cap_percent, config.weight,
      config.callback_detection.enabled })
    assert.same({ "09:00", "18:00", "Asia/Kolkata", 7, 0 }, { config.time_window.start,
      config.time_window["end"], config.time_window.timezone, #config.time_window.days,
      #config.time_window.holidays })
    assert.same({ enabled = true, start = "08:00", ["end"] = "21:00" }, config.contact_window)
    assert.same({ 3, 30, 5, 0 }, { config.redial_rules.max_attempts,
      config.redial_rules.retry_delay_minutes, #config.redial_rules.retry_on_system,
      #config.redial_rules.retry_on_custom })
    local codes = {}
    for _, problem in ipairs(campaign.problems) do
      codes[#codes + 1] = problem.code
    end
    assert.same({ "number_pool_empty" }, codes)
  end)

  it("are refused with every bad field at once", function()
    local refused = site:ask("POST", "/campaigns", { name = "", bot_id = "demo", surprise = 1,
      config = { concurrency_limit = 0, campaign_mode = "weekly", default_region = "XX",
        time_window = { timezone = "Mars/Base", days = { "someday" } },
        redial_rules = { max_attempts = 11 } } })
    assert.equal(422, refused.status)
    local paths = {}
    for i, field in ipairs(refused.answer.fields) do
      paths[i] = field.path
    end
    assert.same({ "config.campaign_mode", "config.concurrency_limit", "config.default_region",
      "config.redial_rules.max_attempts", "config.time_window.days[0]",
      "config.time_window.timezone", "name", "surprise" }, paths)
    assert.equal(422, site:ask("POST", "/campaigns", { name = "x", bot_id = "nobody" }).status)
  end)

  it("change by the fields given, inside of the configuration too", function()
    local campaign = site:campaign()
    local path = "/campaigns/" .. campaign.id
    local changed = site:ask("PATCH", path, { name = "April",
      config = { redial_rules = { max_attempts = 5 }, weight = 2 } })
    assert.equal(200, changed.status, changed.body)
    assert.same({ "April", 5, 30, 2, "multi_day" }, { changed.answer.name,
      changed.answer.config.redial_rules.max_attempts,
      changed.answer.config.redial_rules.retry_delay_minutes, changed.answer.config.weight,
      changed.answer.config.campaign_mode })
    local null = require("cxb.json").null
    changed = site:ask("PATCH", path, { config = { redial_rules = null, weight = null } })
    assert.same({ 3, 1 }, { changed.answer.config.redial_rules.max_attempts,
      changed.answer.config.weight })
    local refused = site:ask("PATCH", path, { config = { redial_rules = { max_attempts = 0 } } })
    assert.same({ 422, "config.redial_rules.max_attempts" }, { refused.status,
      refused.answer.fields[1].path })
    assert.equal(409, site:ask("PATCH", path, { name = "x" },
      { headers = { ["if-match"] = '"1"' } }).status)
  end)

  it("answer every action in every state as the table says", function()
    -- What each action answers in draft, running, paused, completed, failed.
    local states = { "draft", "running", "paused", "completed", "failed" }
    local expected = {
      patch = { 200, "not_editable", 200, "not_editable", "not_editable" },
      upload = { 200, "identity_locked", "identity_locked", "identity_locked",
        "identity_locked" },
      start = { 200, "invalid_state", 200, "invalid_state", "invalid_state" },
      resume = { 200, "invalid_state", 200, "invalid_state", "invalid_state" },
      pause = { "invalid_state", 200, "invalid_state", "invalid_state", "invalid_state" },
      stop = { "invalid_state", 200, 200, "invalid_state", "invalid_state" },
      restart = { "invalid_state", "invalid_state", "invalid_state", 200, 200 },
      ["cancel-restart"] = { "invalid_state", "invalid_state", "invalid_state",
        "invalid_state", "invalid_state" },
      clone = { 201, 201, 201, 201, 201 },
      contacts = { "invalid_state", 200, "invalid_state", "invalid_state", "invalid_state" },
      ["contacts/exclude"] = { 200, 200, 200, 200, 200 },
      delete = { 204, "invalid_state", "invalid_state", "invalid_state", "invalid_state" },
    }
    local bodies = {
      contacts = { contacts = { { phone_number = "9899999999" } } },
      ["contacts/exclude"] = { phone_numbers = { "9899999998" } },
    }
    local function try(id, action)
      if action == "patch" then
        return site:ask("PATCH", "/campaigns/" .. id, { description = "x" })
      elseif action == "delete" then
        return site:ask("DELETE", "/campaigns/" .. id)
      elseif action == "upload" then
        return site:upload(id, Campaigns.numbers(2))
      end
      return act(id, action, bodies[action])
    end
    -- Refusals change nothing, so one campaign serves all of a state's; each success has its own.
    for i, state in ipairs(states) do
      local unchanged = campaign_in(state)
      for action, answers in pairs(expected) do
        local wanted, refused = answers[i], type(answers[i]) == "string"
        local answer = try(refused and unchanged or campaign_in(state), action)
        local where = state .. " " .. action .. " " .. (answer.body or "")
        assert.equal(refused and 409 or wanted, answer.status, where)
        if refused then
          assert.equal(wanted, answer.answer.error, where)
          assert.equal(wanted ~= "identity_locked" and state or nil, answer.answer.status, where)
        end
      end
      assert.equal(state, site:ask("GET", "/campaigns/" .. unchanged).answer.status)
    end
  end)

  it("are not started, for every reason there is at once", function()
    local campaign = site:campaign({ time_window = { days = {}, start = "00:00",
      ["end"] = "00:00" } }, { number_pool = { "did_in", "did_gone" } })
    site:set(campaign.id, { bot_id = "gone", ["config.concurrency_limit"] = 0 })
    local refused = act(campaign.id, "start")
    assert.same({ 409, "not_startable", "draft" }, { refused.status, refused.answer.error,
      refused.answer.status })
    assert.same({ "bot_missing", "concurrency_limit", "no_waiting_contacts", "number_pool_empty",
      "window_never_opens" }, refused.answer.reasons)
    site:set(campaign.id, { ["config.time_window.timezone"] = "Mars/Base" })
    refused = act(campaign.id, "resume")
    assert.same({ "bot_missing", "concurrency_limit", "no_waiting_contacts", "number_pool_empty",
      "window_invalid" }, refused.answer.reasons)
  end)

  it("may stay open for contacts to come, and prefer numbers like the callee's", function()
    local plain = site:campaign()
    assert.same({ false, false }, { plain.config.keep_open, plain.config.local_presence })
    assert.same({ "no_waiting_contacts" }, act(plain.id, "start").answer.reasons)
    local open = site:campaign({ keep_open = true, local_presence = true })
    assert.same({ true, true }, { open.config.keep_open, open.config.local_presence })
    assert.equal(200, act(open.id, "start").status)
  end)

  it("show what the Dialler tells of them, its demand too", function()
    local id = campaign_in("running")
    site:set(id, { live = { demand = 7, active = 2, last_dial_at = 1777021200000 } })
    local listed
    for _, row in ipairs(site:ask("GET", "/campaigns?status=running&limit=200").answer.items) do
      listed = row.id == id and row or listed
    end
    for _, shown in ipairs({ listed, site:ask("GET", "/campaigns/" .. id).answer }) do
      assert.same({ demand = 7, active = 2, last_dial_at = "2026-04-24T09:00:00.000Z" },
        shown.live)
    end
  end)

  it("keep for a contact what the Dialler writes with its transitions", function()
    local id = campaign_in("running")
    local row, at = site:contacts(id)[1], 1777021200000
    local written = { zone_key = "Asia/Calcutta", attempt_seq = 2, prev_status = "pending",
      dial = { room = "camp-x", kind = "first", from_number = "+918000000001", carrier_id = "car_1",
        at = at }, leased_at = at, ringing_at = at + 1, answered_at = at + 2,
      amd = { verdict = "human", cause = "short_greeting", ms = 900 } }
    assert(site.store:update("campaign_calls", row._id, { set = written }))
    local kept = assert(site.store:get("campaign_calls", row._id))
    for name, value in pairs(written) do
      assert.same(value, kept[name], name)
    end
  end)

  it("keep bot and mode once they have been started", function()
    local id = campaign_in("paused")
    local refused = site:ask("PATCH", "/campaigns/" .. id,
      { config = { campaign_mode = "single_day" } })
    assert.same({ 409, "identity_locked" }, { refused.status, refused.answer.error })
    refused = site:ask("PATCH", "/campaigns/" .. id, { bot_id = "assistant" })
    assert.equal("identity_locked", refused.answer.error)
    assert.is_true(site:ask("GET", "/campaigns/" .. id).answer.identity_locked)
  end)

  it("stopped leave nobody waiting and no callback open", function()
    local id = campaign_in("running")
    local rows = site:contacts(id)
    local function put(row, fields)
      assert(site.store:update("campaign_calls", row._id, { set = fields }))
    end
    put(rows[1], { status = "callback_scheduled",
      callback = { active = true, requested = true, status = "scheduled" } })
    put(rows[2], { status = "in_progress" })
    assert.equal(200, act(id, "stop").status)
    local campaign = site:settled(id)
    assert.same({ "completed", "manual_stop" }, { campaign.status, campaign.completion_reason })
    local after = site:contacts(id)
    assert.same({ "manual_stopped", "cancelled", "in_progress", "manual_stopped" },
      { after[1].status, after[1].callback.status, after[2].status, after[3].status })
    assert.same({ total = 3, waiting = 0, active = 1, finished = 2 }, { total =
      campaign.stats.total, waiting = campaign.stats.waiting, active = campaign.stats.active,
      finished = campaign.stats.finished })
  end)

  it("restart with rows of their own and can go back", function()
    local id = campaign_in("completed")
    local rows = site:contacts(id)
    assert(site.store:update("campaign_calls", rows[1]._id, { set = { status = "completed",
      last_outcome = "conversation" } }))
    assert(site.store:update("campaign_calls", rows[2]._id, { set = { status = "exhausted" } }))
    local answer = act(id, "restart", { scope = "failed" })
    assert.same({ 200, "draft", 2 }, { answer.status, answer.answer.status,
      answer.answer.run_number })
    site:settled(id)
    local listed = site:ask("GET", "/campaigns/" .. id .. "/calls").answer
    assert.same({ 1, rows[2].phone_number, "pending", 0 }, { listed.total,
      listed.items[1].phone_number, listed.items[1].status, listed.items[1].attempts_made })
    assert.equal(4, #site:contacts(id))
    assert.equal("identity_locked", site:upload(id, Campaigns.numbers(2)).answer.error)
    answer = act(id, "cancel-restart")
    assert.same({ 200, "completed", 1 }, { answer.status, answer.answer.status,
      answer.answer.run_number })
    site:settled(id)
    assert.equal(3, #site:contacts(id))
    assert.equal("manual_stop", answer.answer.completion_reason)
    act(id, "restart", { scope = "not_connected" })
    site:settled(id)
    assert.equal(2, site:ask("GET", "/campaigns/" .. id .. "/calls").answer.total)
    act(id, "cancel-restart")
    site:settled(id)
    act(id, "restart")
    site:settled(id)
    assert.equal(3, site:ask("GET", "/campaigns/" .. id .. "/calls").answer.total)
    assert.equal(200, act(id, "start").status)
  end)

  it("cloned have the set-up and none of the contacts", function()
    local id = campaign_in("completed")
    local twin = act(id, "clone", { name = "Twin" }).answer
    assert.same({ "Twin", "draft", 1, "multi_day", 0 }, { twin.name, twin.status,
      twin.run_number, twin.config.campaign_mode, twin.stats.total })
    assert.equal("March (copy)", act(id, "clone").answer.name)
  end)

  it("are deleted with their contacts", function()
    local id = campaign_in("draft")
    assert.equal(204, site:ask("DELETE", "/campaigns/" .. id).status)
    assert.equal(404, site:ask("GET", "/campaigns/" .. id).status)
    support.wait_until("the contacts are gone", function()
      return #site:contacts(id) == 0
    end)
  end)

  it("list by state and name, newest first", function()
    site:campaign({}, { name = "Zulu one" })
    local second = site:campaign({}, { name = "Zulu two" })
    local found = site:ask("GET", "/campaigns?q=zULU&status=draft").answer
    assert.same({ 2, second.id }, { found.total, found.items[1].id })
    assert.equal(0, site:ask("GET", "/campaigns?q=zulu&status=running").answer.total)
  end)
end)
