-- stores: both
-- Calls as operators, keys and our own services read them.
local json = require("cxb.json")
local process = require("support.api_process")
local support = require("support.world")
local url = require("cxb.url")

describe("the list of calls", function()
  local world, api

  local function result(id, fields)
    fields.session_id, fields.disconnected_by = id, fields.disconnected_by or "customer"
    local answer = api:ask("POST", "/api/v1/call-results", { body = fields })
    assert.equal(200, answer.status, answer.body)
  end

  local function list(query)
    local answer = api:ask("GET", "/api/v1/calls?" .. query)
    assert.equal(200, answer.status, answer.body)
    local ids = {}
    for i, call in ipairs(answer.answer.items) do
      ids[i] = call.session_id
    end
    return table.concat(ids, " "), answer.answer
  end

  setup(function()
    world = support.new()
    api = process.start(world)
    local function at(minutes)
      return cxb.time.iso(cxb.time.now() - minutes * 60000)
    end
    result("c1", { bot_id = "lister", started_at = at(50), call_duration_seconds = 10,
      call_direction = "incoming", caller_id = "+4915112340001",
      transcript = { { role = "user", text = "Ich möchte meinen Vertrag kündigen!" } },
      post_call_analysis = { DISPOSITION = "CANCEL", SUB_DISPOSITION = "PRICE" } })
    result("c2", { bot_id = "lister", started_at = at(40), call_duration_seconds = 60,
      call_direction = "outgoing", caller_id = "+4915112340002", was_transferred = true,
      transcript = { { role = "bot", text = "Your contract" }, { role = "user", text = "cancel" } },
      recording_key = "recordings/x/c2.wav" })
    result("c3", { bot_id = "lister", started_at = at(30), call_duration_seconds = 120,
      disconnected_by = "error", caller_id = "+15550001",
      transcript = { { role = "user", text = "contract, cancel the contract" } } })
    result("c4", { bot_id = "echo", started_at = at(20), caller_id = "+15550001",
      transcript = json.array(), recording_url = "https://store.example/b/c4.wav?sig=1" })
  end)

  teardown(function()
    world:close()
  end)

  it("is filtered by each field, and by several at once", function()
    for query, ids in pairs({
      ["bot_id=lister"] = "c3 c2 c1", ["status=failed"] = "c3", ["direction=outgoing"] = "c2",
      ["disconnected_by=error&bot_id=lister"] = "c3", ["disposition=CANCEL"] = "c1",
      ["sub_disposition=PRICE"] = "c1", ["was_transferred=true"] = "c2",
      ["has_recording=true"] = "c4 c2", ["has_recording=false&bot_id=lister"] = "c3 c1",
      ["min_duration=60"] = "c3 c2", ["max_duration=60&bot_id=lister"] = "c2 c1",
      ["min_duration=11&max_duration=119"] = "c2", ["call_type=bot"] = "c4 c3 c2 c1",
      ["call_type=test"] = "", ["bot_id=lister&sort=started_at"] = "c1 c2 c3",
      ["number=%2B15550001"] = "c4 c3", ["number=0001"] = "c4 c3 c1", ["number=340001"] = "c1",
      ["number=0001&bot_id=lister"] = "c3 c1",
    }) do
      assert.equal(ids, (list(query)), query)
    end
  end)

  it("finds the calls in which all words were said", function()
    for words, ids in pairs({
      ["contract"] = "c3 c2", ["Contract CANCEL"] = "c3 c2", ["cancel the"] = "c3",
      ["möchte kündigen"] = "c1", ["contrac"] = "", ["kündigen contract"] = "",
    }) do
      local found, answer = list("q=" .. url.escape(words))
      assert.same({ ids, select(2, ids:gsub("%S+", "")) }, { found, answer.total }, words)
    end
    assert.equal("c2", (list("q=contract&direction=outgoing")))
    assert.equal("c2 c3", (list("q=contract&sort=started_at")))
  end)

  it("refuses a search without a word or with too few digits", function()
    for _, query in ipairs({ "q=" .. url.escape("?!"), "number=abcd", "number=1-2-3" }) do
      local answer = api:ask("GET", "/api/v1/calls?" .. query)
      assert.same({ 400, "invalid_query" }, { answer.status, answer.answer.error }, query)
    end
  end)

  it("has pages by number as well as by cursor", function()
    local first, answer = list("limit=3")
    assert.same({ "c4 c3 c2", 4, true }, { first, answer.total, answer.total_exact })
    assert.equal("c1", (list("limit=3&after=" .. url.escape(answer.next))))
    assert.equal("c1", (list("limit=3&page=2")))
    assert.equal("", (list("limit=3&page=3")))
    assert.equal("c2", (list("q=contract&limit=1&page=2")))
    assert.equal(400, api:ask("GET", "/api/v1/calls?limit=200&page=501").status)
  end)

  it("has rows without the transcript, one call has everything", function()
    local _, answer = list("bot_id=lister&limit=1")
    assert.is_nil(answer.items[1].transcript)
    local call = api:ask("GET", "/api/v1/calls/c2").answer
    assert.same({ "cancel", "outgoing", 60, true }, { call.transcript[2].text, call.direction,
      call.call_duration_seconds, call.has_recording })
    assert.matches("^/api/v1/recordings/c2%?ticket=", call.recording_play_url)
    assert.equal("[]", json.encode(call.deliveries))
    for _, name in ipairs({ "terms", "result_hash", "fanout", "number_rev", "_id" }) do
      assert.is_nil(call[name], name)
    end
    local without = api:ask("GET", "/api/v1/calls/c2?make_recording_accessible=false").answer
    assert.is_nil(without.recording_play_url)
  end)

  it("lets our own services read the outcome of one call with the secret", function()
    local function with(path, headers)
      return api:ask("GET", path, { secret = false, headers = headers })
    end
    local answer = with("/api/v1/calls/c3", { ["x-cxbcore-secret"] = process.SECRET })
    assert.same({ 200, "failed", "error" }, { answer.status, answer.answer.status,
      answer.answer.disconnected_by })
    assert.equal(401, with("/api/v1/calls", { ["x-cxbcore-secret"] = process.SECRET }).status)
    assert.equal(403, with("/api/v1/calls/c3", { ["x-cxbcore-secret"] = "wrong" }).status)
    assert.equal(401, with("/api/v1/calls/c3", {}).status)
  end)

  it("shows a key its scope and its bots only", function()
    local function key(scopes, bots)
      local made = api:ask("POST", "/api/v1/api-keys", { body = { name = "crm", scopes = scopes,
        bot_ids = bots } })
      assert.equal(201, made.status, made.body)
      return function(path)
        return api:ask("GET", path, { secret = false, headers = { ["x-api-key"] =
          made.answer.key } })
      end
    end
    local reader = key({ "calls:read" }, { "echo" })
    local answer = reader("/api/v1/calls")
    assert.same({ 200, 1, "c4" }, { answer.status, answer.answer.total,
      answer.answer.items[1].session_id })
    assert.equal(0, reader("/api/v1/calls?bot_id=lister").answer.total)
    assert.equal(200, reader("/api/v1/calls/c4").status)
    for _, path in ipairs({ "/api/v1/calls/c1", "/api/v1/calls/c1/export.json" }) do
      assert.same({ 404, "not_found" }, { reader(path).status, reader(path).answer.error })
    end
    assert.equal(403, key({ "dialout" }, {})("/api/v1/calls").status)
    assert.equal(4, key({ "calls:read" }, {})("/api/v1/calls").answer.total)
  end)

  it("leaves as CSV in which nothing is a formula", function()
    result("csv1", { bot_id = "csv", caller_id = "+4930123456", disconnected_by = "bot",
      post_call_analysis = { DISPOSITION = '=HYPERLINK("http://x","a")' } })
    result("csv2", { bot_id = "csv", disconnected_by = "bot",
      post_call_analysis = { DISPOSITION = "a\nb" } })
    local answer = api:ask("GET", "/api/v1/calls/export.csv?bot_id=csv")
    assert.same({ 200, "text/csv; charset=utf-8" }, { answer.status,
      answer.headers["content-type"] })
    local text = answer.body
    assert.matches("^session_id,started_at,", text)
    assert.truthy(text:find([["'=HYPERLINK(""http://x"",""a"")"]], 1, true), text)
    assert.truthy(text:find(",'+4930123456,", 1, true), text)
    assert.truthy(text:find('"a\nb"', 1, true), text)
    assert.equal(3, select(2, text:gsub("\r\n", "")))
    assert.is_nil(text:find("c1,", 1, true))
  end)

  it("leaves as CSV over many pages of the store, each call once", function()
    for i = 1, 520, 104 do
      process.at_once(104, function(k)
        result("many-" .. (i + k), { bot_id = "many", disconnected_by = "bot" })
      end)
    end
    local text = api:ask("GET", "/api/v1/calls/export.csv?bot_id=many").body
    local seen, lines = {}, 0
    for id in text:gmatch("many%-%d+") do
      lines = lines + (seen[id] and 0 or 1)
      seen[id] = true
    end
    assert.same({ 520, 521 }, { lines, select(2, text:gsub("\r\n", "")) })
  end)

  it("gives one call as the file it is stored as", function()
    local answer = api:ask("GET", "/api/v1/calls/c1/export.json")
    assert.same({ 200, 'attachment; filename="c1.json"' }, { answer.status,
      answer.headers["content-disposition"] })
    assert.equal("CANCEL", answer.answer.post_call_analysis.DISPOSITION)
  end)

  it("keeps of a redacted call only what is counted, whatever comes later", function()
    world:write(api.dir .. "/state/recordings/r/red.wav", "audio")
    local body = { bot_id = "red", call_duration_seconds = 9, caller_id = "+4930777777",
      recording_key = "recordings/r/red.wav", call_direction = "incoming",
      transcript = { { role = "user", text = "geheimnis" } },
      post_call_analysis = { DISPOSITION = "DONE", name = "Mia" } }
    result("red", body)
    local token
    support.wait_until("the public link", function()
      token = api:ask("GET", "/api/v1/calls/red").answer.recording_access_token
      return api:ask("GET", "/api/v1/public/recordings/" .. token, { secret = false }).status == 200
    end)
    assert.equal(200, api:ask("POST", "/api/v1/calls/red/redact").status)
    body.events = { { type = "late" } }
    result("red", body)
    local answer = api:ask("GET", "/api/v1/calls/red")
    local call = answer.answer
    assert.same({ "completed", 9, "DONE", "red" }, { call.status, call.call_duration_seconds,
      call.disposition, call.bot_id })
    assert.is_string(call.redacted_at)
    for _, secret in ipairs({ "geheimnis", "4930777777", "Mia", "red.wav", token }) do
      assert.is_nil(answer.body:find(secret, 1, true), secret)
    end
    assert.equal(0, api:ask("GET", "/api/v1/calls?q=geheimnis").answer.total)
    assert.equal(0, api:ask("GET", "/api/v1/calls?number=777777").answer.total)
    assert.equal(404, api:ask("GET", "/api/v1/recordings/red").status)
    assert.equal(404, api:ask("GET", "/api/v1/public/recordings/" .. token,
      { secret = false }).status)
    assert.is_nil(cxb.fs.stat(api.dir .. "/state/recordings/r/red.wav"))
    assert.equal(200, api:ask("POST", "/api/v1/calls/red/redact").status)
  end)
end)
