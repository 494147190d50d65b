-- waits: 70
-- The assistant with real speech in both directions and a language model's server on a socket: a
-- recorded caller asks, what the bot says is judged by transcribing its audio.

local json = require("cjson.safe")
local support = require("support.world")
local talks = require("support.talk")

local bot = {
  system_prompt = "You are Asha.", opening_message = "Hello, how can I help you?", flow = "assistant",
  stt = { provider = "embedded" }, tts = { provider = "embedded", voice = "slt" },
  llm = { provider = "openai", model = "test", base_url = "$LLM/v1" },
}

local world, talk, shop

describe("the assistant on a real worker", function()
  setup(function()
    world = support.new()
    for _, tool in ipairs({ "flite", "sox", "python3" }) do support.need(tool) end
    local port = world:port()
    shop = "http://127.0.0.1:" .. port
    world:server("tcp:127.0.0.1:" .. port, [[return function(req)
      req:respond(200, '{"data":{"day":"' .. req.query:match("day=(%w+)") .. '","opens":"nine"}}')
    end]])
    bot.tools = { { type = "function", ["function"] = { name = "get_hours", parameters = {
      type = "object", properties = { day = { type = "string" } }, required = { "day" } } },
      http = { url = shop .. "/hours", response_path = "data" }, pre_message = "Let me look that up." } }
    talk = talks.start(world, { asha = bot }, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
  end)
  teardown(function() world:close() end)

  it("answers a recorded question with the model's words, spoken", function()
    talk:script({ answers = {}, rules = { { match = "open",
      text = "We are open from nine in the morning. Is there anything else?" } } })
    local d = talk:call("asha")
    talk.bot_silent(d)
    d:says(talk:say("What are your opening hours?"))
    local n = #d.audio
    support.wait_until("a request", function() return #talk:requests() > 0 end)
    talk.bot_silent(d, n)
    local said = talk:heard(d)
    assert.matches("how can i help", said)
    assert.matches("in the morning", said)
    d:hangup()
    local result = talk:result()
    assert.equal("customer", result.disconnected_by)
    assert.equal("bot", result.transcript[1].role)
    assert.matches("[Oo]pening hours", result.transcript[2].text)
    assert.equal("We are open from nine in the morning. Is there anything else?",
      result.transcript[3].text)
    local s = result.latency_samples[1]
    assert.equal(s.total_ms, s.endpoint_ms + s.stt_ms + s.rag_ms + s.tool_ms + s.llm_ttft_ms
      + s.tts_ttfb_ms + s.host_ms)
    assert.truthy(s.llm_ttft_ms >= 50)
    assert.truthy(result.usage_metrics.llm_requests >= 1)
    assert.truthy(result.usage_metrics.llm_prompt_tokens > 0)
    assert.is_false(result.llm_cache_summary.enabled)
  end)

  it("knows after a barge-in only what was heard", function()
    local long = "We are open from nine in the morning until six in the evening on every day of "
      .. "the week except on Sundays and on public holidays when our offices are closed all day."
    talk:script({ answers = { { text = long }, { text = "Goodbye then, have a good day." } } })
    local before = #talk:requests()
    local d = talk:call("asha")
    talk.bot_silent(d)
    d:says(talk:say("What are your opening hours?"))
    local n = #d.audio
    support.wait_until("the answer's first second", function() return #d.audio > n + 50 end)
    d:says(talk:say("Stop, that is enough for me, thank you."))
    support.wait_until("the flush", function() return (d.count["reverse-media-stop"] or 0) > 0 end)
    support.wait_until("the second request", function() return #talk:requests() >= before + 2 end)
    d:hangup()
    local result = talk:result()
    local answer
    for _, entry in ipairs(result.transcript) do
      if entry.full_text == long then answer = entry end
    end
    assert.is_true(answer.interrupted)
    assert.truthy(#answer.text < #long and #answer.text > 0)
    local list = talk:requests()
    local last = list[#list].messages
    local assistant
    for _, message in ipairs(last) do
      if message.role == "assistant" then assistant = message.content end
    end
    assert.equal(answer.text, assistant)
    assert.equal("user", last[#last].role)
  end)

  it("ends by itself when the model asks for it, after its words", function()
    talk:script({ answers = { { text = "Thank you for calling. Goodbye.",
      tool_calls = { { name = "end_call", arguments = {} } } } } })
    local d = talk:call("asha")
    talk.bot_silent(d)
    d:says(talk:say("That is all, goodbye."))
    assert.is_true(d:wait_closed(60000))
    local result = talk:result()
    assert.equal("bot", result.disconnected_by)
    assert.equal("Thank you for calling. Goodbye.", result.transcript[#result.transcript].text)
  end)

  it("asks a tool over HTTP and answers with what it said", function()
    local before = #talk:requests()
    talk:script({ answers = { { tool_calls = { { name = "get_hours", arguments = { day = "Monday" } } } },
      { text = "On Monday we open at nine." } } })
    local d = talk:call("asha")
    local n = talk.bot_silent(d)
    d:says(talk:say("When do you open on Monday?"))
    support.wait_until("the second request", function()
      return #talk:requests() >= before + 2
    end)
    talk.bot_silent(d, n)
    d:hangup()
    local result = talk:result()
    assert.equal("Let me look that up. On Monday we open at nine.", result.transcript[3].text)
    local list = talk:requests()
    local messages = list[#list].messages
    local answer = json.decode(messages[#messages].content)
    assert.same({ day = "Monday", opens = "nine" }, answer)
    assert.equal(1, result.usage_metrics.tool_calls)
    local asked, got
    for _, event in ipairs(result.events) do
      asked = event.type == "tool_call" and event.data or asked
      got = event.type == "custom_tool_result" and event.data or got
    end
    assert.same({ name = "get_hours", arguments = { day = "Monday" } }, asked)
    assert.equal(200, got.status)
  end)

  it("shows itself without an account, by the bot that comes with it", function()
    local d = talk:call("assistant")
    local n = talk.bot_silent(d)
    d:says(talk:say("When do you open?", "awb"))
    talk.bot_silent(d, n)
    assert.matches("in the morning", talk:heard(d))
    d:hangup()
    assert.equal("rules", talk:result().pipeline_config.llm.provider)
  end)
end)
