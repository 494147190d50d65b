-- Tools of language models against real HTTP servers: what is sent, what the model is told, and
-- what leads nowhere.

local json = require "cxb.json"
local tool_call = require "spec.support.tool_call"
local tools = require "cxb.tools"
local World = require "support.world"

local SERVER = [[
return function(req, seen, body)
  local path = req.path
  if path == "/json" then return req:respond(200, '{"data":{"items":[{"name":"first"},{"name":"second"}],"n":7}}') end
  if path == "/text" then return req:respond(200, "not json") end
  if path == "/empty" then return req:respond(204) end
  if path == "/long" then return req:respond(200, '{"t":"' .. ("word "):rep(3000) .. '"}') end
  if path == "/hindi" then return req:respond(200, '"' .. ("नमस्ते "):rep(9) .. '"') end
  if path == "/huge" then return req:respond(200, '"' .. ("x"):rep(10 * 1024 * 1024) .. '"') end
  if path == "/redirect" then return req:respond(302, "", { location = "/json" }) end
  if path == "/404" then return req:respond(404, '{"secret":"of the server"}') end
  if path == "/slow" then cxb.time.sleep(3000) return req:respond(200, "{}") end
  if path == "/flaky" then
    local n = 0
    for _, r in ipairs(seen) do n = n + (r.path == path and r.method == req.method and 1 or 0) end
    return req:respond(n % 3 == 0 and 200 or 503, '{"ok":true}')
  end
  if path == "/api/v1/knowledge/search" then
    local q = body:match('"query":"([^"]*)"')
    if q == "slow" then cxb.time.sleep(6000) end
    if q == "broken" then return req:respond(200, "[]") end
    local found = '{"text":"9 to 6","score":0.9,"title":"Hours","document_id":"d"}'
    return req:respond(200, '{"results":[' .. (q == "hours" and found or "") .. "]}")
  end
  req:respond(200, '{"path":"' .. path .. '"}')
end
]]

local world, url, server

setup(function()
  require("cxb.core.figures").declare()
  world = World.new()
  local port = world:port()
  url = "http://127.0.0.1:" .. port
  server = world:server("tcp:127.0.0.1:" .. port, SERVER)
end)

teardown(function() world:close() end)

local parameters = { type = "object", required = { "account" }, properties = {
  account = { type = "string" }, note = { type = "string" }, count = { type = "integer" } } }

local function call_with(http, more)
  local o = { vars = { ["crm.base_url"] = url, ["crm.name"] = 'A "B" & ü', ["call.line"] = "x\r\nEvil: 1" },
    settings = { CXB_OUTBOUND_ALLOW = { "127.0.0.1" } } }
  local tool = { type = "function", ["function"] = { name = "t", description = "T.", parameters = parameters },
    http = http, error_message = "Sorry {{crm.name}} {{nobody}}." }
  for name, value in pairs(more or {}) do tool[name] = value end
  return tool_call.new({ tools = { tool } }, o)
end

local function run(http, args, more)
  local call = call_with(http, more)
  local answer, info = tools.new(call):run("t", json.encode(args or { account = "42" }))
  return answer, info, call
end

