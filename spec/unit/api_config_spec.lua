-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")
local times = require("cxb.times")

describe("active hours", function()
  local hours = require("services.runtime_config.hours")
  local every = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" }

  local function open(days, from, to, zone, moment)
    return (hours.open({ enabled = true, days = days, start_time = from, end_time = to }, zone,
      times.parse(moment)))
  end

  it("begin with the first minute and end before the last", function()
    assert.is_false(open(every, "09:00", "18:00", "UTC", "2026-04-24T08:59:59Z"))
    assert.is_true(open(every, "09:00", "18:00", "UTC", "2026-04-24T09:00:00Z"))
    assert.is_true(open(every, "09:00", "18:00", "UTC", "2026-04-24T17:59:59Z"))
    assert.is_false(open(every, "09:00", "18:00", "UTC", "2026-04-24T18:00:00Z"))
  end)

  it("over midnight belong to the day they began on", function()
    local friday = { "fri" }
    assert.is_true(open(friday, "22:00", "06:00", "UTC", "2026-04-24T22:00:00Z"))
    assert.is_true(open(friday, "22:00", "06:00", "UTC", "2026-04-25T05:59:59Z"))
    assert.is_false(open(friday, "22:00", "06:00", "UTC", "2026-04-25T06:00:00Z"))
    assert.is_false(open(friday, "22:00", "06:00", "UTC", "2026-04-24T05:00:00Z"))
    assert.is_false(open(friday, "22:00", "06:00", "UTC", "2026-04-25T22:00:00Z"))
  end)

  it("are of the bot's zone, and of UTC when that is unknown", function()
    assert.is_true(open(every, "09:00", "18:00", "Asia/Kolkata", "2026-04-24T03:30:00Z"))
    assert.is_false(open(every, "09:00", "18:00", "Asia/Kolkata", "2026-04-24T03:29:59Z"))
    assert.is_true(open(every, "09:00", "18:00", "Mars/Base", "2026-04-24T09:00:00Z"))
  end)

  it("follow the wall clock on the day it jumps", function()
    assert.is_false(open(every, "03:00", "04:00", "Europe/Berlin", "2026-03-29T00:59:59Z"))
    assert.is_true(open(every, "03:00", "04:00", "Europe/Berlin", "2026-03-29T01:00:00Z"))
    assert.is_false(open(every, "02:00", "03:00", "Europe/Berlin", "2026-03-29T01:00:00Z"))
  end)

  it("are right in each minute of the days on which the clock jumps", function()
    -- Europe/Berlin: 02:00 → 03:00 at 2026-03-29T01:00Z, 03:00 → 02:00 at 2026-10-25T01:00Z.
    for _, case in ipairs({
      { "2026-03-29", "01:30", "03:30", { 30, 90 }, { 1410, 1440 } },
      { "2026-03-29", "02:00", "03:00" },
      { "2026-03-29", "22:00", "06:00", { 0, 240 }, { 1200, 1440 } },
      { "2026-10-25", "02:00", "03:00", { 0, 120 } },
      { "2026-10-25", "01:30", "02:30", { 0, 30 }, { 60, 90 } },
      { "2026-10-25", "22:00", "06:00", { 0, 300 }, { 1260, 1440 } },
    }) do
      local midnight = times.parse(case[1] .. "T00:00:00Z")
      local window = { enabled = true, days = every, start_time = case[2], end_time = case[3] }
      for minute = 0, 1439 do
        local expected = false
        for i = 4, #case do
          expected = expected or (minute >= case[i][1] and minute < case[i][2])
        end
        local is = hours.open(window, "Europe/Berlin", midnight + minute * 60000)
        assert.equal(expected, is, ("%s %s-%s, minute %d"):format(case[1], case[2], case[3], minute))
      end
    end
  end)

  it("that are off are always open", function()
    assert.is_true(hours.open(nil, "UTC", 0))
    assert.is_true(hours.open({ enabled = false }, "UTC", 0))
  end)
end)

