-- stores: both
-- waits: 8
-- Prompts that a provider keeps: the API, and a simulated Gemini over its wire.
local llm_sim = require("support.llm_sim")
local process = require("support.api_process")
local support = require("support.world")

describe("the lasting part of a bot's prompt", function()
  local world, api, sim

  local function ask(verb, path, body)
    return api:ask(verb, "/api/v1/bots" .. path, { body = body })
  end

  setup(function()
    world = support.new()
    sim = llm_sim.start(world)
    api = process.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
    assert.equal(200, api:ask("PUT", "/api/v1/settings/api-keys",
      { body = { google = "AIza-test-key-0123456789" } }).status)
    -- At its first look at the clock the API makes up for the day so far: not amid a test.
    support.wait_until("the runs of the day", function()
      local log = api.process:output()
      return log:find('"run":"prewarm"', 1, true) and log:find('"run":"cleanup"', 1, true)
    end)
  end)

  teardown(function()
    world:close()
  end)

  local function bot(parts, more)
    local fields = more or {}
    fields.name = "B"
    fields.llm = fields.llm or { provider = "google", model = "gemini-x",
      base_url = sim.url .. "/v1beta" }
    fields.prompt_parts = parts
    local made = ask("POST", "", fields)
    assert.equal(201, made.status, made.body)
    return made.answer
  end

  local static = { mode = "direct", cache_enabled = true, static_system_prompt = "STATIC {{x}}",
    dynamic_runtime_prompt = "For {{name}}" }

  it("is kept with the tools when that is switched on, and each call is told its handle", function()
    local made = bot(static, { tools = { { name = "get_balance", description = "d" } } })
    local on = ask("POST", "/" .. made.id .. "/live-prompt-cache/enable")
    assert.same({ 200, "ready", true }, { on.status, on.answer.live_prompt_cache_state.status,
      on.answer.live_prompt_cache.enabled })
    local sent = sim:last()
    assert.same({ "POST", "/v1beta/cachedContents", "AIza-test-key-0123456789" }, { sent.method,
      sent.path, sent.headers["x-goog-api-key"] })
    assert.same({ "models/gemini-x", "90000s", "STATIC {{x}}" }, { sent.body.model, sent.body.ttl,
      sent.body.systemInstruction.parts[1].text })
    local names = {}
    for _, tool in ipairs(sent.body.tools[1].functionDeclarations) do
      names[tool.name] = true
    end
    assert.same({ true, true }, { names.end_call, names.get_balance })
    local parts = api:ask("GET", "/api/v1/config/" .. made.id).answer.prompt_parts
    assert.matches("^cachedContents/", parts.prompt_cache_key)
    assert.equal("STATIC {{x}}", parts.static_system_prompt)
    ask("PUT", "/" .. made.id, { prompt_parts = { mode = "direct", cache_enabled = true,
      static_system_prompt = "OTHER" } })
    assert.is_nil(api:ask("GET", "/api/v1/config/" .. made.id).answer.prompt_parts
      .prompt_cache_key)
    local off = ask("POST", "/" .. made.id .. "/live-prompt-cache/disable")
    assert.same({ "none", false }, { off.answer.live_prompt_cache_state.status,
      off.answer.live_prompt_cache.enabled })
    assert.equal("DELETE", sim:last().method)
  end)

  it("is made again for a worker that finds it gone, once for all that ask", function()
    local made = bot(static)
    local before = #sim:seen()
    local answers = process.at_once(5, function()
      return api:ask("POST", "/api/v1/bots/" .. made.id .. "/live-prompt-cache/recreate",
        { body = { static_version = "7" } })
    end)
    for _, answer in ipairs(answers) do
      assert.equal(200, answer.status)
      assert.matches("^cachedContents/", answer.answer.prompt_cache_key)
      assert.equal(answers[1].answer.prompt_cache_key, answer.answer.prompt_cache_key)
    end
    assert.equal(before + 1, #sim:seen())
    assert.equal(403, api:ask("POST", "/api/v1/bots/" .. made.id .. "/live-prompt-cache/recreate",
      { token = process.token(), body = {} }).status)
  end)

  it("is nobody's who has none, has a policy, or whose provider keeps prompts itself", function()
    local function code(made, action)
      local answer = ask("POST", "/" .. made.id .. "/live-prompt-cache/" .. action)
      return answer.status, answer.answer.error
    end
    local legacy = bot({ mode = "legacy", static_system_prompt = "S" })
    local policy = bot(static, { conversation_policy = { type = "collection_pre_due" } })
    local empty = bot({ mode = "direct", cache_enabled = true })
    assert.same({ 422, "not_direct" }, { code(legacy, "enable") })
    assert.same({ 422, "not_direct" }, { code(policy, "refresh") })
    assert.same({ 422, "no_static_prompt" }, { code(empty, "refresh") })
    local other = bot(static, { llm = { provider = "openai", model = "m", base_url = sim.url } })
    assert.same({ 200 }, { code(other, "refresh") })
    local refused = ask("POST", "/" .. other.id .. "/live-prompt-cache/recreate", {})
    assert.same({ 422, "no_handles" }, { refused.status, refused.answer.error })
  end)

  it("whose provider refuses leaves a state that says so", function()
    local made = bot(static, { llm = { provider = "google", model = "m",
      base_url = ("http://127.0.0.1:%d"):format(world:port()) } })
    local refused = ask("POST", "/" .. made.id .. "/live-prompt-cache/refresh")
    assert.same({ 502, "upstream_failed" }, { refused.status, refused.answer.error })
    assert.equal("failed", ask("GET", "/" .. made.id).answer.live_prompt_cache_state.status)
  end)

  it("has a twin after the call: prompts without variables are kept for analysis", function()
    local made = bot(nil, { post_call_analysis_prompt = "ANALYSE", qc_prompt = "QC {{call.x}}" })
    assert.is_true(ask("POST", "/" .. made.id .. "/post-call-cache/enable").answer
      .post_call_cache_enabled)
    local kept = ask("POST", "/" .. made.id .. "/post-call-cache/refresh").answer
    assert.matches("^cachedContents/", kept.post_call_cache.analysis.prompt_cache_key)
    assert.is_nil(kept.post_call_cache.qc)
    local answer = api:ask("GET", "/api/v1/config/" .. made.id).answer
    assert.same({ true, kept.post_call_cache_version,
      kept.post_call_cache.analysis.prompt_cache_key }, { answer.post_call_cache_enabled,
      answer.post_call_cache_version, answer.post_call_cache.analysis.prompt_cache_key })
    ask("PUT", "/" .. made.id, { qc_prompt = "other" })
    assert.is_nil(api:ask("GET", "/api/v1/config/" .. made.id).answer.post_call_cache)
    assert.equal(422, ask("POST", "/" .. bot().id .. "/post-call-cache/refresh").status)
    assert.is_false(ask("POST", "/" .. made.id .. "/post-call-cache/disable").answer
      .post_call_cache_enabled)
  end)
end)
