-- Language models over their wires: the providers against a simulated server on a real socket.

local json = require "cxb.json"
local llm_sim = require "spec.support.llm_sim"
local World = require "support.world"

local world, sim

setup(function()
  world = World.new()
  sim = llm_sim.start(world)
end)

teardown(function() world:close() end)

local function open(provider, changes)
  local stage = { provider = provider, api_key = "s3cret", model = "m-1", temperature = 0.7,
    max_tokens = 256, base_url = sim.url .. "/v1", extra = { project_id = "p", top_p = 0.9 } }
  for name, value in pairs(changes or {}) do stage[name] = value end
  local options = { stage = stage, settings = {}, vars = {} }
  return require("providers.llm_" .. provider).open(options)
end

local function ask(llm, words, more)
  local request = { messages = { { role = "system", content = "Be brief." }, { role = "user", content = words } } }
  for name, value in pairs(more or {}) do request[name] = value end
  return llm:stream(request)
end

local tool = { type = "function", ["function"] = { name = "get_balance", description = "Balance.",
  parameters = { type = "object", additionalProperties = false,
    properties = { account = { type = "string", pattern = "^[0-9]+$" } }, required = { "account" } } } }
local no_arguments = { type = "function", ["function"] = { name = "end_call", description = "Ends.",
  parameters = { type = "object", properties = json.object({}) } } }