local function last()
  local seen = server.seen()
  return seen[#seen]
end

describe("a tool's request", function()
  it("without query and body carries the arguments: as a query or as JSON", function()
    for method, sent in pairs { GET = true, DELETE = true, POST = false, PUT = false, PATCH = false } do
      local answer, info = run({ method = method, url = "{{crm.base_url}}/balance" }, { account = "a b", count = 3 })
      assert.equal('{"path":"/balance"}', answer)
      assert.equal(200, info.status)
      local seen = last()
      assert.equal(method, seen.method)
      assert.equal(sent and "account=a%20b&count=3" or "", seen.query)
      assert.equal(sent and "" or '{"account":"a b","count":3}', seen.body)
    end
  end)

  it("puts values where they are asked for, escaped for the place", function()
    run({ method = "POST", url = "{{crm.base_url}}/a/{{args.account}}?name={{crm.name}}",
      headers = { ["X-Key"] = "k {{line}}" }, query = { acc = "{{args.account}}", n = "{{args.count}}" },
      body = '{"who":"{{crm.name}}"}' }, { account = "../x?y=1#z", count = 5 })
    local seen = last()
    assert.equal("/a/../x?y=1#z", seen.path) -- decoded by the server: one segment on the wire
    assert.equal("name=A%20%22B%22%20%26%20%C3%BC&acc=..%2Fx%3Fy%3D1%23z&n=5", seen.query)
    assert.equal("k x Evil: 1", seen.headers["x-key"])
    assert.is_nil(seen.headers.evil)
    assert.equal('A "B" & ü', json.decode(seen.body).who)
  end)

  it("keeps the type of a value that stands alone, and leaves out what the model left out", function()
    run({ method = "PUT", url = url .. "/x", body = { acc = "{{args.account}}", n = "{{args.count}}",
      note = "{{args.note}}", text = "n={{args.count}}{{args.note}}" } }, { account = "1", count = 2 })
    assert.equal('{"acc":"1","n":2,"text":"n=2"}', last().body)
  end)

  it("with a name nobody knows is not sent", function()
    local before = #server.seen()
    local answer, info, call = run({ url = url .. "/{{crm.nothing}}", headers = { a = "{{b.c}}" } })
    assert.equal('{"error":"template_unresolved"}', answer)
    assert.equal("template_unresolved", info.error)
    assert.same({ "crm.nothing", "b.c" }, { unpack(call.events[2].data.names) })
    assert.equal("template_unresolved", call.events[2].type)
    assert.equal(before, #server.seen())
  end)

  it("is not sent when the arguments do not fit, and the model is told which", function()
    local before = #server.seen()
    assert.equal('{"error":"invalid_arguments","field":"account"}', (run({ url = url .. "/x" }, {})))
    assert.equal('{"error":"invalid_arguments","field":"count"}', (run({ url = url .. "/x" },
      { account = "1", count = "two" })))
    local call = call_with { url = url .. "/x" }
    assert.equal('{"error":"invalid_arguments","field":"arguments"}', (tools.new(call):run("t", "{oops")))
    assert.equal(before, #server.seen())
  end)

  it("is sent again only where that is harmless, and as often as is said", function()
    for method, expected in pairs { GET = 3, PUT = 3, DELETE = 3, POST = 1, PATCH = 1 } do
      local before = #server.seen()
      local _, info = run({ method = method, url = url .. "/flaky", retries = 2 })
      assert.same({ method, expected }, { method, #server.seen() - before })
      assert.equal(expected == 3 and 200 or "http_503", info.status)
    end
  end)
end)

describe("a tool's answer", function()
  it("is cut to the part that is asked for, and to its length", function()
    assert.equal("second", (run { url = url .. "/json", response_path = "data.items.1.name" }))
    assert.equal("7", (run { url = url .. "/json", response_path = "data.n" }))
    assert.equal('{"name":"first"}', (run { url = url .. "/json", response_path = "data.items.0" }))
    assert.equal('{"status":204}', (run { url = url .. "/empty" }))
    local answer = run { url = url .. "/long", response_path = "t", max_chars = 52 }
    assert.equal(("word "):rep(10):sub(1, -2), answer)
    assert.is_true(#run { url = url .. "/long" } <= 4000)
    assert.equal("नमस्ते नमस्ते", (run { url = url .. "/hindi", max_chars = 14 })) -- six characters each
  end)

  it("that is no use is an error of few words", function()
    local cases = {
      ["/text"] = "bad_response", ["/huge"] = "bad_response", ["/404"] = "http_404", ["/redirect"] = "http_302",
      ["/slow"] = "timeout",
    }
    for path, code in pairs(cases) do
      local answer, info = run { url = url .. path, timeout_ms = code == "timeout" and 300 or 15000 }
      assert.same({ path, '{"error":"' .. code .. '"}', code }, { path, answer, info.error })
      assert.equal('Sorry A "B" & ü.', info.error_message)
    end
    assert.equal('{"error":"bad_response"}', (run { url = url .. "/json", response_path = "data.none" }))
    assert.equal('{"error":"network"}', (run { url = "http://127.0.0.1:" .. world:port() .. "/" }))
  end)

  it("and its call are noted", function()
    local _, info, call = run({ url = url .. "/json" })
    assert.same({ "tool_call", "custom_tool_result" }, { call.events[1].type, call.events[2].type })
    assert.same({ name = "t", arguments = { account = "42" } }, call.events[1].data)
    assert.same({ name = "t", status = 200, ms = info.ms }, call.events[2].data)
    run { url = url .. "/404" }
    local metrics = cxb.metrics.render("worker")
    assert.matches('cxb_tool_seconds_count{result="ok"} %d', metrics)
    assert.matches('cxb_tool_seconds_count{result="http_404"} %d', metrics)
  end)
end)

describe("a tool", function()
  it("reaches no private address but for exceptions, by name or by number", function()
    local refused = '{"error":"url_not_allowed"}'
    for _, address in ipairs { "http://127.0.0.2/", "http://10.0.0.1/", "http://169.254.169.254/latest",
      "http://[::1]:8080/", "http://localhost:8080/", "file:///etc/passwd", "http://u:p@example.com/",
      "{{args.account}}" } do
      local call = call_with { url = address }
      call.session.settings.CXB_OUTBOUND_ALLOW = { "10.9.9.9" }
      assert.same({ address, refused }, { address, (tools.new(call):run("t", '{"account":"http://127.0.0.1"}')) })
    end
  end)

  it("nobody declared is an error to the model, and the call goes on", function()
    local call = call_with { url = url .. "/x" }
    local answer, info = tools.new(call):run("other", "{}")
    assert.same({ '{"error":"unknown_tool"}', "unknown_tool" }, { answer, info.error })
  end)

  it("without a request only notes what it was told", function()
    local answer, info, call = run(nil, { account = "42" })
    assert.same({ '{"status":"ok"}', "ok" }, { answer, info.status })
    assert.is_nil(info.error)
    assert.same({ account = "42" }, call.events[1].data.arguments)
  end)

  it("says what ends the call, and is offered without our keys", function()
    local _, info, call = run({ url = url .. "/json" }, nil, { end_call_after = true, pre_message = "One moment." })
    assert.is_true(info.end_call)
    local list = tools.new(call):definitions()
    local names = {}
    for i, definition in ipairs(list) do names[i] = definition["function"].name end
    assert.same({ "end_call", "transfer_call", "detected_voicemail", "t" }, names)
    assert.same({ type = "function",
      ["function"] = { name = "t", description = "T.", parameters = parameters } }, list[4])
    assert.equal("One moment.", tools.new(call):find("t").pre_message)
  end)

  it("may be declared flat", function()
    local call = tool_call.new({ tools = { { name = "flat", description = "F.", http = { url = url .. "/json",
      response_path = "data.n" } } } }, { settings = { CXB_OUTBOUND_ALLOW = { "127.0.0.0/8" } } })
    local list = tools.new(call)
    assert.equal("7", (list:run("flat", "")))
    assert.equal('{"function":{"description":"F.","name":"flat","parameters":'
      .. '{"properties":{},"type":"object"}},"type":"function"}', json.encode(list:definitions()[4], true))
  end)
end)

describe("a search of the knowledge base", function()
  local function search(query, changes)
    local config = { knowledge_enabled = true, knowledge_kb_ids = json.array({ "kb1" }), knowledge_top_k = 4,
      knowledge_score_threshold = 0.2, knowledge_strict = true, knowledge_trigger_instructions = "For prices.",
      knowledge_fallback_message = "I do not know that." }
    for name, value in pairs(changes or {}) do config[name] = value end
    local call = tool_call.new(config, { settings = { api = url .. "/api/v1", CXBCORE_SECRET = "s3cret" } })
    local list = tools.new(call)
    local answer, info = list:run("search_knowledge", json.encode({ query = query }))
    return answer, info, call, list
  end

  it("asks the API and tells the model what was found", function()
    local answer, info, call, list = search("hours")
    assert.same({ results = { { title = "Hours", text = "9 to 6" } } }, json.decode(answer))
    assert.is_true(info.rag_ms >= 0)
    local seen = last()
    assert.equal("s3cret", seen.headers["x-cxb-core-secret"])
    assert.equal('{"kb_ids":["kb1"],"query":"hours","top_k":4,"score_threshold":0.2}', seen.body)
    assert.same({ "tool_call", "knowledge_search" }, { call.events[1].type, call.events[2].type })
    local noted = call.events[2].data
    assert.same({ "hours", 1, 200 }, { noted.query, noted.results, noted.status })
    assert.matches("For prices.", list:definitions()[4]["function"].description, 1, true)
  end)

  it("that finds nothing gives the fallback's words when it is strict", function()
    local answer, info = search("unicorns")
    assert.equal("I do not know that.", info.fallback)
    assert.equal("I do not know that.", json.decode(answer).answer)
    answer, info = search("unicorns", { knowledge_strict = false })
    assert.is_nil(info.fallback)
    assert.same({ results = {} }, json.decode(answer))
  end)

  it("waits 1.5 s at most, and survives an answer it cannot read", function()
    local answer, info = search("slow", { knowledge_strict = false })
    assert.same({ '{"error":"timeout"}', "timeout" }, { answer, info.error })
    assert.equal("bad_response", select(2, search("broken")).error)
    assert.equal("I do not know that.", select(2, search("broken")).fallback)
  end)

  it("is unknown when the bot has no knowledge", function()
    local answer = search("hours", { knowledge_enabled = false })
    assert.equal('{"error":"unknown_tool"}', answer)
  end)
end)
