-- stores: both
-- Changes by the real routes: what a refusal shows of an object, and what null may do.
local api = require("spec.support.api")
local json = require("cxb.json")

describe("a change by its route", function()
  local app, serve

  before_each(function()
    api.install()
    local pipeline = require("services.web.pipeline")
    app = api.app()
    serve = pipeline.server(app, pipeline.routes())
  end)

  after_each(api.restore)

  local function ask(method, path, body, headers)
    local sent = { authorization = "Bearer " .. api.TOKEN }
    for name, value in pairs(headers or {}) do
      sent[name] = value
    end
    local req = api.request(method, "/api/v1" .. path,
      { body = body and json.encode(body), headers = sent })
    serve(req)
    return req
  end

  it("of another version is shown the object, and nothing that is secret", function()
    local sealed = require("services.identity.vault").seal(app, "a stored password")
    local user = api.user(app, "bo@example.org", "agent")
    local key = assert(app.store:insert("api_keys", { name = "CRM", key_prefix = "vx_abcd",
      key_hash = ("a"):rep(64), created_by = "x", is_active = true, scopes = { "dialout" },
      bot_ids = {} }))
    local carrier = assert(app.store:insert("carriers", { name = "Trunk",
      sip_address = "sip.example.org", outbound_auth_password = sealed }))
    local bot = assert(app.store:insert("bots", { name = "Ada", is_active = true,
      widget_api_key = sealed }))
    for _, case in ipairs({
      { "PUT", "/users/" .. user._id, { name = "Bob" }, "bo" },
      { "POST", "/users/" .. user._id .. "/reset-password", {}, "bo" },
      { "PUT", "/auth/me", { name = "Bob" }, "admin" },
      { "PATCH", "/api-keys/" .. key._id, { name = "Other" }, "CRM" },
      { "PUT", "/carriers/" .. carrier._id, { name = "Other" }, "Trunk" },
      { "PUT", "/bots/" .. bot._id, { name = "Other" }, "Ada" },
      { "DELETE", "/bots/" .. bot._id },
      { "POST", "/bots/" .. bot._id .. "/post-call-cache/enable" },
    }) do
      local req = ask(case[1], case[2], case[3], { ["if-match"] = '"99"' })
      local what = case[1] .. " " .. case[2]
      assert.same({ what, 409, "version_conflict", case[4] },
        { what, req.status, req.answer.error, req.answer.current.name })
      for _, secret in ipairs({ "password_hash", "key_hash", "token_version", "enc:v1:" }) do
        assert.same({ what }, { what, req.text:match(secret) })
      end
    end
  end)

  it("never takes away what an object must have", function()
    local user = api.user(app, "bo@example.org", "agent")
    local bot = assert(app.store:insert("bots", { name = "Ada", is_active = true }))
    for path, field in pairs({ ["/users/" .. user._id] = "role", ["/bots/" .. bot._id] = "name",
      ["/auth/me"] = "name" }) do
      local req = ask("PUT", path, { [field] = json.null })
      assert.same({ path, 422, field, "type" },
        { path, req.status, (req.answer.fields or { {} })[1].path, req.answer.fields[1].rule })
    end
    assert.equal(200, ask("PUT", "/bots/" .. bot._id, { timezone = json.null }).status)
  end)

  it("that meets another keeps the secrets of a push, those it brings and those that stay", function()
    local vault = require("services.identity.vault")
    local path = "/bots/" .. assert(app.store:insert("bots", { name = "Ada", is_active = true }))._id
    local function push(...)
      local update = app.store.update
      function app.store.update(store, collection, id, ...)
        if collection == "bots" then
          app.store.update = update
          assert(update(store, collection, id, { set = { live_prompt_cache_state = { at = 1 } } }))
        end
        return update(store, collection, id, ...)
      end
      local req = ask("PUT", path, { post_call_push = { enabled = true,
        url = "https://crm.example.org/", signing_secrets = { ... } } })
      assert.equal(200, req.status, req.text)
      local secrets = {}
      for i, sealed in ipairs(app.store:get("bots", path:match("[^/]+$")).post_call_push
        .signing_secrets) do
        secrets[i] = vault.open(app, sealed)
      end
      return secrets, req.answer.post_call_push.signing_secrets[1]
    end
    local one, two = "whsec_first-of-the-secrets", "whsec_second-of-the-secrets"
    local secrets, masked = push(one)
    assert.same({ one }, secrets)
    assert.same({ one, two }, (push(masked, two)))
  end)

  it("is told to the audit whatever Range it carries", function()
    local user = api.user(app, "bo@example.org", "agent")
    assert.equal(200, ask("PUT", "/users/" .. user._id, { name = "Bob" },
      { range = "bytes=5-" }).status)
    local rows = assert(app.store:find("audit_log", { action = "user.update" }, {}))
    assert.same({ 1, user._id }, { #rows, rows[1].target.id })
  end)

  it("that dials somebody has 65 seconds", function()
    local given = {}
    rawset(cxb.task, "deadline", function(ms)
      given[#given + 1] = ms
    end)
    ask("POST", "/sip/dialout", { bot_id = "none", to_number = "+919876543210" })
    ask("POST", "/bots/none/test-call", { kind = "phone", to_number = "+919876543210" })
    ask("POST", "/users/none/deactivate", {})
    assert.same({ 65000, 65000, 30000 }, given)
  end)

  it("of many rows on paper leaves its row, within the limits of its class", function()
    app.settings.CXB_RATE_SCALE = 1
    local campaign = assert(app.store:insert("campaigns", { name = "Spring", status = "draft",
      bot_id = "b", config = { time_window = { timezone = "UTC" } }, run_number = 1 }))
    for path, action in pairs({ ["/audit/export.csv"] = "audit.export",
      ["/calls/export.csv"] = "call.export",
      ["/campaigns/" .. campaign._id .. "/attempt-report.csv"] = "campaign.export" }) do
      local req, headers = api.request("GET", "/api/v1" .. path,
        { headers = { authorization = "Bearer " .. api.TOKEN } }), nil
      function req.start(_, _, sent)
        headers = sent
      end
      function req.write()
        return true
      end
      function req.finish() end
      serve(req)
      assert.same({ path, nil, "12", "no-referrer" }, { path, req.text,
        headers and headers["ratelimit-limit"], headers and headers["referrer-policy"] })
      assert.same({ path, 1 }, { path, app.store:count("audit_log", { action = action }) })
    end
  end)

  it("that copies or is told cuts no character in two", function()
    local name = "x" .. ("नमस्ते "):rep(17)
    local bot = assert(app.store:insert("bots", { name = name, is_active = true }))
    assert.equal(200, ask("PUT", "/bots/" .. bot._id, { system_prompt = name:rep(20) }).status)
    local copy = ask("POST", "/bots/" .. bot._id .. "/clone", {})
    local row = assert(app.store:find("audit_log", { action = "bot.update" }, {}))[1]
    for _, text in ipairs({ copy.answer.name, row.changes[1].to }) do
      assert.matches("^xनमस्ते", text)
      assert.is_nil(text:find("\239\191\189", 1, true) or require("cxb.utf8").first_bad(text))
    end
    assert.matches(" (copy)", copy.answer.name, 1, true)
  end)

  it("leaves one super_admin when two remove each other", function()
    local first = assert(app.store:find("users", {}, {}))[1]
    local second = api.user(app, "eve@example.org", "super_admin")
    local update = app.store.update
    rawset(app.store, "update", function(store, collection, id, ops, options)
      if id == second._id and ops.set.is_active == false then
        assert(update(store, collection, first._id, { set = { is_active = false } }))
      end
      return update(store, collection, id, ops, options)
    end)
    local req = ask("DELETE", "/users/" .. second._id)
    assert.same({ 409, "last_super_admin" }, { req.status, req.answer.error })
    assert.is_true(app.store:get("users", second._id).is_active)
  end)

  it("is not open to a session of somebody who had the address before", function()
    local token = api.token("bo@example.org")
    local function status()
      return ask("GET", "/auth/me", nil, { authorization = "Bearer " .. token }).status
    end
    local user = api.user(app, "bo@example.org", "agent")
    assert.equal(200, status())
    assert.equal(204, ask("DELETE", "/users/" .. user._id).status)
    assert.equal(401, status())
    api.now = api.now + 60000
    api.user(app, "bo@example.org", "admin")
    assert.equal(401, status())
    token = api.token("bo@example.org")
    assert.equal(200, status())
  end)

  it("of a flow that went on shows its times as answers do", function()
    assert(app.store:insert("flows", { name = "mine", draft = { source = "x", base_version = 0,
      by = "somebody@example.org", at = api.now } }))
    for _, headers in ipairs({ {}, { ["if-match"] = '"99"' } }) do
      local req = ask("PUT", "/flows/mine/draft", { source = "y", base_version = 0 }, headers)
      assert.same({ 409, "2026-04-24T09:00:00.000Z", "2026-04-24T09:00:00.000Z" },
        { req.status, req.answer.current.updated_at, req.answer.current.draft.at })
    end
  end)

  it("that needs what is away is told when to ask again", function()
    local carrier = assert(app.store:insert("carriers", { name = "Trunk",
      sip_address = "sip.example.org" }))
    local req = ask("POST", "/carriers/" .. carrier._id .. "/sync")
    assert.same({ 503, "livekit_unavailable", "2" }, { req.status, req.answer.error,
      req.answer_headers["retry-after"] })
  end)

  it("that is asked for twice by one Idempotency-Key is told once", function()
    local bot = assert(app.store:insert("bots", { name = "Ada", is_active = true }))
    for _, replay in ipairs({ "first", "true" }) do
      local req = ask("POST", "/bots/" .. bot._id .. "/test-call", { kind = "browser" },
        { ["idempotency-key"] = "once" })
      assert.same({ 200, replay },
        { req.status, req.answer_headers["idempotent-replay"] or "first" })
    end
    assert.equal(1, app.store:count("audit_log", { action = "bot.test_call" }))
  end)

  it("has limits, and so has a public recording: its answer tells them", function()
    app.settings.CXB_RATE_SCALE = 1
    app.recordings_dir = "/tmp/cxb-spec-" .. cxb.crypto.hex(cxb.crypto.random(6))
    assert(cxb.fs.write(app.recordings_dir .. "/a.wav", "x"))
    local token = ("t"):rep(32)
    assert(app.store:insert("calls", { _id = "c1", bot_id = "b", status = "completed",
      call_type = "bot", direction = "incoming", started_at = api.now, recording_key = "a.wav",
      recording_access_token = token }))
    local req, headers = api.request("GET", "/api/v1/public/recordings/" .. token), nil
    function req.send_file(_, _, sent)
      headers = sent
      return true
    end
    serve(req)
    cxb.fs.remove(app.recordings_dir .. "/a.wav")
    cxb.fs.remove(app.recordings_dir)
    assert.same({ "60", "no-referrer", "audio/wav" }, { headers["ratelimit-limit"],
      headers["referrer-policy"], headers["content-type"] })
  end)
end)
