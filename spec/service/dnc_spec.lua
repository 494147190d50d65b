-- stores: both
local Campaigns = require("support.campaigns")
local process = require("support.api_process")
local support = require("support.world")

describe("the do-not-call list", function()
  local world, site

  setup(function()
    world = support.new()
    site = Campaigns.start(world)
  end)

  teardown(function()
    site:close()
    world:close()
  end)

  local function add(body)
    local answer = site:ask("POST", "/dnc", body)
    assert.equal(200, answer.status, answer.body)
    return answer.answer
  end

  local function check(number, campaign_id)
    local query = "?number=" .. number:gsub("+", "%%2B")
      .. (campaign_id and "&campaign_id=" .. campaign_id or "")
    local answer = site:ask("GET", "/dnc/check" .. query)
    assert.equal(200, answer.status, answer.body)
    return answer.answer
  end

  it("takes numbers in any form once, and refuses what is none", function()
    assert.same({ added = 2, existing = 0 }, add({ numbers = { "98100 00001", "+919810000002" },
      reason = "asked" }))
    assert.same({ added = 1, existing = 2 }, add({ numbers = { "09810000001", "9810000002",
      "9810000003" } }))
    assert.same({ listed = true, scope = "global", reason = "asked" }, check("+919810000001"))
    assert.same({ listed = false }, check("+919810000009"))
    local refused = site:ask("POST", "/dnc", { numbers = { "12", "+919810000001", "+*" } })
    assert.same({ 422, 2, "numbers[0]" }, { refused.status, #refused.answer.fields,
      refused.answer.fields[1].path })
    assert.equal(422, site:ask("POST", "/dnc", { numbers = { "9810000001" },
      expires_at = "2001-01-01T00:00:00Z" }).status)
    assert.equal(422, site:ask("GET", "/dnc/check?number=12").status)
  end)

  it("takes nothing for a campaign that does not exist, which would hold back no call", function()
    local refused = site:ask("POST", "/dnc", { numbers = { "9820000009" }, scope = "cmp_nobody" })
    assert.same({ 422, "scope" }, { refused.status, refused.answer.fields[1].path })
    assert.equal(0, site:ask("GET", "/dnc?scope=cmp_nobody").answer.total)
  end)

  it("covers all numbers that begin as an entry, for everybody or one campaign", function()
    local id = site:campaign().id
    add({ numbers = { "+91982*" }, scope = id })
    assert.is_true(check("9820000001", id).listed)
    assert.is_false(check("9820000001").listed)
    assert.is_false(check("9820000001", "cmp_other").listed)
    add({ numbers = { "+91983*" } })
    assert.is_true(check("9830000001").listed)
    assert.is_true(check("9830000001", id).listed)
  end)

  it("forgets an entry when it has expired", function()
    add({ numbers = { "9840000001" }, expires_at = "2999-01-01T00:00:00Z" })
    assert.is_true(check("9840000001").listed)
    local entry = site:ask("GET", "/dnc?q=9840000001").answer.items[1]
    assert(site.store:update("dnc", entry.id, { set = { expires_at = cxb.time.now() - 1000 } }))
    assert.is_false(check("9840000001").listed)
    assert.same({ added = 1, existing = 0 }, add({ numbers = { "9840000001" } }))
    assert.is_true(check("9840000001").listed)
  end)

  it("keeps the stronger of what is said of a number twice, by hand or by file", function()
    local function entry(digits)
      return site:ask("GET", "/dnc?q=" .. digits).answer.items[1]
    end
    local soon = { numbers = { "9861000001", "9861000002" }, expires_at = "2990-01-01T00:00:00Z" }
    add(soon)
    add({ numbers = { "9861000001" }, expires_at = "2999-01-01T00:00:00Z" })
    add(soon)
    assert.equal("2999-01-01T00:00:00.000Z", entry("9861000001").expires_at)
    assert.same({ added = 0, existing = 1 }, add({ numbers = { "9861000001" } }))
    assert.is_nil(entry("9861000001").expires_at)
    add(soon)
    add({ numbers = { "9861000001" }, source = "regulator" })
    add({ numbers = { "9861000001" } })
    assert.same({ "regulator", nil }, { entry("9861000001").source, entry("9861000001").expires_at })
    local answer = site:ask("POST", "/dnc/upload", "phone_number\n9861000002\n",
      { headers = { ["content-type"] = "text/csv" } })
    assert.equal(200, answer.status, answer.body)
    assert.is_nil(entry("9861000002").expires_at)
  end)

  it("is searched, shown and shortened; a regulator's entry only by a super admin", function()
    add({ numbers = { "9850000001", "9850000002" }, source = "regulator" })
    local found = site:ask("GET", "/dnc?q=%2B91985&limit=10").answer
    assert.equal(2, found.total)
    assert.same({ "regulator", "global", process.ADMIN }, { found.items[1].source,
      found.items[1].scope, found.items[1].by })
    assert(site.store:insert("users", { email = "adm@example.org", name = "Adm", role = "admin",
      is_active = true, password_hash = "none", token_version = 1, must_change_password = false,
      agent_languages = { "en" } }))
    local path = "/dnc/" .. found.items[1].id
    local admin = { token = process.token("adm@example.org") }
    assert.equal(403, site:ask("DELETE", path, nil, admin).status)
    assert.equal(204, site:ask("DELETE", path).status)
    assert.equal(404, site:ask("DELETE", path).status)
    assert.equal(1, site:ask("GET", "/dnc?q=%2B91985").answer.total)
  end)

  it("grows by a file", function()
    add({ numbers = { "9860000001" } })
    local answer = site:ask("POST", "/dnc/upload?reason=from%20a%20file",
      "phone_number,name\n9860000001,A\n9860000002,B\nbad,C\n9860000002,D\n",
      { headers = { ["content-type"] = "text/csv" } })
    assert.equal(200, answer.status, answer.body)
    assert.same({ 4, 1, 1, 1, 1 }, { answer.answer.rows_total, answer.answer.added,
      answer.answer.existing, answer.answer.skipped_invalid, answer.answer.skipped_duplicate })
    assert.equal("from a file", check("9860000002").reason)
    assert.equal("csv", site:ask("GET", "/dnc?q=9860000002").answer.items[1].source)
  end)

  it("ends the waiting contacts of campaigns that are not over, and nobody else's", function()
    local function running(config)
      local id = site:campaign(config).id
      assert.equal(200, site:upload(id, site.numbers(6, 71000000)).status)
      site:set(id, { status = "running", started_at = cxb.time.now() })
      return id
    end
    local here, paused, draft, done = running(), running(), running(), running()
    site:set(paused, { status = "paused" })
    site:set(draft, { status = "draft" })
    site:set(done, { status = "completed" })
    local function state(id)
      local out = {}
      for i, contact in ipairs(site:contacts(id)) do
        out[i] = contact.status
      end
      return out
    end
    local wanted = { "retry_scheduled", "callback_scheduled", "dialling", "completed", "pending", "pending" }
    for _, id in ipairs({ here, paused, draft, done }) do
      for i, contact in ipairs(site:contacts(id)) do
        assert(site.store:update("campaign_calls", contact._id, { set = { status = wanted[i],
          callback = i == 2 and { status = "scheduled", active = true } or nil } }))
      end
    end
    add({ numbers = { "9871000001", "9871000002", "9871000003", "9871000004" } })
    local changed = { "dnc", "dnc", "dialling", "completed", "pending", "pending" }
    assert.same({ changed, changed, changed, wanted },
      { state(here), state(paused), state(draft), state(done) })
    local contact = site:contacts(here)[2]
    assert.same({ "dnc", "cancelled", false }, { contact.last_outcome, contact.callback.status,
      contact.callback.active })
    assert.is_number(contact.completed_at)
    add({ numbers = { "+919871000005" }, scope = here })
    changed[5] = "dnc"
    assert.same({ changed, "pending" }, { state(here), state(paused)[5] })
    add({ numbers = { "+919871000*" }, scope = paused })
    assert.same({ "dnc", "dnc", "dialling", "completed", "dnc", "dnc" }, state(paused))
    assert.equal(200, site:ask("POST", "/dnc/upload", "phone_number\n9871000006\n",
      { headers = { ["content-type"] = "text/csv" } }).status)
    assert.equal("dnc", state(here)[6])
    assert.same(wanted, state(done))
  end)

  it("is asked by our own services and written by keys that may", function()
    local with_secret = { secret = false, headers = { ["x-cxb-core-secret"] = process.SECRET } }
    assert.equal(200, site:ask("GET", "/dnc/check?number=9870000001", nil, with_secret).status)
    assert.equal(401, site:ask("GET", "/dnc/check?number=9870000001", nil,
      { secret = false }).status)
    local function key(scopes)
      return site:ask("POST", "/api-keys", { name = "k", scopes = scopes }).answer.key
    end
    local function with_key(value)
      return { secret = false, headers = { ["x-api-key"] = value } }
    end
    local body = { numbers = { "9870000001" } }
    assert.equal(403, site:ask("POST", "/dnc", body, with_key(key({ "dialout" }))).status)
    assert.equal(200, site:ask("POST", "/dnc", body, with_key(key({ "dnc:write" }))).status)
    assert.equal("api", site:ask("GET", "/dnc?q=9870000001").answer.items[1].source)
  end)
end)

