-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")

describe("the texts of a call", function()
  local config, app, campaign

  before_each(function()
    api.install()
    config = require("services.runtime_config")
    app = api.app()
    campaign = assert(app.store:insert("campaigns", { name = "c", bot_id = "b", status = "running",
      number_pool = {}, run_number = 1, config = { callback_detection = { enabled = true } } }))
  end)

  after_each(api.restore)

  local function bot(fields)
    fields._id, fields.name, fields.is_active = "b", "B", true
    assert(app.store:insert("bots", fields))
  end

  local function build(event)
    return json.decode(assert(config.build(app, "b", { connected_event = json.encode(event or {}) },
      "http://x")))
  end

  it("hold the policy of the bot with what is known of the caller", function()
    bot({ system_prompt = "You are Tara.", opening_message = "About {{policy.overdue_amount}}.",
      conversation_policy = { type = "collection_recovery" } })
    local answer = build({ _mock_crm = { overdue_amount = "5000", CUSTOMER_NAME = "Asha",
      CUSTOMER_NAME_HI = "आशा" } })
    assert.matches("^You are Tara%.\n", answer.system_prompt)
    assert.truthy(answer.system_prompt:find("पाँच हज़ार रुपये", 1, true))
    assert.truthy(answer.system_prompt:find("in Hindi: आशा", 1, true))
    assert.equal("About ₹5,000.", answer.opening_message)
    assert.equal("collection_recovery", answer.conversation_policy.type)
  end)

  it("offer callbacks only when both the campaign and the bot want them", function()
    bot({ system_prompt = "P", callback_prompt_injection = true })
    local event = { _campaign_id = campaign._id, callback_time_text = "kal shaam" }
    local answer = build(event)
    assert.is_true(answer.callback_detection_enabled)
    assert.matches("## Callbacks", answer.system_prompt)
    assert.matches("asked for %(kal shaam%)", answer.system_prompt)
    local without = { build({}), build({ _campaign_id = "cmp_nobody" }) }
    app.store:update("campaigns", campaign._id, { set = { ["config.callback_detection.enabled"] =
      false } })
    without[3] = build(event)
    app.store:update("campaigns", campaign._id, { set = { ["config.callback_detection.enabled"] =
      true } })
    app.store:update("bots", "b", { set = { callback_prompt_injection = false } })
    without[4] = build(event)
    for _, one in ipairs(without) do
      assert.same({ false, "P" }, { one.callback_detection_enabled, one.system_prompt })
    end
  end)

  it("in direct mode keep the lasting block as it is and fill in the changing one", function()
    bot({ callback_prompt_injection = true, prompt_parts = { mode = "direct", cache_enabled = true,
      static_system_prompt = "STATIC {{call.name}}",
      dynamic_runtime_prompt = "For {{call.name}}." } })
    local parts = build({ name = "Asha", _campaign_id = campaign._id }).prompt_parts
    assert.equal("STATIC {{call.name}}", parts.static_system_prompt)
    assert.matches("^For Asha%.\n\n## Callbacks", parts.dynamic_runtime_prompt)
    assert.matches("^%x+$", parts.static_version)
    app.store:update("bots", "b", { set = { ["prompt_parts.cache_enabled"] = false } })
    assert.equal("STATIC Asha", build({ name = "Asha" }).prompt_parts.static_system_prompt)
  end)

  it("of a bot with a policy have no parts that could be kept", function()
    bot({ conversation_policy = { type = "collection_pre_due" },
      prompt_parts = { mode = "direct", cache_enabled = true, static_system_prompt = "S" } })
    assert.is_nil(build().prompt_parts)
  end)

  it("leave names that exist only after the call to the worker", function()
    bot({ post_call_analysis_prompt = "{{call.name}}: {{result.transcript}}" })
    assert.equal("Asha: {{result.transcript}}",
      build({ name = "Asha" }).post_call_analysis_prompt)
  end)

  it("carry a version of the raw post-call templates", function()
    bot({ post_call_analysis_prompt = "{{call.name}}", qc_prompt = "Q" })
    local one, two = build({ name = "a" }), build({ name = "b" })
    assert.matches("^%x+$", one.post_call_cache_version)
    assert.equal(one.post_call_cache_version, two.post_call_cache_version)
    app.store:update("bots", "b", { set = { qc_prompt = "R" } })
    assert.not_equal(one.post_call_cache_version, build().post_call_cache_version)
  end)
end)

describe("the SIP headers of a call", function()
  local variables = require("services.runtime_config.variables")
  local given = { ["X-Account-Id"] = "77", ["X-Other"] = "a\r\nb", ["P-Asserted-Identity"] = "x" }

  it("reach a bot only as far as it asks", function()
    assert.same({}, variables.sip_headers(given, nil))
    assert.same({}, variables.sip_headers(given, { mode = "none", names = { "X-Other" } }))
    assert.same({}, variables.sip_headers(nil, { mode = "all" }))
    local event, headers = variables.sip_headers(given, { mode = "list",
      names = { "x-account-id", "x-nobody" } })
    assert.same({ sip_header_x_account_id = "77", sip_headers_json = '{"X-Account-Id":"77"}' },
      event)
    assert.same({ ["X-Account-Id"] = "77" }, headers)
    event = variables.sip_headers(given, { mode = "all" })
    assert.equal("a  b", event.sip_header_x_other)
    assert.equal("x", event.sip_header_p_asserted_identity)
  end)

  it("are no more than 64, and values that are no text are dropped", function()
    local many = { bad = 7, worse = {} }
    for i = 1, 100 do
      many["h" .. i] = ("v"):rep(5000)
    end
    local _, headers = variables.sip_headers(many, { mode = "all" })
    local n = 0
    for _, value in pairs(headers) do
      n = n + 1
      assert.equal(1024, #value)
    end
    assert.equal(64, n)
  end)
end)

describe("a test call", function()
  it("runs the flow's draft when it was asked to, and no other call does", function()
    api.install()
    local config, app = require("services.runtime_config"), api.app()
    assert(app.store:insert("bots", { _id = "b", name = "B", is_active = true, flow = "mine" }))
    assert(app.store:insert("flows", { name = "mine", active_version = 3,
      draft = { source = "return function() end", by = "x", at = 1 } }))
    local function source(session, test)
      assert(app.store:insert("calls", { _id = session, call_type = "test", status = "in_progress",
        started_at = 1, test = test }))
      local answer = json.decode(assert(config.build(app, "b", {
        connected_event = json.encode({ _campaign_session_id = session }) }, "http://x")))
      assert.equal(3, answer.flow_version)
      return answer.flow_source
    end
    assert.equal("return function() end", source("t1", { use_draft = true }))
    assert.is_nil(source("t2", {}))
    assert.is_nil(json.decode(config.build(app, "b", {}, "http://x")).flow_source)
    api.restore()
  end)
end)
