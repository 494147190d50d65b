-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")

describe("a result", function()
  local results, app

  before_each(function()
    api.install()
    results = require("services.results")
    app = api.app()
  end)

  after_each(api.restore)

  local function post(payload)
    local body = type(payload) == "string" and payload or json.encode(payload)
    local answer, err = results.ingest(app, body, json.decode_object(body))
    assert(answer, err and err.message)
    return answer
  end

  local function stored(id)
    return assert(app.store:get("calls", id or "s1"))
  end

  local function warned(answer)
    local out = {}
    for i, warning in ipairs(answer.warnings) do
      out[i] = warning.path .. ":" .. warning.rule
    end
    return table.concat(out, " ")
  end

  it("makes a call when there is no skeleton", function()
    local answer = post({
      session_id = "s1", bot_id = "demo", caller_id = "+919876543210", disconnected_by = "customer",
      call_direction = "incoming", started_at = "2026-04-24T08:59:00.000Z",
      ended_at = "2026-04-24T08:59:30.000Z", call_duration_seconds = 29.5,
      post_call_analysis = { DISPOSITION = "Answered", SUB_DISPOSITION = "Info" },
    })
    assert.is_false(answer.duplicate)
    local call = stored()
    assert.same({ "completed", "bot", "incoming", "0123456789" .. "19", "Answered", "Info" },
      { call.status, call.call_type, call.direction, call.number_rev, call.disposition,
        call.sub_disposition })
    assert.equal(1777021140000, call.started_at)
    assert.equal(1777021170000, call.completed_at)
  end)

  it("takes its status from who ended the call", function()
    local expected = {
      bot = "completed", customer = "completed", voicemail = "voicemail", RNR = "completed",
      outside_hours = "completed", timeout = "completed", error = "failed", no_answer = "failed",
      rejected = "failed", transfer_to_agent = "completed",
    }
    for by, status in pairs(expected) do
      post({ session_id = by, disconnected_by = by })
      assert.equal(status, stored(by).status, by)
    end
  end)

  it("that comes again changes nothing", function()
    post({ session_id = "s1", disconnected_by = "bot" })
    local answer = post({ session_id = "s1", disconnected_by = "bot" })
    assert.is_true(answer.duplicate)
    assert.equal(1, stored().v)
  end)

  it("with another body merges, and blank never erases", function()
    post({ session_id = "s1", disconnected_by = "bot", error = "provider",
      transcript = { { text = "a" } } })
    local answer = post('{"session_id":"s1","disconnected_by":"customer","error":null,'
      .. '"transcript":null,"usage_metrics":{"tool_calls":1}}')
    assert.is_false(answer.duplicate)
    local call = stored()
    assert.same({ "customer", "provider", "a", 1 }, { call.disconnected_by, call.error,
      call.transcript[1].text, call.usage_metrics.tool_calls })
  end)

  it("is kept alike, whether what is large in it was taken apart or not", function()
    local request_body = require("services.web.body")
    local result_body = require("services.results.body")
    local texts = { "", "I'm — it’s No.5", "नमस्ते।आप", "a\nb\tC", '"q" \\ /', ("w"):rep(70), "ok OK ok" }
    local function one()
      return ({ { role = "user", text = texts[math.random(#texts)], data = { text = "not said" } },
        {}, { text = 7 }, { text = { "x" } } })[math.random(4)]
    end
    for i = 1, 60 do
      local sent = { session_id = "s", disconnected_by = "bot", qc_analysis = { score = i / 3 } }
      for _, name in ipairs({ "transcript", "events", "intents", "latency_samples" }) do
        sent[name] = json.array()
        for k = 1, math.random(0, 12) do
          sent[name][k] = math.random() < 0.5 and { text = texts[math.random(#texts)] } or one()
        end
      end
      sent.usage_metrics = ({ {}, json.array(), { 1 }, { a = 1 }, "x" })[math.random(5)]
      local calls, warnings = {}, {}
      for k, opaque in ipairs({ result_body.opaque, false }) do
        sent.session_id = ("s%d-%d"):format(i, k)
        local text = json.encode(sent)
        local answer = assert(results.ingest(app, text, request_body.parse(text, opaque or nil)))
        local call = stored(sent.session_id)
        warnings[k], calls[k] = answer.warnings, call
        for _, own in ipairs({ "_id", "result_hash", "created_at", "updated_at", "started_at",
          "completed_at" }) do
          call[own] = nil
        end
      end
      assert.same(calls[2], calls[1])
      assert.same(warnings[2], warnings[1])
    end
  end)

  local function parsed(text)
    return results.ingest(app, text,
      require("services.web.body").parse(text, require("services.results.body").opaque))
  end

  it("keeps the items of a list that are right, and the others apart with their place", function()
    local answer = assert(parsed('{"session_id":"s1","events":[{"a":1},7,null,{"b":2}],'
      .. '"transcript":["hm",{"text":"hello there"}],"latency_samples":[1],"intents":{"a":[]}}'))
    assert.equal("events[1]:type events[2]:type intents:type latency_samples[0]:type "
      .. "transcript[0]:type", warned(answer))
    local call = stored()
    assert.same({ { { a = 1 }, { b = 2 } }, { { text = "hello there" } }, { "hello", "there" } },
      { call.events, call.transcript, call.terms })
    assert.is_nil(call.latency_samples)
    assert.same({
      events = { { index = 1, value = 7 }, { index = 2, value = json.null } },
      transcript = { { index = 0, value = "hm" } }, latency_samples = { { index = 0, value = 1 } },
      intents = { a = {} },
    }, call.extra.rejected)
  end)

  it("with a list of nothing but wrong items is answered with a hundred of them", function()
    local answer = assert(parsed('{"session_id":"s1","disconnected_by":"bot","events":['
      .. ("1,"):rep(50000) .. "{}]}"))
    assert.same({ 101, "49900 more items are wrong and not kept" },
      { #answer.warnings, answer.warnings[1].message })
    local call = stored()
    assert.same({ "completed", { {} }, 100 },
      { call.status, call.events, #call.extra.rejected.events })
  end)

  it("is refused only without a usable session_id", function()
    for _, id in ipairs({ 7, "", ("x"):rep(65), "a/b", json.null, true }) do
      local _, err = results.ingest(app, "x", { session_id = id })
      assert.same({ 422, "session_id" }, { err.status, err.fields[1].path })
    end
    local _, err = results.ingest(app, "x", {})
    assert.equal(422, err.status)
  end)

  it("with one field of the wrong type keeps all others and says so", function()
    local schema = require("schemas.result")
    local wrong = {
      string = { 1 }, number = "x", integer = "x", boolean = "yes", array = { a = 1 }, object = "x",
    }
    local n = 0
    for name, property in pairs(schema.properties) do
      if name ~= "session_id" and property.type ~= "any" then
        n = n + 1
        local id = "w" .. n
        local answer = post({ session_id = id, [name] = wrong[property.type], qc = 5 })
        assert.equal(name, answer.warnings[1].path)
        local call = stored(id)
        if name ~= "started_at" then
          assert.is_nil(call[name], name)
        end
        assert.same({ wrong[property.type], 5 }, { call.extra.rejected[name], call.extra.qc })
      end
    end
    assert.is_true(n > 30)
  end)

  it("with a negative duration or a transcript that is no list is kept", function()
    local answer = post({ session_id = "s1", call_duration_seconds = -1, transcript = "hello",
      disconnected_by = "nobody", ended_at = "yesterday" })
    assert.equal("call_duration_seconds:range disconnected_by:enum ended_at:format transcript:type",
      warned(answer))
    assert.equal("completed", stored().status)
  end)

  it("keeps unknown fields, up to 64 KiB of them", function()
    local answer = post({ session_id = "s1", small = { 1, 2 }, large = ("x"):rep(65536) })
    assert.equal("large:too_large", warned(answer))
    assert.same({ 1, 2 }, stored().extra.small)
    post({ session_id = "s1", other = true })
    assert.same({ { 1, 2 }, true }, { stored().extra.small, stored().extra.other })
  end)

  it("keeps fields whatever their names", function()
    local names = { [""] = 0, ["$set"] = 1, ["a.b"] = 2, ["$"] = { ["$gt"] = "", ["."] = 3 } }
    local sent = { session_id = "s1", connected_event = names, transcript = { { text = "a",
      data = names } } }
    for name, value in pairs(names) do
      sent[name] = value
    end
    assert.is_false(post(sent).duplicate)
    sent.disconnected_by = "bot"
    assert.is_false(post(sent).duplicate)
    assert.same({ names, names, names }, { stored().extra, stored().connected_event,
      stored().transcript[1].data })
  end)

  it("keeps no more unknown fields of several than of one", function()
    assert.equal("", warned(post({ session_id = "s1", a = ("x"):rep(40000), small = 1 })))
    assert.equal("b:too_large",
      warned(post({ session_id = "s1", b = ("x"):rep(40000), small = 2 })))
    assert.same({ 40000, nil, 2 }, { #stored().extra.a, stored().extra.b, stored().extra.small })
  end)

  it("tells of a provider's cache in tokens, never in money", function()
    post({ session_id = "s1", llm_cache_summary = { enabled = true, statuses = { "hit" },
      cache_read_input_tokens = 40, cost_usd = 0.2, saved = { usd = 1 } } })
    assert.same({ enabled = true, statuses = { "hit" }, cache_read_input_tokens = 40 },
      stored().llm_cache_summary)
  end)

  it("cannot write what the API decides", function()
    post({ session_id = "s1", disconnected_by = "bot", status = "failed", v = 9, _id = "x",
      call_type = "agent", result_hash = "x", disposition = "Sold" })
    local call = stored()
    assert.same({ "completed", "bot", nil }, { call.status, call.call_type, call.disposition })
    assert.same({ 9, "x" }, { call.extra.v, call.extra._id })
    assert.equal("failed", call.extra.status)
  end)

  it("does not carry the platform's own flags of the connected event", function()
    post({ session_id = "s1", connected_event = { _campaign_id = "c", callerId = "+1" } })
    assert.same({ callerId = "+1" }, stored().connected_event)
  end)

  it("with a recording gets a token for it, the same one for ever", function()
    post({ session_id = "s1", recording_key = "recordings/2026/04/24/s1.wav" })
    local token = stored().recording_access_token
    assert.matches("^[%w_-]+$", token)
    assert.equal(32, #token)
    post({ session_id = "s1", recording_key = "recordings/2026/04/24/s1.wav", events = {} })
    assert.equal(token, stored().recording_access_token)
  end)

  it("with a token that no link can carry, or anybody guesses, gets another", function()
    for i, bad in ipairs({ "short", ("x"):rep(20) .. "/", ("x"):rep(129) }) do
      local id = "s" .. i
      local answer = post({ session_id = id, recording_key = "a.wav", recording_access_token = bad })
      assert.equal("recording_access_token", answer.warnings[1].path)
      assert.equal(32, #stored(id).recording_access_token)
    end
    post({ session_id = "s", recording_key = "a.wav", recording_access_token = ("x"):rep(16) })
    assert.equal(("x"):rep(16), stored("s").recording_access_token)
  end)

  it("with nothing but a recording's URL has the last part of its path for a key", function()
    post({ session_id = "s1", recording_url = "https://store.example/b/x/one.wav?sig=a/b&e=3" })
    assert.equal("one.wav", stored().recording_key)
    post({ session_id = "s1", recording_url = "https://store.example/b/x/two.wav" })
    assert.equal("two.wav", stored().recording_key)
    post({ session_id = "s1", recording_key = "recordings/s1.wav" })
    post({ session_id = "s1", recording_url = "https://store.example/three.wav" })
    assert.equal("recordings/s1.wav", stored().recording_key)
  end)

  describe("made from a journal", function()
    local lost = { session_id = "s1", disconnected_by = "error", error = "worker_lost",
      call_duration_seconds = 3, latency = { turns = 1 } }

    it("never overwrites what an ordinary one has set", function()
      post({ session_id = "s1", disconnected_by = "customer", call_duration_seconds = 42 })
      post(lost)
      local call = stored()
      assert.same({ "customer", 42, "completed", nil, 1 }, { call.disconnected_by,
        call.call_duration_seconds, call.status, call.error, call.latency.turns })
    end)

    it("leaves alone what an ordinary one has told beside the contract, too", function()
      post({ session_id = "s1", disconnected_by = "customer", mood = "good" })
      post({ session_id = "s1", error = "worker_lost", mood = "unknown", host = "a1" })
      assert.same({ mood = "good", host = "a1" }, stored().extra)
    end)

    it("gives way to an ordinary one that comes later", function()
      post(lost)
      assert.equal("failed", stored().status)
      post({ session_id = "s1", disconnected_by = "customer", call_duration_seconds = 42 })
      local call = stored()
      assert.same({ "customer", 42, "completed", nil, 1 }, { call.disconnected_by,
        call.call_duration_seconds, call.status, call.error, call.latency.turns })
      assert.is_true(post(lost).duplicate)
    end)

    it("overwrites the skeleton", function()
      assert(app.store:insert("calls", { _id = "s1", status = "in_progress", call_type = "bot",
        started_at = 5, caller_id = "+1" }))
      post(lost)
      assert.same({ "failed", "worker_lost" }, { stored().status, stored().error })
    end)
  end)

  it("survives another writer between reading and writing", function()
    local store, raced = app.store, 0
    local update = store.update
    assert(store:insert("calls", { _id = "s1", status = "in_progress", started_at = 1 }))
    store.update = function(self, name, id, ops, options)
      if raced < 3 then
        raced = raced + 1
        assert(update(self, name, id, { set = { ["race" .. raced] = raced } }))
      end
      return update(self, name, id, ops, options)
    end
    post({ session_id = "s1", disconnected_by = "bot" })
    assert.same({ 1, 3, "completed" }, { stored().race1, stored().race3, stored().status })
  end)

  it("answers unavailable when the store is away", function()
    app.store.get = function()
      return nil, { code = "unavailable", message = "disk gone" }
    end
    local _, err = results.ingest(app, "{}", { session_id = "s1" })
    assert.same({ 503, "store_unavailable", "2" }, { err.status, err.code,
      err.headers["retry-after"] })
    assert.is_nil(err.message:find("disk"))
  end)
end)