describe("contacts of a campaign", function()
  local world, site, id

  setup(function()
    world = support.new()
    site = Campaigns.start(world)
  end)
  before_each(function()
    id = site:campaign().id
    assert.equal(200, site:upload(id, Campaigns.numbers(5)).status)
    site:settled(id)
    assert.equal(200, site:ask("POST", "/campaigns/" .. id .. "/start").status)
  end)
  teardown(function()
    site:close()
    world:close()
  end)

  local function path(rest)
    return "/campaigns/" .. id .. "/" .. rest
  end

  it("are added while it runs, once, and judged all at once", function()
    site:ask("POST", "/dnc", { numbers = { "9899999999" } })
    local body = { contacts = {
      { phone_number = "98 7777 7777", external_id = "e-1", variables = { name = "Asha", n = 2 } },
      { phone_number = "+442079460000", timezone = "Europe/London" },
      { phone_number = "9810000001" }, { phone_number = "9899999999" } } }
    local answer = site:ask("POST", path("contacts"), body)
    assert.equal(200, answer.status, answer.body)
    assert.same({ accepted = 2, dnc = 1, skipped_duplicate = 1 }, answer.answer)
    answer = site:ask("POST", path("contacts"), body)
    assert.same({ accepted = 0, dnc = 0, skipped_duplicate = 4 }, answer.answer)
    local found = site:ask("GET", path("calls?phone=9877777777")).answer.items[1]
    assert.same({ "e-1", "Asha", 2, "Asia/Calcutta", "pending" }, { found.external_id,
      found.variables.name, found.variables.n, found.zone_key, found.status })
    local refused = site:ask("POST", path("contacts"), { contacts = {
      { phone_number = "+14150000000" }, { phone_number = "9877777778", timezone = "Mars/Base",
        variables = { _skip_post_push = true } } } })
    assert.equal(422, refused.status)
    refused = site:ask("POST", path("contacts"), { contacts = {
      { phone_number = "+14150000000" },
      { phone_number = "9877777778", variables = { _skip_post_push = true } } } })
    assert.same({ 422, "contacts[0].phone_number", "contacts[1].variables._skip_post_push" },
      { refused.status, refused.answer.fields[1].path, refused.answer.fields[2].path })
  end)

  it("are excluded by number or external id while they wait", function()
    local rows = site:contacts(id)
    local function put(row, fields)
      assert(site.store:update("campaign_calls", row._id, { set = fields }))
    end
    put(rows[1], { external_id = "e-9", status = "callback_scheduled",
      callback = { requested = true, active = true, status = "scheduled" } })
    put(rows[2], { status = "ringing" })
    put(rows[3], { status = "completed" })
    local answer = site:ask("POST", path("contacts/exclude"), { external_ids = { "e-9", "e-8" },
      phone_numbers = { rows[2].phone_number, rows[3].phone_number, rows[4].phone_number } })
    assert.same({ excluded = 2, active = 1, finished = 1, not_found = 1 }, answer.answer)
    local after = site:contacts(id)
    assert.same({ "manual_stopped", "cancelled", "ringing", "completed", "manual_stopped" },
      { after[1].status, after[1].callback.status, after[2].status, after[3].status,
        after[4].status })
  end)

  it("are listed by state, day, number and callback, and shown with their attempts", function()
    local rows = site:contacts(id)
    local at = require("cxb.times").parse("2026-04-24T12:00:00+05:30")
    assert(site.store:update("campaign_calls", rows[2]._id, { set = {
      status = "callback_scheduled", dial = { at = at }, next_retry_at = at,
      callback = { requested = true, status = "scheduled", requested_at = at } } }))
    assert(site.store:insert("campaign_attempts", { campaign_id = id,
      campaign_call_id = rows[2]._id, run_number = 1, attempt = 1, kind = "first",
      session_id = "s-" .. id, dialled_at = at, outcome = "conversation" }))
    local function total(query)
      local answer = site:ask("GET", path("calls" .. query))
      assert.equal(200, answer.status, answer.body)
      return answer.answer.total
    end
    assert.same({ 5, 4, 1, 1, 0, 1, 0, 5, 1, 5 }, { total(""), total("?status=pending"),
      total("?callback=requested"), total("?callback=pending"), total("?callback=completed"),
      total("?date=2026-04-24"), total("?date=2026-04-25"), total("?callback=all"),
      total("?phone=" .. rows[3].phone_number:sub(4)), total("?phone=%2B9198&limit=2&page=2") })
    local shown = site:ask("GET", path("calls/" .. rows[2]._id)).answer
    assert.same({ 1, "first", "2026-04-24T06:30:00.000Z", "2026-04-24T06:30:00.000Z" },
      { #shown.attempts, shown.attempts[1].kind, shown.attempts[1].dialled_at,
        shown.callback.requested_at })
    assert.equal(404, site:ask("GET", "/campaigns/" .. site:campaign().id .. "/calls/"
      .. rows[2]._id).status)
  end)

  it("have a report of their attempts, open ones too, safe for a spreadsheet", function()
    local rows = site:contacts(id)
    local at = require("cxb.times").parse("2026-04-24T06:30:00Z")
    for n, outcome in ipairs({ "no_answer", "conversation" }) do
      assert(site.store:insert("campaign_attempts", { campaign_id = id, run_number = 1,
        campaign_call_id = rows[1]._id, attempt = n, kind = n == 1 and "first" or "retry",
        session_id = ("s%d-%s"):format(n, id), dialled_at = at + n, ended_at = at + 60000,
        outcome = outcome, disposition = '=SUM("A")' }))
    end
    assert(site.store:insert("campaign_attempts", { campaign_id = id, run_number = 1,
      campaign_call_id = rows[2]._id, attempt = 1, kind = "first", session_id = "s9-" .. id,
      dialled_at = at + 5 }))
    local answer = site:ask("GET", path("attempt-report.csv"))
    assert.equal(200, answer.status)
    local lines = {}
    for line in answer.body:gmatch("(.-)\r\n") do
      lines[#lines + 1] = line
    end
    assert.equal(4, #lines)
    assert.matches("^campaign_id,run_number,contact_id,phone_number,.*,session_id,name$", lines[1])
    assert.matches("2026%-04%-24T12:00:00%.001%+05:30", lines[2])
    assert.truthy(lines[2]:find([["'=SUM(""A"")"]], 1, true), lines[2])
    assert.matches("Person 1$", lines[3])
    assert.matches(",first,,true,", lines[4])
  end)

  it("abandoned are told by day against the cap", function()
    local rows, now = site:contacts(id), cxb.time.now()
    local function attempt(n, fields)
      fields.campaign_id, fields.run_number, fields.attempt = id, 1, n
      fields.campaign_call_id, fields.kind = rows[1]._id, "first"
      fields.session_id, fields.dialled_at = ("a%d-%s"):format(n, id), now - 1000
      assert(site.store:insert("campaign_attempts", fields))
    end
    attempt(1, { answered_at = now, outcome = "conversation" })
    attempt(2, { answered_at = now, outcome = "abandoned", amd = { verdict = "unknown" } })
    attempt(3, { answered_at = now, outcome = "amd_machine", amd = { verdict = "machine" } })
    attempt(4, { outcome = "no_answer" })
    local report = site:ask("GET", path("abandon-report?days=7")).answer
    assert.equal(7, #report.days)
    assert.same({ answered_person = 2, abandoned = 1, percent = 50, cap = 3, over = true,
      days = 7 }, report.window)
    local times, answered = require("cxb.times"), {} -- it may be midnight by now
    for _, row in ipairs(report.days) do
      answered[row.day] = row.answered_person
    end
    local india = math.floor((now - 1000) / 86400000 + 5.5 / 24)
    assert.equal(2, answered[("%04d-%02d-%02d"):format(times.date(india))])
    assert.matches("\r\n7d,2,1,50,3,true\r\n$",
      site:ask("GET", path("abandon-report?days=7&format=csv")).body)
  end)
end)
