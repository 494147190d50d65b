-- Prompts kept by the provider: a simulated Gemini that keeps and drops them, and an API that makes
-- them again.

local json = require "cxb.json"
local llm_sim = require "spec.support.llm_sim"
local prompt_cache = require "cxb.prompt_cache"
local World = require "support.world"

local API = [[
return function(req, seen, body)
  if req.path == "/api/v1/bots/slow/live-prompt-cache/recreate" then return req:respond(503, "{}") end
  local answer = cxb.http.request { url = "$SIM/v1beta/cachedContents", method = "POST", body = "{}" }
  req:respond(200, '{"prompt_cache_key":"' .. answer.body:match('"name": *"([^"]*)"') .. '"}')
end
]]

local world, sim, api, settings

setup(function()
  world = World.new()
  sim = llm_sim.start(world)
  local port = world:port()
  api = world:server("tcp:127.0.0.1:" .. port, (API:gsub("$SIM", sim.url)))
  settings = { api = ("http://127.0.0.1:%d/api/v1"):format(port), CXBCORE_SECRET = "s3cret" }
end)

before_each(prompt_cache.clear)

teardown(function() world:close() end)

local function new_handle()
  local answer = assert(cxb.http.request { url = sim.url .. "/v1beta/cachedContents", method = "POST", body = "{}" })
  return json.decode(answer.body).name
end

local function config(key, changes)
  local parts = { mode = "direct", cache_enabled = true, static_system_prompt = "STATIC",
    dynamic_runtime_prompt = "DYNAMIC", static_version = 7, prompt_cache_key = key,
    prompt_cache_retention = "in_memory" }
  for name, value in pairs(changes or {}) do parts[name] = value end
  return { bot_id = parts.bot_id or "demo", prompt_parts = parts }
end

local tool = { type = "function", ["function"] = { name = "end_call", description = "Ends." } }

-- What the model was asked last; the API asks the simulator, too.
local function asked()
  local last
  for _, request in ipairs(sim:seen()) do
    last = request.path:find("streamGenerateContent", 1, true) and request or last
  end
  return last.body
end

local function ask(cache)
  sim:answers({ text = "Yes." })
  local llm = assert(require("providers.llm_google").open { settings = settings,
    stage = { model = "m", api_key = "k", base_url = sim.url .. "/v1beta" } })
  return assert(llm:stream { cache = cache, tools = { tool }, messages = {
    { role = "system", content = "STATIC" }, { role = "system", content = "DYNAMIC" },
    { role = "user", content = "Hello" } } }), asked()
end

describe("a prompt that the provider keeps", function()
  it("is not sent again, and neither are the tools; what changes goes before the talk", function()
    local handle = new_handle()
    local answer, sent = ask(prompt_cache.of_call(settings, config(handle)))
    assert.equal(handle, sent.cachedContent)
    assert.is_nil(sent.systemInstruction)
    assert.is_nil(sent.tools)
    assert.same({ { role = "user", parts = { { text = "DYNAMIC" }, { text = "Hello" } } } }, sent.contents)
    assert.is_true(answer.usage.cache_read_input_tokens > 0)
  end)

  it("is sent whole while it is gone, and made again by the API for the next turn", function()
    local handle = new_handle()
    local cache = prompt_cache.of_call(settings, config(handle))
    sim:script({ drop_caches = { handle } })
    local answer, sent = ask(cache)
    assert.equal("Yes.", answer.text)
    assert.is_nil(sent.cachedContent)
    assert.equal("STATIC\n\nDYNAMIC", sent.systemInstruction.parts[1].text)
    assert.equal(1, #sent.tools)
    world:wait_until("a new handle", function() return cache.handle end)
    local seen = api.seen()[1]
    assert.same({ "POST", "/api/v1/bots/demo/live-prompt-cache/recreate", "s3cret", '{"static_version":"7"}' },
      { seen.method, seen.path, seen.headers["x-cxb-core-secret"], seen.body })
    assert.equal(cache.handle, select(2, ask(cache)).cachedContent)
    -- A later call, whose configuration still names the old one, has the new one too.
    local later = prompt_cache.of_call(settings, config(handle))
    assert.equal(cache.handle, later.handle)
    assert.is_not.equal(handle, later.handle)
  end)

  it("that cannot be made again is asked for once, not at every turn", function()
    local cache = prompt_cache.of_call(settings, config("cachedContents/none", { bot_id = "slow" }))
    local before = #api.seen()
    ask(cache)
    world:wait_until("the request", function() return #api.seen() > before and not cache.entry.busy end)
    ask(cache)
    ask(cache)
    assert.equal(before + 1, #api.seen())
    assert.is_nil(cache.handle)
  end)
end)

describe("a cache", function()
  it("is there only in direct mode and when it is enabled", function()
    assert.is_nil(prompt_cache.of_call(settings, { bot_id = "x" }))
    assert.is_nil(prompt_cache.of_call(settings, config("k", { mode = "legacy" })))
    assert.is_nil(prompt_cache.of_call(settings, config("k", { cache_enabled = false })))
    local cache = prompt_cache.of_call(settings, config("k", { prompt_cache_retention = "24h" }))
    assert.same({ "k", "24h" }, { cache.key, cache.retention })
    assert.is_nil(cache.handle)
    local parts = config(nil)
    assert.equal("demo:7", prompt_cache.of_call(settings, parts).key)
  end)

  it("holds the 64 handles used last, by bot and version", function()
    for i = 1, 65 do
      prompt_cache.of_call(settings, config("cachedContents/h" .. i, { static_version = i }))
      prompt_cache.of_call(settings, config(nil, { static_version = 1 }))
    end
    local function handle(version)
      return prompt_cache.of_call(settings, config(nil, { static_version = version })).handle
    end
    assert.equal("cachedContents/h1", handle(1))
    assert.equal("cachedContents/h65", handle(65))
    assert.is_nil(handle(2))
    assert.is_nil(prompt_cache.of_call(settings, config(nil, { static_version = 65, bot_id = "other" })).handle)
  end)
end)
