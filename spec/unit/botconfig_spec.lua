-- The configuration of a call: what a field may be, what it is when absent, and what each answer of
-- the API means.
local pure = require("spec.support.pure")
local botconfig = require("cxb.core.botconfig")
local json = require("cxb.json")

local least = '{"session_id":"s","webhook_url":"u","system_prompt":"","opening_message":""}'

-- The configuration with one field more; nil, bad field.
local function with(field, value_json)
  local raw = json.decode(least)
  raw[field] = json.decode(value_json)
  return botconfig.check(raw, false)
end

describe("a call's configuration", function()
  it("gets its defaults and names unknown fields", function()
    local raw = json.decode(least)
    raw.zebra, raw.apple = 1, {}
    local config = assert(botconfig.check(raw, false))
    assert.equal(600, config.max_call_duration_seconds)
    assert.equal(3, config.min_words_interruption)
    assert.equal("assistant", config.flow)
    assert.equal("UTC", config.timezone)
    assert.equal(30, config.max_silence_seconds)
    assert.is_nil(config.re_engagement)
    assert.same({ "apple", "zebra" }, config.unknown_fields)
    assert.same({ mode = "auto", endpoint_delay_ms = 600, dynamic = true,
      max_utterance_seconds = 60, false_interruption_ms = 1200, backchannels = {},
      high_intent = {} }, config.turn)
    assert.same({ provider = "embedded", api_key = "", model = "stt-rt-v4", language = "en",
      extra = {}, fallback = {} }, config.stt)
    assert.equal("rules", config.llm.provider)
    assert.equal(0.7, config.llm.temperature)
    assert.equal(256, config.llm.max_tokens)
    assert.equal("embedded", config.tts.provider)
    assert.equal(1, config.tts.speed)
    assert.equal(20, config.agent_desk.hold_every_seconds)
    assert.equal("record", config.agent_desk.stay)
    assert.truthy(config.apology_message:find("something went wrong", 1, true))
  end)

  it("fills in the shapes that are given in part", function()
    local r = with("re_engagement", '{"after_seconds":4}').re_engagement
    assert.same({ after_seconds = 4, max_attempts = 2, messages = {}, hangup_after = true,
      final_message = "" }, r)
    local t = with("transfer_targets",
      '[{"id":"a","method":"livekit_sip_refer","type":"tel_uri","value":"tel:+91"}]')
    assert.is_true(t.transfer_targets[1].enabled)
    assert.is_false(t.transfer_targets[1].is_default)
    local stt = with("stt",
      '{"provider":"embedded","fallback":[{"provider":"none"}]}').stt
    assert.equal("en", stt.fallback[1].language)
    assert.equal("x", with("tts", '{"provider":"embedded","voice_id":"x"}').tts.voice)
    assert.equal(0.9, with("vad", '{"threshold":0.9}').vad.confidence)
    assert.truthy(with("tts", '{"provider":"embedded","language":"hi-IN"}').timeout_message
      :find("नमस्ते", 1, true))
  end)

  it("takes a null for an absent field, at any depth", function()
    assert.is_nil(with("re_engagement", "null").re_engagement)
    assert.is_nil(with("stt", '{"provider":"embedded","url":null}').stt.url)
    assert.equal("UTC", with("timezone", "null").timezone)
  end)

  it("takes a zone that nobody knows for UTC", function()
    assert.equal("UTC", with("timezone", '"Mars/Olympus"').timezone)
    assert.equal("Asia/Kolkata", with("timezone", '"Asia/Kolkata"').timezone)
  end)

  it("names the first bad or missing field", function()
    local _, field, why = botconfig.check({}, false)
    assert.equal("opening_message", field)
    assert.equal("is required", why)
    for _, case in ipairs({
      { "max_call_duration_seconds", "9" }, { "max_call_duration_seconds", "7201" },
      { "tools", '"x"' }, { "tools", '[{"name":"end_call"}]' }, { "tools", "[{}]" },
      { "tools", '[{"type":"function","function":{"name":"search_knowledge"}}]' },
      { "tools", '[{"name":"a"},{"name":"a"}]' },
      { "stt", '{"provider":"nobody"}' }, { "stt", "{}" }, { "stt", '"embedded"' },
      { "stt", '{"provider":"embedded","fallback":[{"provider":"nobody"}]}' },
      { "llm", '{"provider":"openai"}' }, { "llm", '{"provider":"rules","temperature":"hot"}' },
      { "tts", '{"provider":"embedded","speed":3}' }, { "vad", '{"min_volume":2}' },
      { "turn", '{"mode":"guess"}' }, { "re_engagement", '{"messages":[1]}' },
      { "recording_enabled", '"yes"' }, { "session_id", '"a/b"' }, { "session_id", '""' },
      { "knowledge_top_k", "11" }, { "knowledge_score_threshold", "1.5" },
      { "prompt_parts", '{"mode":"both"}' }, { "auto_dispositions", '{"error":{}}' },
      { "min_words_interruption", "1.5" }, { "agent_desk", '{"stay":"home"}' },
    }) do
      assert.equal(case[1], select(2, with(case[1], case[2])), case[2])
    end
  end)

  it("takes only the pairs of transfer method and target that go together", function()
    local function target(method, kind, value)
      return with("transfer_targets", ('[{"id":"a","method":"%s","type":"%s","value":"%s"}]')
        :format(method, kind, value))
    end
    assert.truthy(target("livekit_sip_refer", "sip_uri", "sip:a@b"))
    assert.truthy(target("agent_desk", "agent_queue", ""))
    assert.truthy(target("websocket_reverse_transfer", "extension", "100"))
    for _, case in ipairs({ { "livekit_sip_refer", "extension", "100" },
      { "livekit_sip_refer", "agent_queue", "q" }, { "agent_desk", "phone_number", "+911" },
      { "websocket_reverse_transfer", "agent_queue", "q" },
      { "livekit_sip_refer", "sip_uri", "a@b" }, { "livekit_sip_refer", "sip_uri", "sips:a@b" },
      { "livekit_sip_refer", "tel_uri", "+91" },
      { "pigeon", "extension", "100" }, { "websocket_reverse_transfer", "extension", "" } }) do
      assert.equal("transfer_targets", select(2, target(unpack(case))), case[1] .. " " .. case[2])
    end
  end)

  it("lets an early silence be heard whatever the configured stop time", function()
    assert.same({ start_ms = 64, stop_ms = 240, floor_ms = 0 }, botconfig.vad({ vad = {} }))
    assert.same({ start_ms = 150, stop_ms = 240, floor_ms = 800 },
      botconfig.vad({ vad = { start_ms = 150, stop_secs = 0.8 } }))
  end)
end)

