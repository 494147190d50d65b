-- stores: both
local support = require("support.world")
local process = require("support.api_process")

describe("the audit", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function rows(query)
    return api:ask("GET", "/api/v1/audit?" .. (query or "")).answer.items
  end

  -- A play is told of once its bytes are sent: who has them is sometimes earlier.
  local function played(id)
    return support.wait_until("the play in the audit", function()
      local found = rows("action=recording.play&target=" .. id)
      return found[1] and found
    end)
  end

  local function change_of(row, path)
    for _, change in ipairs(row.changes) do
      if change.path == path then
        return change
      end
    end
  end

  it("tells who changed what, from what to what, and where from", function()
    local answer = api:ask("PUT", "/api/v1/settings/retention", { body = { calls_days = 30 },
      headers = { ["x-request-id"] = "audited-request-1", ["x-forwarded-for"] = "203.0.113.7" } })
    assert.equal(200, answer.status)
    local row = rows("action=settings.retention")[1]
    assert.same({ "user", "admin", "203.0.113.7", "audited-request-1", "ok", "settings", "system" },
      { row.actor.type, row.actor.name, row.actor.ip, row.request_id, row.result, row.target.type,
        row.target.id })
    assert.same({ path = "retention.calls_days", from = 400, to = 30 },
      change_of(row, "retention.calls_days"))
    assert.equal(1, #row.changes)
    local carrier = api:ask("POST", "/api/v1/carriers", { body = { name = "Trunk",
      sip_address = "sip.example.org" } }).answer
    api:ask("PUT", "/api/v1/carriers/" .. carrier.id, { body = { outbound_cps = 5 } })
    assert.same({ path = "outbound_cps", from = 1, to = 5 },
      change_of(rows("action=carrier.update")[1], "outbound_cps"))
  end)

  it("tells sign-ins, good and bad, and refusals", function()
    local function sign_in(email, password)
      return api:ask("POST", "/api/v1/auth/login", { secret = false,
        body = { email = email, password = password } })
    end
    sign_in(process.ADMIN, process.PASSWORD)
    sign_in("somebody@example.org", "wrong word here")
    sign_in("my password by mistake", "x")
    local found = rows("action=auth.login")
    assert.equal(3, #found)
    assert.same({ "invalid_credentials", "anyone", nil }, { found[1].result, found[1].actor.type,
      found[1].target.name })
    assert.same({ "invalid_credentials", "somebody@example.org" }, { found[2].result,
      found[2].target.name })
    assert.same({ "ok", "user", process.ADMIN }, { found[3].result, found[3].actor.type,
      found[3].target.name })
    api:ask("POST", "/api/v1/auth/register", { body = { email = "sup@example.org", name = "Sup",
      role = "admin", password = "a long enough word" } })
    local refused = api:ask("POST", "/api/v1/auth/register", { token = process.token("sup@example.org"),
      body = { email = "x@example.org", name = "X", role = "super_admin" } })
    assert.equal(403, refused.status)
    local row = rows("action=user.create")[1]
    assert.same({ "rank", "Sup" }, { row.result, row.actor.name })
  end)

  it("shows no secret, whatever was changed", function()
    local secrets = { "sk-live-0123456789abcdef", "m1nio-Secret-0123", "a long enough word" }
    api:ask("PUT", "/api/v1/settings/api-keys", { body = { openai = secrets[1] } })
    api:ask("PUT", "/api/v1/settings/minio", { body = { secret_key = secrets[2] } })
    local key = api:ask("POST", "/api/v1/api-keys", { body = { name = "CRM" } }).answer.key
    secrets[#secrets + 1], secrets[#secrets + 2] = key, process.PASSWORD
    local seen = api:ask("GET", "/api/v1/audit?limit=200")
    assert.equal(200, seen.status)
    local csv = api:ask("GET", "/api/v1/audit/export.csv")
    assert.equal("text/csv; charset=utf-8", csv.headers["content-type"])
    for _, text in ipairs({ seen.body, csv.body }) do
      assert.is_truthy(text:find("•••", 1, true))
      for _, secret in ipairs(secrets) do
        assert.is_nil(text:find(secret, 1, true))
      end
      assert.is_nil(text:find("enc:v1:", 1, true))
      assert.is_nil(text:find("$argon2id$", 1, true))
    end
  end)

  it("tells who played a recording, once whatever pieces were fetched", function()
    world:write(api.dir .. "/state/recordings/played.wav", ("x"):rep(3000))
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "played",
      recording_key = "recordings/played.wav", disconnected_by = "bot" } })
    local url = api:ask("GET", "/api/v1/calls/played").answer.recording_play_url
    for _, range in ipairs({ "bytes=0-999", "bytes=1000-1999", "bytes=2000-" }) do
      assert.equal(206, api:ask("GET", url, { secret = false, headers = { range = range } }).status)
    end
    local found = played("played")
    assert.same({ 1, "user", "admin", "played" }, { #found, found[1].actor.type,
      found[1].actor.name, found[1].target.id })
    -- Another player begins in the middle.
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "skimmed",
      recording_key = "recordings/played.wav", disconnected_by = "bot" } })
    for _, range in ipairs({ "bytes=1-999", "bytes=1000-" }) do
      assert.equal(206, api:ask("GET", "/api/v1/recordings/skimmed",
        { headers = { range = range } }).status)
    end
    assert.equal(1, #played("skimmed"))
  end)

  it("is filtered, read by administrators, exported by super_admins, changed by nobody", function()
    local user = api:ask("POST", "/api/v1/auth/register", { body = { email = "adm@example.org",
      name = "=cmd()", role = "admin", password = "a long enough word" } }).answer
    local token = process.token("adm@example.org")
    api:ask("PUT", "/api/v1/users/" .. user.id, { token = token, body = { name = "+calc" } })
    assert.same({ "user.update", "user.create" }, { rows("target=" .. user.id)[1].action,
      rows("target=" .. user.id)[2].action })
    assert.equal(1, #rows("actor=" .. user.id))
    assert.equal(2, #rows("action=user.&target=" .. user.id))
    assert.equal(0, #rows("from=2100-01-01T00:00:00Z"))
    assert.equal(0, #rows("to=2000-01-01T00:00:00Z"))
    assert.equal(200, api:ask("GET", "/api/v1/audit", { token = token }).status)
    assert.equal(403, api:ask("GET", "/api/v1/audit/export.csv", { token = token }).status)
    local csv = api:ask("GET", "/api/v1/audit/export.csv?actor=" .. user.id).body
    assert.matches("'=cmd()", csv, 1, true)
    assert.is_nil(csv:find(",=cmd()", 1, true))
    assert.equal("audit.export", rows("action=audit.export")[1].action)
    local id = rows()[1].id
    for _, method in ipairs({ "PUT", "PATCH", "DELETE", "POST" }) do
      local answer = api:ask(method, "/api/v1/audit/" .. id, { body = {} })
      assert.is_true(answer.status == 404 or answer.status == 405, method)
      assert.is_true(api:ask(method, "/api/v1/audit", { body = {} }).status >= 404, method)
    end
  end)
end)