describe("the configuration of a call", function()
  local config, app

  before_each(function()
    api.install()
    config = require("services.runtime_config")
    app = api.app()
    assert(app.store:insert("bots", {
      _id = "demo", name = "Demo", is_active = true, timezone = "Asia/Kolkata", flow = "demo",
      opening_message = "Hello {{call.name}}, {{name}}, {{nobody}}.",
      system_prompt = "Today is {{current_date}} {{system.current_time}}.",
    }))
  end)

  after_each(api.restore)

  local function build(event, bot)
    local text, err = config.build(app, bot or "demo", {
      caller_id = "+919876543210", stream_id = "st-1",
      connected_event = event and (type(event) == "string" and event or json.encode(event)),
    }, "http://x/api/v1/call-results")
    return text and assert(json.decode_object(text)), err
  end

  it("holds what the worker's contract requires, with the bot's defaults", function()
    local answer = assert(build({ callerId = "+919876543210", callDirection = "incoming" }))
    assert.matches("^%x+%-%x+%-7%x+%-%x+%-%x+$", answer.session_id)
    assert.same({ "demo", 1, "http://x/api/v1/call-results", "demo", 3, 600, true, "embedded", "rules" },
      { answer.bot_id, answer.bot_version, answer.webhook_url, answer.flow,
        answer.min_words_interruption, answer.max_call_duration_seconds, answer.recording_enabled,
        answer.stt.provider, answer.llm.provider })
    local text = json.encode(answer)
    assert.matches('"tools":%[%]', text)
    assert.matches('"flow_settings":{}', text)
    assert.matches('"transfer_numbers":{}', text)
  end)

  it("is each call's own beside what all of a bot have, and follows the bot and the keys", function()
    local settings, vault = require("services.system.settings"), require("services.identity.vault")
    function app.cache.subscribe() end -- a task of its own
    require("services.bots.cache").follow(app)
    local function key(text)
      assert(app.store:upsert("system_settings", { _id = "system" },
        { set = { api_keys = { deepgram = vault.seal(app, text) } } }))
      settings.drop(app)
    end
    key("key-one")
    assert(app.store:insert("bots", { _id = "kept", name = "K", is_active = true,
      stt = { provider = "deepgram" }, system_prompt = "One.", opening_message = "Hi {{name}}.",
      pre_transfer_message = "Wait." }))
    local function told(name)
      local answer = build({ name = name }, "kept")
      return { answer.stt.api_key, answer.system_prompt, answer.opening_message,
        answer.pre_transfer_message, answer.variables["call.name"] }, answer.session_id
    end
    local one, first = told("a")
    local two, second = told("b")
    assert.same({ "key-one", "One.", "Hi a.", "Wait.", "a" }, one)
    assert.same({ "key-one", "One.", "Hi b.", "Wait.", "b" }, two)
    assert.not_equal(first, second)
    key("key-two")
    assert.equal("key-two", told("a")[1])
    assert(app.store:update("bots", "kept", { set = { system_prompt = "Two {{name}}.",
      opening_message = "Ho.", pre_transfer_message = "Stay." } }))
    assert.same({ "key-two", "Two a.", "Ho.", "Stay.", "a" }, told("a"))
    assert.same({ "key-two", "Two b.", "Ho.", "Stay.", "b" }, told("b"))
  end)

  it("names each field once", function()
    assert(app.store:insert("bots", { _id = "b2", name = "B", is_active = true,
      system_prompt = "P {{name}}", callback_prompt_injection = true, prompt_parts = {
        mode = "direct", static_system_prompt = "S", dynamic_runtime_prompt = "D {{name}}" } }))
    assert(app.store:insert("bots", { _id = "b3", name = "B", is_active = true,
      system_prompt = "P", prompt_parts = { mode = "legacy" } }))
    for _, bot in ipairs({ "demo", "b2", "b3" }) do
      local text = config.build(app, bot, {}, "http://x")
      local rest, seen = text:gsub('\\.', ""), {}
      local depth = 0
      for mark, name, colon in rest:gmatch('([{}%[%]]?)"?([^"{}%[%]]*)"?(:?)') do
        depth = depth + ((mark == "{" or mark == "[") and 1 or mark ~= "" and -1 or 0)
        if depth == 1 and colon == ":" then
          assert.is_nil(seen[name], name)
          seen[name] = true
        end
      end
      assert.is_true(seen.session_id and seen.system_prompt and seen.stt)
    end
  end)

  it("renders texts in one pass and leaves unknown names visible", function()
    local answer = build({ name = "{{nobody}}", _mock_crm = { name = "Asha" } })
    assert.equal("Hello {{nobody}}, Asha, {{nobody}}.", answer.opening_message)
    assert.equal("Today is 2026-04-24 14:30.", answer.system_prompt)
  end)

  it("of every kind has the documented fields, as the worker reads them", function()
    assert(app.store:insert("bots", { _id = "policy", name = "P", is_active = true,
      conversation_policy = { type = "collection_recovery" } }))
    local campaign = assert(app.store:insert("campaigns", { name = "c", bot_id = "demo",
      status = "running", number_pool = {}, run_number = 1, config = {} }))
    assert(app.store:insert("calls", { _id = "t9", call_type = "test", status = "in_progress",
      started_at = 1, test = { variables = { name = "Mia" } } }))
    for kind, answer in pairs({ plain = build({}), policy = build({}, "policy"),
      campaign = build({ _campaign_id = campaign._id, _campaign_session_id = "c9" }),
      test = build({ _campaign_session_id = "t9" }) }) do
      local sent = json.decode(json.encode(answer))
      for _, name in ipairs({ "session_id", "bot_id", "bot_version", "webhook_url", "system_prompt",
        "opening_message", "timezone", "flow", "flow_settings", "variables",
        "min_words_interruption", "max_call_duration_seconds", "tools", "transfer_numbers",
        "transfer_targets", "post_call_cache_enabled",
        "post_call_cache_version", "callback_detection_enabled", "recording_enabled", "stt", "llm",
        "tts" }) do
        assert(sent[name] ~= nil and sent[name] ~= json.null, kind .. " has no " .. name)
      end
      local read, field = require("cxb.core.botconfig").check(sent, false)
      assert(read, kind .. ": " .. tostring(field))
    end
  end)

  it("gives variables of call, CRM and clock, flat", function()
    local vars = build({ name = "Ravi", plan = { tier = 2 }, _mock_crm = { name = "Asha" } }).variables
    assert.same({ "Ravi", 2, "Asha", "14:30", "Asia/Kolkata" }, { vars["call.name"],
      vars["call.plan.tier"], vars["crm.name"], vars["system.current_time"],
      vars["system.timezone"] })
  end)

  it("leaves a skeleton behind, without the platform's flags", function()
    local answer = build({ callDirection = "outgoing", did = "+911", _campaign_id = "c1",
      _campaign_attempt = 2, _skip_post_push = true, _secret = 1, sip_candidate_headers = {} })
    local call = assert(app.store:get("calls", answer.session_id))
    assert.same({ "in_progress", "bot", "demo", "outgoing", "st-1", "+919876543210", "c1", 2, true,
      api.now }, { call.status, call.call_type, call.bot_id, call.direction, call.stream_id,
      call.caller_id, call.campaign_id, call.campaign_attempt, call.skip_post_push,
      call.started_at })
    assert.same({ callDirection = "outgoing", did = "+911" }, call.connected_event)
    assert.is_nil(answer.variables["call._secret"])
  end)

  it("takes the session a campaign chose, and no other thing for one", function()
    assert.equal("camp-1", build({ _campaign_session_id = "camp-1" }).session_id)
    assert.not_equal("a/b", build({ _campaign_session_id = "a/b" }).session_id)
    assert.truthy(build({ _campaign_session_id = 5 }).session_id)
  end)

  it("has no key of settings that were changed while they were read", function()
    local settings, vault = require("services.system.settings"), require("services.identity.vault")
    local function key(text)
      assert(app.store:upsert("system_settings", { _id = "system" },
        { set = { api_keys = { deepgram = vault.seal(app, text) } } }))
      settings.drop(app)
    end
    assert(app.store:insert("bots", { _id = "paid", name = "P", is_active = true,
      stt = { provider = "deepgram" } }))
    key("key-one")
    local get, changed = app.store.get, false
    function app.store.get(store, collection, ...)
      local doc, err = get(store, collection, ...)
      if collection == "system_settings" and not changed then
        changed = true
        key("key-two")
      end
      return doc, err
    end
    assert.equal("key-one", build(nil, "paid").stt.api_key)
    assert.equal("key-two", build(nil, "paid").stt.api_key)
  end)

  it("takes anything that is not an object for an empty event", function()
    for _, text in ipairs({ "", "[]", "7", "{", "null", '"x"', '{"a":"\\u0000"}',
      '{"a":"\255"}' }) do
      assert.truthy(build(text), text)
    end
  end)

  it("is refused for a bot nobody has, an inactive one and a deleted one", function()
    assert(app.store:insert("bots", { _id = "off", name = "x", is_active = false }))
    assert(app.store:insert("bots", { _id = "gone", name = "x", is_active = true, deleted_at = 1 }))
    for _, id in ipairs({ "nobody", "off", "gone" }) do
      local _, err = build(nil, id)
      assert.same({ 404, "unknown_bot" }, { err.status, err.code })
    end
  end)

  it("is refused outside the bot's hours, and no call is made", function()
    assert(app.store:insert("bots", { _id = "night", name = "x", is_active = true,
      active_hours = { enabled = true, start_time = "22:00", end_time = "06:00" } }))
    local _, err = build(nil, "night")
    assert.equal(503, err.status)
    assert.matches("^outside_active_hours: ", err.message)
    assert.equal(0, app.store:count("calls", {}))
  end)

  it("is refused when a paid provider has no key", function()
    assert(app.store:insert("bots", { _id = "paid", name = "x", is_active = true,
      stt = { provider = "deepgram" } }))
    local _, err = build(nil, "paid")
    assert.same({ 503, "provider_key_missing" }, { err.status, err.code })
  end)

  it("names the field of a bot that was stored wrong", function()
    assert(app.store:insert("bots", { _id = "bad", name = "x", is_active = true,
      max_call_duration_seconds = 5 }))
    local _, err = build(nil, "bad")
    assert.same({ 503, "max_call_duration_seconds" }, { err.status, err.fields[1].path })
  end)

  it("of a test call knows its variables and CRM by the session", function()
    assert(app.store:insert("calls", { _id = "t1", call_type = "test", status = "in_progress",
      started_at = 1, skip_post_push = true,
      test = { variables = { name = "Mia" }, mock_crm = { name = "Asha" } } }))
    local answer = build({ _campaign_session_id = "t1" })
    assert.equal("Hello Mia, Asha, {{nobody}}.", answer.opening_message)
    local call = app.store:get("calls", "t1")
    assert.same({ "test", true, api.now }, { call.call_type, call.skip_post_push, call.started_at })
  end)

  it("does not reopen a call whose result is already there", function()
    assert(app.store:insert("calls", { _id = "r1", call_type = "bot", status = "completed",
      started_at = 1, bot_id = "other" }))
    assert(build({ _campaign_session_id = "r1" }))
    local call = app.store:get("calls", "r1")
    assert.same({ "completed", 1, "other", "st-1" }, { call.status, call.started_at, call.bot_id,
      call.stream_id })
  end)
end)