describe("the leg's voice activity", function()
  it("is as configured, its silence never later than 240 ms", function()
    assert.same({ mode = 2, start_ms = 200, stop_ms = 240, min_volume = 0 },
      botconfig.leg_vad(with("vad", "{}")))
    assert.same({ mode = 3, start_ms = 350, stop_ms = 100, min_volume = 0.1 }, botconfig.leg_vad(
      with("vad", '{"threshold":0.9,"start_secs":0.35,"stop_ms":100,"min_volume":0.1}')))
  end)
end)

describe("a configuration is fetched", function()
  local clock, asked, answers

  before_each(function()
    local fake
    clock, fake = pure.install()
    asked = {}
    fake.time.sleep = function(ms)
      clock.ms = clock.ms + ms
    end
    fake.http = { request = function(o)
      asked[#asked + 1] = o
      o.at = cxb.time.mono()
      local answer = table.remove(answers, 1)
      if type(answer) == "string" then
        return nil, answer, "no answer"
      end
      return answer
    end }
  end)
  after_each(pure.restore)

  local call = { bot_id = "b", caller_id = "+911", stream_id = "s1", connected_event = '{"a":1}' }
  local c = { CXB_API_CONFIG_URL = "http://h/api/v1/config/", CXBCORE_SECRET = "k" }

  local function load(list, more)
    answers = list
    return botconfig.load(c, setmetatable(more or {}, { __index = call }))
  end

  it("with the secret, the caller, the stream and the wire's event, within 5 s", function()
    assert.equal("s", load({ { status = 200, body = least } }).session_id)
    assert.equal("http://h/api/v1/config/b?caller_id=%2B911&stream_id=s1&connected_event="
      .. "%7B%22a%22%3A1%7D", asked[1].url)
    assert.equal("k", asked[1].headers["x-cxb-core-secret"])
    assert.equal(5000, asked[1].timeout_ms)
  end)

  it("from the call's own config URL when it has one", function()
    load({ { status = 200, body = least } }, { config_url = "https://other/c" })
    assert.equal("https://other/c/b?", asked[1].url:sub(1, 18))
  end)

  it("once more 250 ms after a network error, and not after a time-out", function()
    assert.truthy(load({ "refused", { status = 200, body = least } }))
    assert.equal(250, asked[2].at - asked[1].at)
    local _, refusal = load({ "refused", "closed" })
    assert.equal("config_closed", refusal.kind)
    _, refusal = load({ "timeout" })
    assert.equal("config_timeout", refusal.kind)
  end)

  it("and each answer that is no configuration says how the call is refused", function()
    local outside = '{"error":"outside_active_hours","message":"outside_active_hours: closed",'
      .. '"session_id":"s9"}'
    for _, case in ipairs({
      { 404, "{}", "unknown_bot", 1008 }, { 503, outside, "outside_hours", 1000, "s9" },
      { 503, "{}", "config_503", 1011 }, { 403, '{"session_id":"s7"}', "config_403", 1011, "s7" },
      { 503, '{"message":null,"detail":"outside_active_hours: closed","session_id":null}',
        "outside_hours", 1000 }, { 403, '{"session_id":7,"detail":{"a":1}}', "config_403", 1011 },
      { 500, "oops", "config_500", 1011 }, { 200, "[]", "config_invalid:json", 1011 },
      { 200, '{"session_id":"s8","webhook_url":"u","system_prompt":1,"opening_message":""}',
        "config_invalid:system_prompt", 1011, "s8" },
    }) do
      local config, refusal = load({ { status = case[1], body = case[2] } })
      assert.is_nil(config)
      assert.equal(case[3], refusal.kind)
      assert.equal(case[4], refusal.close)
      assert.equal(case[5], refusal.session_id)
    end
  end)
end)
