-- waits: 41
-- The assistant over the wires of paid providers, simulated on real sockets: turns that a recogniser
-- ends, voices that tell the times of words, and what happens when they break off.

local json = require("cjson.safe")
local support = require("support.world")
local talks = require("support.talk")

describe("the assistant with paid providers", function()
  local world, talk, sim

  local function ask(path, body)
    local answer = assert(cxb.http.request({ url = sim .. path, method = body and "POST" or "GET",
      body = body and json.encode(body), headers = { ["content-type"] = "application/json" } }))
    return json.decode(answer.body)
  end

  local function bot(stt, tts)
    local port = sim:match("%d+$")
    local function stage(choice, scheme)
      local out = {}
      for key, value in pairs(choice) do out[key] = value end
      out.api_key, out.url = "secret", scheme .. "://127.0.0.1:" .. port
        .. (choice.provider == "openai" and "/v1" or "")
      out.fallback = choice.fallback and { stage(choice.fallback, scheme) } or nil
      return out
    end
    return { system_prompt = "", opening_message = "Hello, how can I help you?", flow = "assistant",
      llm = { provider = "openai", model = "m", base_url = "$LLM/v1" }, stt = stage(stt, "ws"),
      tts = stage(tts, "http") }
  end

  local bots = {
    -- the simulated Deepgram hears its script at each pause it notices: of a sentence only the last
    deepgram = { { provider = "deepgram", model = "nova-2", extra = { endpointing = 400 } },
      { provider = "elevenlabs", voice = "v1", model = "eleven_flash_v2_5" } },
    flux = { { provider = "deepgram_flux", model = "flux-general-en",
      extra = { eager_eot_threshold = 0.5 } },
      { provider = "openai", voice = "alloy", model = "gpt-4o-mini-tts" } },
    soniox = { { provider = "soniox", model = "stt-rt-v4" },
      { provider = "sarvam", voice = "anushka", model = "bulbul:v2", language = "en-IN" } },
    frail = { { provider = "deepgram", model = "nova-2", extra = { endpointing = 400 },
      fallback = { provider = "soniox", model = "stt-rt-v4" } },
      { provider = "elevenlabs", voice = "v1", model = "eleven_flash_v2_5",
        fallback = { provider = "openai", voice = "alloy", model = "tts-1" } } },
  }

  setup(function()
    world = support.new()
    for _, tool in ipairs({ "flite", "sox", "python3" }) do support.need(tool) end
    local port = world:port()
    sim = "http://127.0.0.1:" .. port
    world:start({ "/usr/bin/python3", cxb.root .. "/spec/sim/speech", "--port", tostring(port),
      "--key", "secret", "--stt-ms", "150", "--tts-ms", "60" })
    support.wait_until("the providers", function()
      return support.get_json(sim .. "/_log")
    end)
    local made = {}
    for name, stages in pairs(bots) do made[name] = bot(stages[1], stages[2]) end
    talk = talks.start(world, made, { speech = false })
  end)
  teardown(function() world:close() end)

  -- One call in which the caller asks once; the result, and how often the recogniser heard him: a
  -- sender who stands still in the middle of a sentence has made two of it.
  local function one_question(name, before)
    ask("/_script", { say = { "When do you open today?" } })
    local heard = #ask("/_log").heard
    talk:script({ answers = {}, rules = { { match = "pen", text = "We open at nine. Is that all?" } } })
    local d = talk:call(name)
    local n = talk.bot_silent(d)
    if before then before() end
    d:says(talk:say("When do you open today?"))
    talk.bot_silent(d, n)
    d:hangup()
    local result = talk:result()
    return result, #ask("/_log").heard - heard
  end

  local function turns(result)
    local out = {}
    for i, entry in ipairs(result.transcript) do out[i] = entry.role .. ": " .. entry.text end
    return out
  end

  local function conversation(heard)
    local out = { "bot: Hello, how can I help you?", "customer: When do you open today?" }
    for i = 2, heard do out[i + 1] = out[2] end
    out[#out + 1] = "bot: We open at nine. Is that all?"
    return out
  end

  local function check(name)
    local result, heard = one_question(name)
    assert.same(conversation(heard), turns(result))
    assert.equal("customer", result.disconnected_by)
    local s = result.latency_samples[1]
    assert.equal(s.total_ms, s.endpoint_ms + s.stt_ms + s.rag_ms + s.tool_ms + s.llm_ttft_ms
      + s.tts_ttfb_ms + s.host_ms)
    assert.same({}, ask("/_log").violations)
    return result
  end

  it("hears by Deepgram and speaks by ElevenLabs", function()
    check("deepgram")
  end)

  it("lets Flux end the turns and speaks by OpenAI", function()
    check("flux")
  end)

  it("lets Soniox end the turns and speaks by Sarvam", function()
    check("soniox")
  end)

  it("loses no turn when recogniser and voice break off", function()
    local result, heard = one_question("frail", function()
      ask("/_refuse", { provider = "deepgram", status = 503 })
      ask("/_refuse", { provider = "elevenlabs", status = 503 })
      ask("/_cut", { provider = "deepgram" })
      ask("/_cut", { provider = "elevenlabs" })
    end)
    assert.same(conversation(heard), turns(result))
    local switched = {}
    for _, event in ipairs(result.events) do
      if event.type == "provider_failover" then
        switched[event.data.stage] = event.data.from .. " " .. event.data.to
      end
    end
    assert.same({ stt = "deepgram soniox", tts = "elevenlabs openai" }, switched)
  end)
end)
