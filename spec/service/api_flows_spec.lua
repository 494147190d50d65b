-- stores: both
-- Flows in the API: written, judged, published, taken back; what hosts fetch.
local json = require("cxb.json")
local process = require("support.api_process")
local support = require("support.world")

local GOOD = 'return function(call)\n  call:say("Hello from %s.")\nend\n'

describe("flows", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function ask(verb, path, body, headers, token)
    return api:ask(verb, "/api/v1/flows" .. path, { body = body, headers = headers, token = token,
      timeout_ms = 60000 })
  end

  local function make(name)
    local made = ask("POST", "", { name = name })
    assert.equal(201, made.status, made.body)
    return made.answer
  end

  local function draft(name, source, base)
    local kept = ask("PUT", "/" .. name .. "/draft", { source = source, base_version = base })
    assert.equal(200, kept.status, kept.body)
    return kept
  end

  local function publish(name, source, base)
    draft(name, source, base)
    local done = ask("POST", "/" .. name .. "/publish", { note = "n" })
    assert.equal(202, done.status, done.body)
    return done.answer
  end

  local function bundle()
    local files = {}
    local answer = ask("GET", "/bundle").answer
    for _, file in ipairs(answer.files) do
      files[file.path] = file
    end
    return files, answer.revision
  end

  it("are listed in pages like everything else", function()
    make("paged_a")
    make("paged_b")
    local all, names, seen, after = ask("GET", "?limit=200").answer, {}, {}, nil
    for i, item in ipairs(all.items) do
      names[i] = item.name
    end
    assert.same({ #names, true, json.null }, { all.total, all.total_exact, all.next })
    repeat
      local page = ask("GET", "?limit=2" .. (after and "&after=" .. after or "")).answer
      assert.is_true(#page.items <= 2 and page.total == #names)
      for _, item in ipairs(page.items) do
        seen[#seen + 1] = item.name
      end
      after = page.next ~= json.null and page.next or nil
    until not after
    assert.same(names, seen)
    assert.equal(names[3], ask("GET", "?limit=2&page=2").answer.items[1].name)
    for _, bad in ipairs({ "?limit=0", "?limit=201", "?page=2&after=a", "?colour=red" }) do
      assert.equal(400, ask("GET", bad).status, bad)
    end
  end)

  it("are those that are shipped, and those that are made here", function()
    make("mine")
    local items = {}
    for _, item in ipairs(ask("GET", "").answer.items) do
      items[item.name] = item
    end
    assert.same({ true, 0, false }, { items.demo.shipped, items.demo.active_version,
      items.demo.has_draft })
    assert.equal("demo", items.demo.bots[1].id)
    assert.same({ false, nil, true }, { items.mine.shipped, items.mine.active_version,
      items.mine.has_draft })
    local demo = ask("GET", "/demo").answer
    assert.matches("The demonstration", demo.source)
    assert.equal("shipped", demo.by)
    assert.equal(demo.source, ask("GET", "/demo/versions/0").answer.source)
    assert.same({ 409, "duplicate" }, { ask("POST", "", { name = "mine" }).status,
      ask("POST", "", { name = "demo" }).answer.error })
    assert.equal(422, ask("POST", "", { name = "Not-This" }).status)
    assert.equal(404, ask("GET", "/nobody").status)
    local copy = ask("POST", "", { name = "copy", from = "demo" }).answer
    assert.equal(demo.source, copy.draft.source)
    assert.equal(401, api:ask("GET", "/api/v1/flows", { secret = false }).status)
  end)

  it("tell an editor the script API", function()
    local files = ask("GET", "/types").answer.files
    assert.matches("function call:say%(said, opts%) end", files[2].content)
    assert.truthy(loadstring(files[2].content))
    assert.matches("cxb.time.now", files[1].content)
  end)

  it("keep drafts whatever is in them, but not over what somebody else wrote", function()
    make("shared")
    draft("shared", "this is no Lua (", 0)
    assert.equal("this is no Lua (", ask("GET", "/shared").answer.draft.source)
    local other = api:ask("POST", "/api/v1/auth/register", { body = { email = "b@example.org",
      name = "B", role = "admin", password = "another long one" } })
    assert.equal(201, other.status, other.body)
    local token = process.token("b@example.org", { role = "admin" })
    local etag = ask("GET", "/shared").headers.etag
    local refused = ask("PUT", "/shared/draft", { source = "x", base_version = 0 }, nil, token)
    assert.same({ 409, "version_conflict", "this is no Lua (" }, { refused.status,
      refused.answer.error, refused.answer.current.draft.source })
    refused = ask("PUT", "/shared/draft", { source = "x", base_version = 3 })
    assert.equal(409, refused.status)
    assert.equal(200, ask("PUT", "/shared/draft", { source = "x", base_version = 0 },
      { ["if-match"] = etag }, token).status)
    assert.equal(409, ask("PUT", "/shared/draft", { source = "y", base_version = 0 },
      { ["if-match"] = etag }).status)
    assert.equal(413, ask("PUT", "/shared/draft", { source = ("x"):rep(300 * 1024),
      base_version = 0 }, { ["if-match"] = "*" }).status)
  end)

  it("are judged in a process that may not do harm", function()
    make("judged")
    local function judge(source)
      local answer = ask("POST", "/judged/validate", { source = source })
      assert.equal(200, answer.status, answer.body)
      local first = answer.answer.diagnostics[1] or {}
      return answer.answer.ok, first.code, first.line
    end
    assert.same({ true }, { judge(GOOD:format("here")) })
    assert.same({ false, "syntax", 2 }, { judge("return function(call)\n  call:say(") })
    assert.same({ false, "time_limit", 2 }, { judge("local x = 1\nwhile true do end") })
    assert.same({ false, "time_limit", 1 }, { judge("while true do pcall(error) end") })
    assert.same({ false, "memory_limit", 2 },
      { judge("local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1e6) .. #t end") })
    assert.same({ false, "unknown_global", 1 }, { judge("local f = io.open('/etc/passwd')") })
    assert.same({ false, "no_entry", 1 }, { judge("return 5") })
    assert.equal(413, ask("POST", "/judged/validate", { source = ("x"):rep(300 * 1024) }).status)
  end)

  it("reach nobody while they are judged, whatever they try", function()
    local port = world:port()
    local server = world:server("tcp:127.0.0.1:" .. port,
      "return function(req) req:respond(200, 'x') end")
    make("caller")
    local answer = ask("POST", "/caller/validate", { source = ([[
      local answer, code = cxb.http.request({ url = "http://127.0.0.1:%d/", timeout_ms = 2000 })
      error("got " .. tostring(answer))
    ]]):format(port) }).answer
    assert.equal("got nil", answer.diagnostics[1].message)
    assert.same({}, server.seen())
  end)

  it("that are shipped are judged by their own specs, too", function()
    local shipped = ask("POST", "/demo/validate").answer
    assert.is_true(shipped.ok)
    assert.is_true(shipped.tests.passed > 5)
    assert.equal(0, shipped.tests.failed)
    local other = ask("POST", "/demo/validate", { source = GOOD:format("there") }).answer
    assert.is_true(other.ok)
    assert.is_true(other.tests.failed > 5)
    assert.truthy(other.tests.failures[1].name)
  end)

  it("are published only when nothing is wrong with them", function()
    make("careful")
    local _, before = bundle()
    draft("careful", "return nothing_here", 0)
    local refused = ask("POST", "/careful/publish", {})
    assert.same({ 422, "flow_invalid", "unknown_global" }, { refused.status, refused.answer.error,
      refused.answer.diagnostics[1].code })
    local files, revision = bundle()
    assert.same({ before, nil }, { revision, files["careful.lua"] })
    draft("careful", GOOD:format("one"), 0)
    assert.equal(409, ask("POST", "/careful/publish", { expected_version = 4 }).status)
    local done = ask("POST", "/careful/publish", { note = "first", expected_version = 0 })
    assert.same({ 202, 1, before + 1 }, { done.status, done.answer.version, done.answer.revision })
    files, revision = bundle()
    assert.same({ before + 1, GOOD:format("one") }, { revision, files["careful.lua"].content })
    assert.equal(cxb.crypto.hex(cxb.crypto.sha256(GOOD:format("one"))),
      files["careful.lua"].sha256)
    local flow = ask("GET", "/careful").answer
    assert.same({ 1, nil, "first", process.ADMIN }, { flow.active_version, flow.draft, flow.note,
      flow.by })
    assert.equal(409, ask("POST", "/careful/publish", {}).status)
  end)

  it("go back in one request, as a new version", function()
    make("back")
    publish("back", GOOD:format("one"), 0)
    publish("back", GOOD:format("two"), 1)
    local done = ask("POST", "/back/rollback", { version = 1 })
    assert.same({ 202, 3 }, { done.status, done.answer.version })
    assert.equal(GOOD:format("one"), bundle()["back.lua"].content)
    local states = {}
    for i, row in ipairs(ask("GET", "/back/versions").answer.items) do
      states[i] = row.version .. " " .. row.status
    end
    assert.same({ "3 published", "2 superseded", "1 superseded" }, states)
    assert.equal(404, ask("POST", "/back/rollback", { version = 9 }).status)
  end)

  it("that are shipped stay originals under an edited copy", function()
    local original = ask("GET", "/echo").answer.source
    publish("echo", GOOD:format("a copy"), 0)
    assert.equal(GOOD:format("a copy"), ask("GET", "/echo").answer.source)
    assert.equal(original, ask("GET", "/echo/versions/0").answer.source)
    assert.equal(204, ask("DELETE", "/echo").status)
    assert.same({ original, nil }, { ask("GET", "/echo").answer.source, bundle()["echo.lua"] })
    assert.equal(409, ask("DELETE", "/echo").status)
  end)

  it("are not removed while a bot uses them", function()
    make("used")
    publish("used", GOOD:format("used"), 0)
    local bot = api:ask("POST", "/api/v1/bots", { body = { name = "U", flow = "used" } }).answer
    local refused = ask("DELETE", "/used")
    assert.same({ 409, "flow_in_use", bot.id }, { refused.status, refused.answer.error,
      refused.answer.bots[1].id })
    api:ask("DELETE", "/api/v1/bots/" .. bot.id)
    assert.equal(204, ask("DELETE", "/used").status)
    assert.is_nil(bundle()["used.lua"])
    local again = api:ask("POST", "/api/v1/bots", { body = { name = "U", flow = "used" } })
    assert.equal("unknown_flow", again.answer.fields[1].rule)
  end)

  it("come to hosts once for each revision", function()
    local answer = ask("GET", "/bundle")
    local known = ask("GET", "/bundle?revision=1", nil, { ["if-none-match"] = answer.headers.etag })
    assert.same({ 304, "" }, { known.status, known.body or "" })
    assert.equal(403, ask("GET", "/bundle", nil, nil, process.token()).status)
  end)

  it("are published by whom the settings say", function()
    make("guarded")
    draft("guarded", GOOD:format("x"), 0)
    api:ask("PUT", "/api/v1/settings/limits", { body = { flow_publish_role = "super_admin" } })
    local made = api:ask("POST", "/api/v1/auth/register", { body = { email = "c@example.org",
      name = "C", role = "admin", password = "another long one" } })
    assert.equal(201, made.status)
    local token = process.token("c@example.org", { role = "admin" })
    assert.equal(403, ask("POST", "/guarded/publish", {}, nil, token).status)
    assert.equal(403, ask("POST", "/guarded/rollback", { version = 1 }, nil, token).status)
    assert.equal(202, ask("POST", "/guarded/publish", {}).status)
  end)
end)
