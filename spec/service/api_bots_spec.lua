-- stores: both
local FleetHost = require("support.fleet_host")
local json = require("cxb.json")
local process = require("support.api_process")
local support = require("support.world")
local url = require("cxb.url")

describe("bots", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function ask(verb, path, body, headers)
    return api:ask(verb, "/api/v1/bots" .. path, { body = body, headers = headers })
  end

  local function make(fields)
    fields.name = fields.name or "Reception"
    local made = ask("POST", "", fields)
    assert.equal(201, made.status, made.body)
    return made.answer
  end

  it("are made, read, changed and listed", function()
    local bot = make({ name = "Zahnarzt Berlin", opening_message = "Hallo {{crm.name}}",
      active_hours = { enabled = true, start_time = "22:00", end_time = "06:00" },
      re_engagement = { messages = { "Still there?" } } })
    assert.matches("^bot_%x+$", bot.id)
    assert.same({ "assistant", true, 7, "embedded", 3, true, 1 }, { bot.flow, bot.is_active,
      #bot.active_hours.days, bot.stt.provider, bot.min_words_interruption, bot.dnc_auto,
      bot.version })
    local changed = ask("PUT", "/" .. bot.id, { opening_message = "Guten Tag",
      min_words_interruption = 0 })
    assert.same({ 200, "Guten Tag", 0, 2 }, { changed.status, changed.answer.opening_message,
      changed.answer.min_words_interruption, changed.answer.version })
    local read = ask("GET", "/" .. bot.id)
    assert.same({ "Guten Tag", "22:00" }, { read.answer.opening_message,
      read.answer.active_hours.start_time })
    assert.equal(changed.headers.etag, read.headers.etag)
    changed = ask("PUT", "/" .. bot.id, { min_words_interruption = json.null })
    assert.equal(3, changed.answer.min_words_interruption)
    local found = ask("GET", "?q=zahnARZT").answer
    assert.same({ 1, bot.id, nil }, { found.total, found.items[1].id,
      found.items[1].opening_message })
    assert.equal(0, ask("GET", "?q=nobody-has-this").answer.total)
    assert.equal(404, ask("GET", "/bot_nobody").status)
  end)

  it("are not overwritten by who has not seen the last change", function()
    local bot = make({})
    local etag = ask("GET", "/" .. bot.id).headers.etag
    assert.equal(200, ask("PUT", "/" .. bot.id, { description = "a" }, { ["if-match"] = etag })
      .status)
    local refused = ask("PUT", "/" .. bot.id, { description = "b" }, { ["if-match"] = etag })
    assert.same({ 409, "version_conflict", "a" }, { refused.status, refused.answer.error,
      refused.answer.current.description })
    assert.equal(200, ask("PUT", "/" .. bot.id, { description = "c" }).status)
  end)

  it("name all that is wrong with them at once", function()
    local function wrong(fields)
      fields.name = fields.name or "x"
      local answer = ask("POST", "", fields)
      assert.equal(422, answer.status)
      local paths = {}
      for _, field in ipairs(answer.answer.fields) do
        paths[#paths + 1] = field.path .. " " .. field.rule
      end
      return paths
    end
    assert.same({ "max_call_duration_seconds range", "min_words_interruption range",
      "nonsense unknown_field", "opening_message length", "stt.api_key unknown_field" }, wrong({
        max_call_duration_seconds = 5, min_words_interruption = 11, nonsense = 1,
        opening_message = ("x"):rep(4001), stt = { provider = "deepgram", api_key = "k" } }))
    assert.same({ "flow unknown_flow", "llm provider", "tools[0].name format",
      "tools[1].function.name reserved", "tools[2].parameters.properties.x.type json_schema",
      "tools[3].http.timeout_ms range", "tools[3].name unique" }, wrong({ flow = "nobody",
        llm = { provider = "openai" }, tools = {
          { name = "Get" }, { type = "function", ["function"] = { name = "end_call" } },
          { name = "a", parameters = { type = "object", properties = { x = { type = "foo" } } } },
          { name = "a", http = { url = "{{crm.base}}/x", timeout_ms = 50 } } } }))
    assert.same({ "transfer_targets[0].type transfer_target",
      "transfer_targets[1].value transfer_target", "transfer_targets[2].type transfer_target",
      "transfer_targets[4].id unique", "transfer_targets[4].is_default unique" },
      wrong({ transfer_targets = {
        { method = "livekit_sip_refer", type = "extension", value = "1" },
        { method = "livekit_sip_refer", type = "sip_uri", value = "tel:+91" },
        { method = "agent_desk", type = "phone_number", value = "+91" },
        { id = "a", method = "agent_desk", type = "agent_queue", is_default = true },
        { id = "a", method = "livekit_sip_refer", type = "tel_uri", value = "tel:+911",
          is_default = true } } }))
    assert.same({ "active_hours.start_time format", "crm_prefetch.url required",
      "knowledge_top_k range", "widget_allowed_origins[0] rule" }, (function()
        local list = wrong({ active_hours = { start_time = "25:00" }, knowledge_top_k = 11,
          widget_allowed_origins = { "example.org/x" } })
        local more = wrong({ crm_prefetch = { enabled = true } })
        table.insert(list, 2, more[1])
        return list
      end)())
  end)

  it("keep each version of their content, and go back to one as a new one", function()
    local bot = make({ system_prompt = "one", qc_prompt = "q" })
    ask("PUT", "/" .. bot.id, { system_prompt = "two", description = "new" })
    local list = ask("GET", "/" .. bot.id .. "/versions").answer
    assert.same({ 2, 2, 1, process.ADMIN }, { list.total, list.items[1].version,
      list.items[2].version, list.items[1].by })
    assert.equal("one", ask("GET", "/" .. bot.id .. "/versions/1").answer.bot.system_prompt)
    assert.equal(404, ask("GET", "/" .. bot.id .. "/versions/9").status)
    assert.equal(404, ask("GET", "/" .. bot.id .. "/versions/x").status)
    local back = ask("POST", "/" .. bot.id .. "/rollback", { version = 1 })
    assert.same({ 200, 3, "one", "q" }, { back.status, back.answer.version,
      back.answer.system_prompt, back.answer.qc_prompt })
    assert.is_nil(back.answer.description)
    assert.equal(404, ask("POST", "/" .. bot.id .. "/rollback", { version = 7 }).status)
  end)

  it("are not another version when nothing of them changes", function()
    local bot = make({ opening_message = "One", tools = {}, vad = { stop_secs = 0.5 } })
    local first = ask("PUT", "/" .. bot.id, { vad = { stop_secs = 0.5 } })
    for _, same in ipairs({ {}, { opening_message = "One" }, { vad = { stop_secs = 0.5 } },
      { description = json.null }, { tools = {} } }) do
      local answer = ask("PUT", "/" .. bot.id, same)
      assert.same({ 200, first.answer.version, first.headers.etag }, { answer.status,
        answer.answer.version, answer.headers.etag })
    end
    assert.equal(first.answer.version + 1,
      ask("PUT", "/" .. bot.id, { opening_message = "Two" }).answer.version)
    assert.equal(409, ask("PUT", "/" .. bot.id, {}, { ["if-match"] = first.headers.etag }).status)
  end)

  it("are copied without what belongs to their calls and keys", function()
    local bot = make({ name = "Original", system_prompt = "P" })
    assert.equal(200, ask("POST", "/" .. bot.id .. "/widget-key").status)
    local copy = ask("POST", "/" .. bot.id .. "/clone")
    assert.same({ 201, "Original (copy)", "P", 1 }, { copy.status, copy.answer.name,
      copy.answer.system_prompt, copy.answer.version })
    assert.not_equal(bot.id, copy.answer.id)
    assert.equal(json.null, copy.answer.widget_api_key)
    assert.equal("Twin", ask("POST", "/" .. bot.id .. "/clone", { name = "Twin" }).answer.name)
  end)

  it("show a widget key once and masked ever after", function()
    local bot = make({})
    local made = ask("POST", "/" .. bot.id .. "/widget-key").answer.widget_api_key
    assert.matches("^wk_[%w_-]+$", made)
    assert.equal(35, #made)
    local shown = ask("GET", "/" .. bot.id)
    assert.equal(made:sub(1, 4) .. "••••••" .. made:sub(-4), shown.answer.widget_api_key)
    local again = ask("POST", "/" .. bot.id .. "/widget-key").answer.widget_api_key
    assert.not_equal(made, again)
  end)

  it("keep the secrets that sign their pushes sealed, and those sent back masked", function()
    local bot = make({ post_call_push = { url = "https://93.184.216.34/x",
      signing_secrets = { "whsec_first-of-the-secrets" } } })
    local masked = bot.post_call_push.signing_secrets[1]
    assert.equal("whse••••••rets", masked)
    local changed = ask("PUT", "/" .. bot.id, { post_call_push = { url = "https://93.184.216.34/x",
      signing_secrets = { masked, "whsec_second-of-the-secrets" } } })
    assert.same({ masked, masked }, changed.answer.post_call_push.signing_secrets)
    for _, name in ipairs(cxb.fs.list(api.dir .. "/state")) do
      local text = cxb.fs.read(api.dir .. "/state/" .. name) or ""
      assert.is_nil(text:find("of-the-secrets", 1, true), name)
    end
  end)

  it("warn of what is doubtful though it may be saved", function()
    local bot = make({ timezone = "Mars/Base", stt = { provider = "deepgram" },
      opening_message = "{{nope.x}} {{system.moon}} {{crm.name}} {{policy.due_date}}",
      conversation_policy = { type = "taxes" } })
    local codes = {}
    for i, warning in ipairs(bot.warnings) do
      codes[i] = warning.code .. " " .. warning.path
    end
    table.sort(codes)
    assert.same({ "empty_prompt system_prompt", "provider_key_missing stt",
      "unknown_policy conversation_policy.type", "unknown_timezone timezone",
      "unknown_variable opening_message", "unknown_variable opening_message",
      "unknown_variable opening_message" }, codes)
    assert.same({}, make({ system_prompt = "P" }).warnings)
  end)

  it("have a model that answers when they are made, and warn of one that could not", function()
    local bot = make({ system_prompt = "P" })
    assert.same({ "rules", "assistant", {} }, { bot.llm.provider, bot.llm.model, bot.warnings })
    assert.truthy(cxb.fs.stat(cxb.root .. "/lua/bots/" .. bot.llm.model .. ".rules.json"))
    local mute = make({ system_prompt = "P", llm = { provider = "rules" } })
    assert.same({ "no_rules", "llm.model" }, { mute.warnings[1].code, mute.warnings[1].path })
    assert.same({}, make({ system_prompt = "P", llm = { provider = "rules",
      extra = { rules = { rules = {} } } } }).warnings)
  end)

  it("warn of a push that tells its receiver nothing", function()
    local push = { enabled = true, url = "https://93.184.216.34/x" }
    local bot = make({ system_prompt = "P", post_call_push = push })
    assert.same({ { code = "empty_push", path = "post_call_push.key_mapper",
      message = "The CRM is sent an empty object." } }, bot.warnings)
    push.key_mapper = { id = "{{result.call_id}}", more = { "{{analysis.X}} {{result.transfer_at}}" } }
    assert.same({}, make({ system_prompt = "P", post_call_push = push }).warnings)
    push.key_mapper = { id = "{{result.id}}", more = { { "{{results.call_id}}" } } }
    local names = {}
    for i, warning in ipairs(make({ system_prompt = "P", post_call_push = push }).warnings) do
      assert.same({ "unknown_variable", "post_call_push.key_mapper" }, { warning.code, warning.path })
      names[i] = warning.message
    end
    assert.same({ "No call has {{result.id}}.", "No call has {{results.call_id}}." }, names)
  end)

  it("send no header that would frame their requests anew or break their lines", function()
    local address = "https://93.184.216.34/x"
    local refused = ask("POST", "", { name = "Headers",
      post_call_push = { url = address, headers = { ["Content-Length"] = "3", ["X-Ok"] = "a" } },
      crm_prefetch = { url = address, headers = { ["bad name"] = "x", Host = "h" } },
      tools = { { name = "look", http = { url = address, headers = { A = "b\r\nC: d" } } } } })
    local paths = {}
    for i, field in ipairs(refused.answer.fields) do
      paths[i] = field.rule .. " " .. field.path
    end
    assert.same({ 422, { "header crm_prefetch.headers.Host",
      "header crm_prefetch.headers.bad name", "header post_call_push.headers.Content-Length",
      "header tools[0].http.headers.A" } }, { refused.status, paths })
  end)

  it("show their prompts as a call would have them", function()
    local bot = make({ system_prompt = "For {{crm.name}} {{nobody}} on {{call.x}}",
      conversation_policy = { type = "collection_pre_due" }, opening_message = "Hi {{name}}" })
    local shown = ask("POST", "/" .. bot.id .. "/preview-prompt", { variables = { x = 7 },
      crm = { name = "Asha", emi_amount = 500 } }).answer
    assert.matches("^For Asha {{nobody}} on 7\n", shown.system_prompt)
    assert.truthy(shown.system_prompt:find("पाँच सौ रुपये", 1, true))
    assert.same({ "Hi Asha", { "nobody" } }, { shown.opening_message, shown.unresolved })
  end)

  it("are deleted for operators and calls to come, while their calls keep their name", function()
    local bot = make({})
    assert.equal(204, ask("DELETE", "/" .. bot.id).status)
    assert.equal(404, ask("GET", "/" .. bot.id).status)
    assert.equal(404, ask("PUT", "/" .. bot.id, { name = "x" }).status)
    assert.equal(404, ask("DELETE", "/" .. bot.id).status)
    assert.equal(404, api:ask("GET", "/api/v1/config/" .. bot.id).status)
  end)

  it("are not deleted while campaigns or numbers need them; those are told", function()
    local bot = make({ name = "Needed" })
    local campaign = api:ask("POST", "/api/v1/campaigns", { body = { name = "Spring",
      bot_id = bot.id } })
    assert.equal(201, campaign.status, campaign.body)
    local carrier = api:ask("POST", "/api/v1/carriers", { body = { name = "C",
      sip_address = "sip.example.org", destination_country = "IN" } })
    assert.equal(201, carrier.status, carrier.body)
    local did = api:ask("POST", "/api/v1/carriers/" .. carrier.answer.id .. "/dids",
      { body = { number = "+912212345678", direction = "inbound", bot_id = bot.id } })
    assert.equal(201, did.status, did.body)
    local refused = ask("DELETE", "/" .. bot.id)
    assert.same({ 409, "bot_in_use", campaign.answer.id, "+912212345678" }, { refused.status,
      refused.answer.error, refused.answer.campaigns[1].id, refused.answer.dids[1].number })
    assert.equal("+912212345678", ask("GET", "/" .. bot.id).answer.dids[1].number)
    assert.equal(204, api:ask("DELETE", "/api/v1/campaigns/" .. campaign.answer.id).status)
    assert.equal(204, api:ask("DELETE", "/api/v1/carriers/" .. carrier.answer.id .. "/dids/"
      .. did.answer.id).status)
    assert.equal(204, ask("DELETE", "/" .. bot.id).status)
  end)

  it("say where carriers reach them, and are tested by telephone", function()
    local bot = make({ name = "Tested" })
    assert.same({ ws_url = "wss://localhost/ws/" .. bot.id,
      exotel_url = "wss://localhost/exotel/" .. bot.id }, ask("GET", "/" .. bot.id .. "/wss-url")
      .answer)
    local host = FleetHost.new(world)
    host:register(api)
    assert.equal(("ws://127.0.0.1:%d/ws/%s"):format(host.port, bot.id),
      ask("GET", "/" .. bot.id .. "/wss-url").answer.ws_url)
    local test = ask("POST", "/" .. bot.id .. "/test-call", { kind = "phone",
      to_number = "+919812345678", variables = { name = "Mia" }, mock_crm = { plan = "gold" } })
    assert.same({ 200, "ok", "c-1" }, { test.status, test.answer.status, test.answer.call_id })
    local sent = host:asked("/livekit/dialout")[1].sent
    assert.same({ bot.id, "+919812345678", test.answer.session_id, true }, { sent.bot_id,
      sent.to_number, sent.connected_event._campaign_session_id,
      sent.connected_event._skip_post_push })
    local config = api:ask("GET", ("/api/v1/config/%s?connected_event=%s"):format(bot.id,
      url.escape(json.encode(sent.connected_event)))).answer
    assert.same({ test.answer.session_id, "Mia", "gold" }, { config.session_id,
      config.variables["call.name"], config.variables["crm.plan"] })
    assert.equal(422, ask("POST", "/" .. bot.id .. "/test-call", { kind = "phone" }).status)
    host:answer("/livekit/dialout", 500, {})
    local failed = ask("POST", "/" .. bot.id .. "/test-call", { kind = "phone",
      to_number = "+919812345678" })
    assert.equal(500, failed.status)
    local calls = api:ask("GET", "/api/v1/calls?call_type=test&status=failed&bot_id=" .. bot.id)
    assert.equal(1, #calls.answer.items)
    host:silence()
  end)

  it("may be changed by administrators only", function()
    assert.equal(401, api:ask("GET", "/api/v1/bots", { secret = false }).status)
    assert.equal(401, api:ask("POST", "/api/v1/bots", { secret = false, body = { name = "x" } })
      .status)
  end)
end)
