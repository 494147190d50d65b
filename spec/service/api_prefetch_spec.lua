-- stores: both
-- What is asked of a CRM before a call, and URLs of operators: the API, a CRM on a real socket.
local json = require("cxb.json")
local process = require("support.api_process")
local resolver = require("support.resolver")
local support = require("support.world")
local url = require("cxb.url")

local CRM = [[
return function(req)
  if req.path == "/big" then
    return req:respond(200, '{"name":"' .. ("x"):rep(300000) .. '"}')
  elseif req.path == "/text" then
    return req:respond(200, "not JSON")
  elseif req.path == "/down" then
    return req:respond(500, "{}")
  elseif req.path == "/moved" then
    return req:respond(302, "", { location = "/customers" })
  end
  return req:respond(200, '{"name":"Asha","plan":{"tier":2,"tags":["a","b"]},"debt":null}')
end
]]

local function config(api, bot, event)
  return api:ask("GET", ("/api/v1/config/%s?caller_id=%%2B919876543210&connected_event=%s")
    :format(bot, url.escape(json.encode(event or {}))))
end

local function make(api, fields)
  fields.name = fields.name or "B"
  return api:ask("POST", "/api/v1/bots", { body = fields })
end

describe("a CRM that is asked before a call", function()
  local world, api, crm, base

  setup(function()
    world = support.new()
    local port = world:port()
    crm = world:server("tcp:127.0.0.1:" .. port, CRM)
    base = "http://127.0.0.1:" .. port
    api = process.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
  end)

  teardown(function()
    world:close()
  end)

  local function bot(prefetch, more)
    prefetch.enabled, prefetch.timeout_ms = true, 10000 -- longer than a busy machine takes
    local fields = more or {}
    fields.crm_prefetch = prefetch
    fields.system_prompt = "{{crm.name}} {{crm.plan.tier}} {{crm.plan.tags.2}} {{crm.tier}}"
    local made = make(api, fields)
    assert.equal(201, made.status, made.body)
    return made.answer.id
  end

  local function warning(session_id)
    local call = api:ask("GET", "/api/v1/calls/" .. session_id).answer
    return call.config_warnings and call.config_warnings[1].code
  end

  it("gives crm.* variables, nested answers by dots", function()
    local id = bot({ url = base .. "/customers" })
    local answer = config(api, id, { name = "from the carrier" }).answer
    assert.equal("Asha 2 b {{crm.tier}}", answer.system_prompt)
    assert.same({ "Asha", 2, "from the carrier" }, { answer.variables["crm.name"],
      answer.variables["crm.plan.tier"], answer.variables["call.name"] })
    local call = api:ask("GET", "/api/v1/calls/" .. answer.session_id).answer
    assert.equal("Asha", call.crm_data.name)
    assert.is_nil(call.config_warnings)
  end)

  it("is asked with the call's variables, each harmless in its place", function()
    local id = bot({ method = "POST", url = base .. "/customers?n={{call.callerId}}&x={{nobody}}",
      headers = { ["x-id"] = "{{call.id}}" }, body = { number = "{{call.callerId}}", n = 1 },
      field_map = { tier = "$.plan.tier", first = "plan.tags[0]", gone = "plan.nothing.x" } })
    local answer = config(api, id, { callerId = "+91 \"&\"", id = "a\r\nb: c" }).answer
    local seen = crm.seen()
    local request = seen[#seen]
    assert.same({ "POST", "n=%2B91%20%22%26%22&x=", "a b: c" }, { request.method, request.query,
      request.headers["x-id"] })
    assert.same({ number = '+91 "&"', n = 1 }, json.decode(request.body))
    assert.same({ 2, "a", "" }, { answer.variables["crm.tier"], answer.variables["crm.first"],
      answer.variables["crm.gone"] })
    assert.is_nil(answer.variables["crm.plan.tier"])
  end)

  it("that fails leaves empty values and a warning, and the call goes on", function()
    local other = "http://127.0.0.1:" .. world:port()
    for target, code in pairs({ [base .. "/big"] = "too_large", [base .. "/text"] = "bad_response",
      [base .. "/down"] = "http_500", [base .. "/moved"] = "http_302", [other .. "/"] = "refused" }) do
      local id = bot({ url = target, field_map = { name = "name", tier = "plan.tier" } })
      local answer = config(api, id)
      assert.equal(200, answer.status)
      assert.equal("", answer.answer.variables["crm.name"])
      assert.matches("^ {{crm.plan.tier}}", answer.answer.system_prompt)
      assert.equal("crm_prefetch_" .. code, warning(answer.answer.session_id))
    end
  end)

  it("is not asked when a call is mocked, says so, or comes outside the bot's hours", function()
    local id = bot({ url = base .. "/customers" })
    local closed = bot({ url = base .. "/customers" }, { active_hours = { enabled = true,
      days = {} } })
    local before = #crm.seen()
    assert.equal("Mia", config(api, id, { _mock_crm = { name = "Mia" } }).answer
      .variables["crm.name"])
    assert.is_nil(config(api, id, { _skip_prefetch = true }).answer.variables["crm.name"])
    local refused = config(api, closed)
    assert.equal(503, refused.status)
    assert.matches("^outside_active_hours: ", refused.answer.message)
    assert.equal(before, #crm.seen())
  end)
end)

-- What no operator may have called (api.md §7).
local forbidden = {
  "http://127.0.0.1/", "http://localhost/", "http://10.0.0.1/", "http://172.16.0.1/",
  "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data", "http://100.64.0.1/",
  "http://0.0.0.0/", "http://224.0.0.1/", "http://240.0.0.1/", "http://[::1]/", "http://[fd00::1]/",
  "http://[fe80::1]/", "http://[::ffff:10.0.0.1]/", "http://2130706433/", "http://0x7f000001/",
  "http://user:pass@93.184.216.34/", "http://93.184.216.34:22/", "ftp://93.184.216.34/",
  "file:///etc/passwd", "gopher://93.184.216.34/", "http://93.184.216.34/" .. ("x"):rep(2048),
}

describe("a URL that an operator sets", function()
  local world, api, seeds

  setup(function()
    world = support.new()
    seeds = world:folder()
    for i, target in ipairs(forbidden) do
      world:write(("%s/bad%d.json"):format(seeds, i), json.encode({ name = "x",
        crm_prefetch = { enabled = true, url = target } }))
    end
    api = process.start(world, { env = { CXB_BOTS_SEED_DIR = seeds } })
  end)

  teardown(function()
    world:close()
  end)

  it("is refused where it is saved unless it is public", function()
    local fields = {
      crm_prefetch = function(target)
        return { crm_prefetch = { url = target } }, "crm_prefetch.url"
      end,
      post_call_push = function(target)
        return { post_call_push = { url = target } }, "post_call_push.url"
      end,
      tools = function(target)
        return { tools = { { name = "a", http = { url = target } } } }, "tools[0].http.url"
      end,
    }
    for name, fields_of in pairs(fields) do
      for _, target in ipairs(forbidden) do
        local body, path = fields_of(target)
        local refused = make(api, body)
        local first = (refused.answer.fields or {})[1] or {}
        assert.same({ 422, path }, { refused.status, first.path }, name .. " " .. target)
        if #target <= 2048 then
          assert.same({ "url_not_allowed", "url_not_allowed" }, { refused.answer.error,
            first.rule })
        end
      end
      local body = fields_of("https://93.184.216.34/{{call.x}}?y={{crm.z}}")
      assert.equal(201, make(api, body).status)
    end
  end)

  it("is refused again where it is used", function()
    for i, target in ipairs(forbidden) do
      if #target <= 2048 then
        local answer = config(api, "bad" .. i)
        assert.equal(200, answer.status, target)
        local call = api:ask("GET", "/api/v1/calls/" .. answer.answer.session_id).answer
        assert.equal("crm_prefetch_url_not_allowed", call.config_warnings[1].code, target)
      end
    end
  end)

  it("may have placeholders behind its host but not in it", function()
    for _, target in ipairs({ "https://{{crm.host}}/x", "https://x.{{crm.host}}/", "{{crm.base}}/x",
      "nonsense", "http:///crm.example/x" }) do
      assert.equal("url_not_allowed",
        make(api, { crm_prefetch = { url = target } }).answer.error, target)
    end
    assert.equal(201, make(api, { tools = { { name = "a", http = { url = "{{crm.base}}/x" } } } })
      .status)
  end)
end)

describe("a name that changes its address", function()
  it("is not followed to a private one: neither when it is saved nor when it is used", function()
    local world = support.new()
    local port = world:port()
    local crm = world:server("tcp:127.0.0.1:" .. port, CRM)
    local env = resolver.env(world, "93.184.216.34", "127.0.0.1")
    local api = process.start(world, { env = env })
    local target = ("http://%s:%d/customers"):format(resolver.NAME, port)
    local made = make(api, { crm_prefetch = { enabled = true, url = target } })
    assert.equal(201, made.status, made.body)
    local answer = config(api, made.answer.id)
    assert.equal(200, answer.status)
    local call = api:ask("GET", "/api/v1/calls/" .. answer.answer.session_id).answer
    assert.equal("crm_prefetch_url_not_allowed", call.config_warnings[1].code)
    assert.equal("url_not_allowed", make(api, { crm_prefetch = { url = target } }).answer.error)
    assert.same({}, crm.seen())
    world:close()
  end)
end)