for _, provider in ipairs { "openai", "google", "vertex" } do
  describe("the " .. provider .. " provider", function()
    it("hands on the words as they come, and counts", function()
      sim:answers { text = "We open at nine.", usage = { prompt = 40, completion = 4, cached = 30 } }
      local pieces = {}
      local answer = assert(ask(open(provider), "When?", { on_text = function(p) pieces[#pieces + 1] = p end }))
      assert.same({ "We", " open", " at", " nine." }, pieces)
      assert.equal("We open at nine.", answer.text)
      assert.equal("stop", answer.finish)
      assert.same({ prompt_tokens = 40, completion_tokens = 4, cache_read_input_tokens = 30,
        cache_creation_input_tokens = 0 }, answer.usage)
      assert.is_true(answer.ttft_ms >= 0)
    end)

    it("takes the model's tool calls and gives back their answers", function()
      sim:answers({ text = "Let me see.", tool_calls = {
        { name = "get_balance", arguments = { account = "42" } }, { name = "end_call" } } },
        { text = "It is ten." })
      local llm = open(provider)
      local answer = assert(ask(llm, "My balance?", { tools = { tool, no_arguments } }))
      assert.equal("tool_calls", answer.finish)
      assert.equal("Let me see.", answer.text)
      assert.equal(2, #answer.tool_calls)
      assert.equal("get_balance", answer.tool_calls[1].name)
      assert.same({ account = "42" }, json.decode(answer.tool_calls[1].arguments))
      assert.same({ "end_call", "{}" }, { answer.tool_calls[2].name, answer.tool_calls[2].arguments })
      local calls = {}
      for i, call in ipairs(answer.tool_calls) do
        calls[i] = { id = call.id, type = "function", ["function"] = { name = call.name, arguments = call.arguments } }
      end
      assert.equal("It is ten.", assert(llm:stream { tools = { tool, no_arguments }, messages = {
        { role = "user", content = "My balance?" },
        { role = "assistant", content = answer.text, tool_calls = calls },
        { role = "tool", tool_call_id = calls[1].id, content = '{"balance":10}' },
        { role = "tool", tool_call_id = calls[2].id, content = "done" },
      } }).text)
    end)

    it("asks a stream that says nothing or breaks off once more", function()
      for _, fault in ipairs { "empty", "nothing", "cut", "malformed" } do
        sim:answers({ text = "one two three four", fault = fault }, { text = "Good." })
        local answer, code, message = ask(open(provider), "Hello")
        assert.is_truthy(answer, ("%s: %s %s"):format(fault, tostring(code), tostring(message)))
        assert.equal("Good.", answer.text)
      end
    end)

    it("gives up after the second such stream, with its code", function()
      local codes = { empty = "empty", nothing = "empty", cut = "bad_response", malformed = "bad_response" }
      for fault, expected in pairs(codes) do
        local before = #sim:seen()
        sim:answers({ text = "one two", fault = fault }, { text = "one two", fault = fault }, { text = "never" })
        local answer, code = ask(open(provider), "Hello")
        assert.same({ fault, nil, expected }, { fault, answer, code })
        assert.equal(before + 2, #sim:seen())
      end
    end)

    it("does not ask again when words were handed on already", function()
      sim:answers({ text = "one two three four", fault = "cut" }, { text = "Good." })
      local before, heard = #sim:seen(), ""
      local answer, code = ask(open(provider), "Hello", { on_text = function(p) heard = heard .. p end })
      assert.same({ nil, "bad_response" }, { answer, code })
      assert.equal("one two", heard)
      assert.equal(before + 1, #sim:seen())
    end)

    it("names a refusal by its status and never quotes the server", function()
      for _, status in ipairs { 401, 429, 500 } do
        sim:answers { fault = status }
        local answer, code, message = ask(open(provider), "Hello")
        assert.same({ nil, "http_" .. status }, { answer, code })
        assert.is_nil(message:find("sentence", 1, true))
      end
    end)

    it("waits no longer for the first token, or for the whole, than it may", function()
      sim:answers { text = "late", fault = "slow" }
      local answer, code = ask(open(provider), "Hello", { first_ms = 150 })
      assert.same({ nil, "timeout" }, { answer, code })
      sim:answers { text = "one two", fault = "stall" }
      answer, code = ask(open(provider), "Hello", { total_ms = 300 })
      assert.same({ nil, "timeout" }, { answer, code })
    end)

    it("cancelled closes the connection at once", function()
      local llm = open(provider)
      sim:answers { text = "one two", fault = "slow" }
      local result
      local before = #sim:seen()
      cxb.task.spawn("stream", function() result = { ask(llm, "Hello", { first_ms = 60000 }) } end)
      world:wait_until("the request", function() return #sim:seen() > before end)
      llm:cancel()
      world:wait_until("the end of the stream", function() return result end)
      assert.same({ nil, "cancelled" }, { result[1], result[2] })
      world:wait_until("the server to see it", function() return sim:last().left end)
      sim:answers { text = "Still here." }
      assert.equal("Still here.", assert(ask(llm, "Hello")).text)
    end)

    it("keeps its connection from turn to turn", function()
      local llm, before = open(provider), #sim:seen()
      sim:script { rules = { { text = "Yes." } } }
      for _ = 1, 10 do assert(ask(llm, "Hello")) end
      local used, count = {}, 0
      for i, request in ipairs(sim:seen()) do
        if i > before and not used[request.connection] then
          used[request.connection], count = true, count + 1
        end
      end
      -- A turn that begins before the last one's connection is free again takes another; three serve all.
      assert.is_true(count <= 3, count)
    end)

    it("tells a server that is not there from one that answers badly", function()
      local answer, code = ask(open(provider, { base_url = "http://127.0.0.1:" .. world:port() }), "Hello")
      assert.same({ nil, "network" }, { answer, code })
    end)
  end)
end

describe("a request", function()
  it("to a chat completions server has its shape", function()
    sim:answers { text = "Yes." }
    assert(ask(open "openai", "Hello", { tools = { tool }, json = true, temperature = 0,
      cache = { key = "bot:7", retention = "24h" } }))
    local seen = sim:last()
    assert.equal("/v1/chat/completions", seen.path)
    assert.equal("Bearer s3cret", seen.headers.authorization)
    assert.same({
      model = "m-1", stream = true, stream_options = { include_usage = true }, temperature = 0,
      max_tokens = 256, top_p = 0.9, response_format = { type = "json_object" },
      prompt_cache_key = "bot:7", prompt_cache_retention = "24h", tools = { tool },
      messages = { { role = "system", content = "Be brief." }, { role = "user", content = "Hello" } },
    }, seen.body)
  end)

  it("to Gemini has its shape: roles, instruction, a schema it understands", function()
    sim:answers { text = "Yes." }
    assert(open("google"):stream { tools = { tool, no_arguments }, messages = {
      { role = "system", content = "Be brief." }, { role = "assistant", content = "Hello." },
      { role = "user", content = "One." }, { role = "user", content = "Two." } } })
    local seen = sim:last()
    assert.equal("/v1/models/m-1:streamGenerateContent?alt=sse", seen.path)
    assert.equal("s3cret", seen.headers["x-goog-api-key"])
    assert.same({ parts = { { text = "Be brief." } } }, seen.body.systemInstruction)
    assert.same({
      { role = "user", parts = { { text = "(the call begins)" } } },
      { role = "model", parts = { { text = "Hello." } } },
      { role = "user", parts = { { text = "One." }, { text = "Two." } } },
    }, seen.body.contents)
    assert.same({ { functionDeclarations = {
      { name = "get_balance", description = "Balance.", parameters = { type = "object",
        properties = { account = { type = "string" } }, required = { "account" } } },
      { name = "end_call", description = "Ends." },
    } } }, seen.body.tools)
    assert.same({ temperature = 0.7, maxOutputTokens = 256, topP = 0.9 }, seen.body.generationConfig)
  end)

  it("gives a Gemini model its thought signature back with the call it belongs to", function()
    sim:answers({ tool_calls = { { name = "get_balance", arguments = { account = "1" } } } }, { text = "Ten." })
    local llm = open "google"
    local call = assert(ask(llm, "Balance?", { tools = { tool } })).tool_calls[1]
    assert(llm:stream { messages = { { role = "user", content = "Balance?" },
      { role = "assistant", tool_calls = { { id = call.id, type = "function", ["function"] = call } } },
      { role = "tool", tool_call_id = call.id, content = "10" } } })
    local contents = sim:last().body.contents
    assert.matches("^signature_", contents[2].parts[1].thoughtSignature)
    assert.same({ functionResponse = { name = "get_balance", response = { result = "10" } } }, contents[3].parts[1])
  end)

  it("to Vertex goes to the project and location, with the token as it is", function()
    sim:answers { text = "Yes." }
    local extra = { project_id = "acme", location = "europe-west1" }
    assert(ask(open("vertex", { base_url = sim.url, extra = extra }), "Hi"))
    local seen = sim:last()
    assert.equal("/v1/projects/acme/locations/europe-west1/publishers/google/models/m-1"
      .. ":streamGenerateContent?alt=sse", seen.path)
    assert.equal("Bearer s3cret", seen.headers.authorization)
  end)

  it("to Vertex with a service account's key carries a token got for a signed assertion", function()
    local dir = world:folder()
    local function openssl(...)
      assert.equal(0, world:start({ "openssl", ... }):wait(60000))
    end
    openssl("genrsa", "-out", dir .. "/key.pem", "2048")
    openssl("rsa", "-in", dir .. "/key.pem", "-pubout", "-out", dir .. "/pub.pem")
    local account = json.encode { type = "service_account", project_id = "acme", client_email = "bot@acme.example",
      private_key = world:read(dir .. "/key.pem"), private_key_id = "k1", token_uri = sim.url .. "/token" }
    local llm = assert(open("vertex", { api_key = account, extra = {} }))
    for _ = 1, 2 do
      sim:answers { text = "Yes." }
      assert(ask(llm, "Hi"))
    end
    assert.matches("^Bearer token%-%d+$", sim:last().headers.authorization)
    local exchanges = {}
    for _, seen in ipairs(sim:seen()) do
      if seen.path == "/token" then exchanges[#exchanges + 1] = seen end
    end
    local assertion = exchanges[1].body:match("assertion=([%w%-_.]+)")
    local signed, mark = assertion:match("^(.*)%.([^.]*)$")
    world:write(dir .. "/signed", signed)
    world:write(dir .. "/mark", cxb.crypto.unbase64url(mark))
    openssl("dgst", "-sha256", "-verify", dir .. "/pub.pem", "-signature", dir .. "/mark", dir .. "/signed")
    local claims = json.decode(cxb.crypto.unbase64url(signed:match("%.(.*)$")))
    assert.equal("bot@acme.example", claims.iss)
    assert.equal(sim.url .. "/token", claims.aud)
    assert.equal(3600, claims.exp - claims.iat)
    -- another key of the same account is asked for its own token
    openssl("genrsa", "-out", dir .. "/other.pem", "2048")
    local before = sim:last().headers.authorization
    sim:answers { text = "Yes." }
    assert(ask(assert(open("vertex", { api_key = json.encode { project_id = "acme", token_uri = sim.url .. "/token",
      client_email = "bot@acme.example", private_key = world:read(dir .. "/other.pem") }, extra = {} })), "Hi"))
    assert.not_equal(before, sim:last().headers.authorization)
  end)

  it("is refused before it is made when the stage is wrong", function()
    local llm, code, message = open("vertex", { extra = {} })
    assert.same({ nil, "invalid", "extra.project_id and extra.location are expected" }, { llm, code, message })
    llm, code = open("openai", { base_url = "ftp://x" })
    assert.same({ nil, "invalid" }, { llm, code })
    llm, code, message = open("vertex", { api_key = "{}" })
    assert.same({ nil, "invalid" }, { llm, code })
    assert.matches("private_key", message)
  end)
end)

describe("TLS", function()
  it("is shaken hands for once: turns share the connection that was opened ahead", function()
    local dir = world:folder()
    assert.equal(0, world:start({ "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
      "-keyout", dir .. "/key.pem", "-out", dir .. "/cert.pem", "-subj", "/CN=localhost",
      "-addext", "subjectAltName=DNS:localhost" }):wait(60000))
    world:write(dir .. "/both.pem", world:read(dir .. "/key.pem") .. world:read(dir .. "/cert.pem"))
    local tls = llm_sim.start(world, { "--tls", dir .. "/both.pem" })
    local script = dir .. "/turns.lua"
    world:write(script, [[
      package.path = cxb.root .. "/lua/?.lua;" .. package.path
      local llm = assert(require("providers.llm_openai").open({ settings = {}, stage = {
        model = "m", base_url = cxb.args[1] } }))
      local function seen()
        return cxb.http.request({ url = cxb.args[1] .. "/_seen" }).body
      end
      while not seen():find("HEAD", 1, true) do cxb.time.sleep(10) end
      for _ = 1, 3 do
        assert(llm:stream({ messages = { { role = "user", content = "Hello" } } }))
      end
      cxb.process.print(seen() .. "\n")
      return 0
    ]])
    local p = world:start({ World.program, script, ("https://localhost:%d"):format(tls.port) },
      { SSL_CERT_FILE = dir .. "/cert.pem" })
    assert.equal(0, p:wait(60000), p:output())
    local turns = 0
    for _, seen in ipairs(json.decode(p:output())) do
      turns = turns + (seen.method == "POST" and 1 or 0)
      -- One was opened ahead, one by the question whether it was: both before the first turn.
      assert.is_true(seen.connection <= 2)
    end
    assert.equal(3, turns)
  end)
end)
