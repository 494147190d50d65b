-- The assistant's behaviour (core spec §5.1), row by row, on virtual time.
require("spec.support.pure")
local conversation = require("cxb.testing.stage")

describe("the assistant", function()
  local talk

  before_each(function()
    talk = conversation.new()
  end)
  after_each(function()
    talk:close()
  end)

  local opening = "Hello, this is Asha. How can I help you today?"

  it("speaks its opening, answers a question by the model, and remembers both", function()
    talk:speaks(5000, 900, "When do you open?")
    talk.model.answers = { "We open at nine in the morning. Anything else?" }
    talk:leaves(14000)
    local ending = talk:run({ opening_message = opening, system_prompt = "You are Asha." })
    assert.same({ by = "customer" }, ending)
    assert.same({ "bot: " .. opening, "customer: When do you open?",
      "bot: We open at nine in the morning. Anything else?" }, talk:lines())
    assert.same({ "system: You are Asha.", "assistant: " .. opening, "user: When do you open?" },
      talk:asked(1))
    assert.equal(1, #talk:events("opening_done"))
  end)

  it("lets the caller speak first when there is no opening", function()
    talk:speaks(1000, 900, "Is anybody there?")
    talk.model.answers = { "Yes, I am here for you." }
    talk:leaves(6000)
    talk:run({ opening_message = "" })
    assert.equal("customer: Is anybody there?", talk:lines()[1])
    assert.equal("bot: Yes, I am here for you.", talk:lines()[2])
  end)

  it("has the opening spoken by the time the phone is answered", function()
    talk:leaves(5000)
    talk:run({ opening_message = opening }, { ring_ms = 2000 })
    assert.equal("Hello, this is Asha.", talk.voice.said[1])
    assert.equal(opening, talk.facts.transcript[1].text)
    assert.equal(2, #talk.voice.said) -- each sentence once
  end)

  it("speaks the first sentence while the model still thinks about the second", function()
    talk:speaks(1000, 900, "Tell me all.")
    talk.model.answers = { { text = "This is the first sentence. This is the second one.",
      piece_ms = 400 } }
    talk:leaves(20000)
    talk:run({})
    local said = talk.facts.transcript[2]
    assert.equal("This is the first sentence. This is the second one.", said.text)
    -- the first began before the model's tenth word (100 + 10 * 400 ms after the turn)
    assert.truthy(said.start_ms < 1900 + 400 + 100 + 7 * 400, said.start_ms)
  end)

  it("measures an answer in parts that sum, the model's among them", function()
    talk:speaks(1000, 900, "When do you open?")
    talk.model.answers = { { text = "We open at nine in the morning.", delay = 300 } }
    talk:leaves(6000)
    talk:run({})
    local s = talk.facts.samples[1]
    assert.equal(300, s.llm_ttft_ms)
    assert.equal(400, s.endpoint_ms)
    assert.equal(30, s.tts_ttfb_ms)
    assert.equal(730, s.total_ms)
    assert.equal(s.total_ms, s.endpoint_ms + s.stt_ms + s.rag_ms + s.tool_ms + s.llm_ttft_ms
      + s.tts_ttfb_ms + s.host_ms)
  end)

  describe("while its opening plays", function()
    local long = "Welcome to the line of lines, where all the lines meet in one line of lines today."

    it("is not cut by noise, even when voice alone interrupts", function()
      talk:coughs(800, 300)
      talk:leaves(8000)
      talk:run({ opening_message = long, min_words_interruption = 0 })
      assert.equal(long, talk.facts.transcript[1].text)
      assert.equal(0, #talk:events("barge_in"))
    end)

    it("is not cut by a backchannel or by words that are not final", function()
      talk:speaks(500, 300, "okay yes right")
      talk:speaks(2000, 4000, "one two three four five six seven")
      talk:leaves(5500)
      talk:run({ opening_message = long })
      assert.is_nil(talk.facts.transcript[1].full_text)
    end)

    it("is cut by three final words, a high-intent phrase and a key", function()
      talk:speaks(500, 900, "I have a question")
      talk:leaves(9000)
      talk:run({ opening_message = long })
      assert.equal("words", talk:events("barge_in")[1].data.by)

      talk:close()
      talk = conversation.new()
      talk:speaks(1000, 800, "wrong number")
      talk:leaves(9000)
      talk:run({ opening_message = long })
      assert.equal("high_intent", talk:events("barge_in")[1].data.by)

      talk:close()
      talk = conversation.new()
      talk:keys(1000, "1#")
      talk:leaves(9000)
      talk:run({ opening_message = long })
      assert.equal("dtmf", talk:events("barge_in")[1].data.by)
    end)
  end)

  describe("when it is interrupted", function()
    local answer = "We are open from nine in the morning until six in the evening on all days."

    -- The caller asks, the answer plays from about 2.4 s on, something happens at 3.5 s.
    local function ask(config)
      talk:speaks(1000, 900, "When do you open?")
      talk.model.answers = { answer, "Certainly, I can do that." }
      talk:leaves(14000)
      return talk:run(config or {})
    end

    it("by words, the model knows only what was heard", function()
      talk:speaks(3500, 1000, "no wait stop please")
      ask()
      local event = talk:events("barge_in")[1]
      assert.equal("words", event.data.by)
      local entry = talk.facts.transcript[2]
      assert.is_true(entry.interrupted)
      assert.equal(answer, entry.full_text)
      assert.equal(entry.heard_ms, event.data.heard_ms)
      local asked = talk:asked(2)
      assert.equal("assistant: " .. entry.text, asked[2])
      assert.equal("user: no wait stop please", asked[3])
      assert.truthy(#entry.text < #answer)
    end)

    it("counts the words heard by the voice's own word times", function()
      talk.voice.timed = true
      talk:speaks(3500, 1000, "no wait stop please")
      ask()
      local entry = talk.facts.transcript[2]
      local heard = select(2, entry.text:gsub("%S+", ""))
      assert.equal(math.floor(entry.heard_ms / conversation.word_ms + 0.5), heard)
    end)

    it("cancels the model and the voice when it still thinks", function()
      talk:speaks(1000, 900, "When do you open?")
      talk:speaks(4000, 1000, "no wait stop please")
      talk.model.answers = { { text = "We are open from nine. " .. answer, piece_ms = 500 },
        "Certainly, I can do that." }
      talk:leaves(16000)
      talk:run({})
      assert.equal(1, talk.model.cancelled)
      assert.equal("customer: no wait stop please", talk:lines()[3])
      assert.equal("bot: Certainly, I can do that.", talk:lines()[4])
    end)

    it("is not by fewer words than the minimum, which are a turn afterwards", function()
      talk:speaks(4500, 600, "on sundays")
      ask()
      assert.equal(0, #talk:events("barge_in"))
      assert.equal("customer: on sundays", talk:lines()[3])
    end)

    it("is by voice alone when the minimum is 0", function()
      talk:speaks(3500, 900, "hello there")
      talk:at(3700, function()
        talk.leg:clear("vad")
      end)
      ask({ min_words_interruption = 0 })
      assert.equal("vad", talk:events("barge_in")[1].data.by)
      assert.equal("customer: hello there", talk:lines()[3])
    end)

    it("is by a high-intent phrase of any length", function()
      talk:speaks(3500, 400, "agent")
      ask()
      assert.equal("high_intent", talk:events("barge_in")[1].data.by)
    end)

    it("is by a phrase of the configuration", function()
      talk:speaks(3500, 400, "banana")
      ask({ turn = { high_intent = { "banana" } } })
      assert.equal("high_intent", talk:events("barge_in")[1].data.by)
    end)

    it("is by keys, which become one turn", function()
      talk:keys(3500, "1234#")
      ask()
      assert.equal("dtmf", talk:events("barge_in")[1].data.by)
      assert.equal("user: [dtmf:1234#]", talk:asked(2)[3])
      assert.equal("dtmf", talk.facts.transcript[3].role)
    end)

    it("is not by speech when should_interrupt is false, but by keys", function()
      local config = { stt = { provider = "embedded", extra = { should_interrupt = false } } }
      talk:speaks(3500, 1000, "no wait stop please")
      ask(config)
      assert.equal(0, #talk:events("barge_in"))
      assert.equal("customer: no wait stop please", talk:lines()[3])
      talk:close()
      talk = conversation.new()
      talk:keys(3500, "1#")
      ask(config)
      assert.equal("dtmf", talk:events("barge_in")[1].data.by)
    end)

    it("passes over a backchannel", function()
      talk:speaks(3500, 400, "haan ji")
      ask()
      assert.equal(1, #talk:events("backchannel"))
      assert.equal(2, #talk.facts.transcript)
      assert.equal("bot: " .. answer, talk:lines()[2])
    end)

    it("goes on from the cut when the words were taken back", function()
      talk:speaks(3500, 900, "no wait stop", { final = "" })
      ask()
      assert.equal(1, #talk:events("barge_in"))
      assert.equal("words", talk:events("false_barge_in")[1].data.by)
      assert.equal("bot: " .. answer, talk:lines()[2])
      assert.is_nil(talk.facts.transcript[2].full_text)
      assert.equal(2, #talk.facts.transcript)
    end)

    it("goes on from the cut while the words are late, and heeds them when they come", function()
      talk:speaks(3500, 900, "no wait stop please", { final_ms = 2500 })
      ask()
      assert.equal("words", talk:events("false_barge_in")[1].data.by)
      assert.equal("customer: no wait stop please", talk:lines()[3])
      assert.equal("bot: Certainly, I can do that.", talk:lines()[4])
    end)

    it("goes on from the cut when there was only a cough", function()
      talk:coughs(3500, 300)
      ask({ min_words_interruption = 0 })
      assert.equal("vad", talk:events("false_barge_in")[1].data.by)
      assert.equal("bot: " .. answer, talk:lines()[2])
      local rest = talk.voice.said[#talk.voice.said]
      assert.equal(rest, answer:sub(-#rest)) -- not from the beginning
      assert.truthy(#rest < #answer)
    end)

    it("takes what is said before the answer begins for more of the question", function()
      talk:speaks(1000, 900, "When do you open?")
      talk:speaks(2800, 600, "On Sundays I mean.")
      talk.model.answers = { { text = answer, delay = 3000 }, "On Sundays we are closed." }
      talk:leaves(14000)
      talk:run({})
      assert.same({ "user: When do you open? On Sundays I mean." }, talk:asked(2))
      assert.equal("bot: On Sundays we are closed.", talk:lines()[3])
    end)
  end)

  describe("with a recogniser that ends turns", function()
    local function flux()
      package.loaded["providers.stt_embedded"].sends_turns = true
      package.loaded["providers.stt_embedded"].sends_vad = false
    end

    local function hears(at, event)
      talk:at(at, function()
        talk.caller.on_event(event)
      end)
    end

    it("thinks ahead at an eager end, unheard, and answers at once at the real one", function()
      flux()
      hears(1000, { type = "turn_eager", text = "When do you open" })
      hears(1500, { type = "turn_end", text = "When do you open?", confidence = 0.9 })
      talk.model.answers = { { text = "We open at nine in the morning.", delay = 400 } }
      talk:leaves(8000)
      talk:run({})
      assert.equal(1, #talk.model.requests)
      assert.equal("customer: When do you open?", talk:lines()[1])
      assert.truthy(talk.facts.transcript[2].start_ms < 1600)
      assert.equal(0, talk.facts.samples[1].llm_ttft_ms)
    end)

    it("lets only its final words cut the opening", function()
      local long = "Welcome to the line of lines, where all the lines meet in one line of lines."
      flux()
      hears(800, { type = "partial", text = "one two three four" })
      hears(2000, { type = "turn_end", text = "I want an answer.", confidence = 0.9 })
      talk:leaves(9000)
      talk:run({ opening_message = long })
      local event = talk:events("barge_in")[1]
      assert.equal("words", event.data.by)
      assert.truthy(event.t_ms >= 2000)
    end)

    it("goes on from a cut by voice that brought no words", function()
      flux()
      hears(1000, { type = "turn_end", text = "When do you open?", confidence = 0.9 })
      talk:coughs(2500, 300)
      talk.model.answers = { "We are open from nine in the morning until six in the evening." }
      talk:leaves(12000)
      talk:run({ min_words_interruption = 0 })
      local cut, again = talk:events("barge_in")[1], talk:events("false_barge_in")[1]
      assert.equal("vad", cut.data.by)
      assert.truthy(again.t_ms - cut.t_ms <= 300 + 240 + 1200)
      assert.equal("bot: We are open from nine in the morning until six in the evening.",
        talk:lines()[2])
    end)

    it("forgets the thought when the turn resumes", function()
      flux()
      hears(1000, { type = "turn_eager", text = "When do you" })
      hears(1200, { type = "turn_resumed" })
      hears(2500, { type = "turn_end", text = "When do you open?", confidence = 0.9 })
      talk.model.answers = { { text = "When do I what?", delay = 400 },
        "We open at nine in the morning." }
      talk:leaves(8000)
      talk:run({})
      assert.same({ "user: When do you open?" }, talk:asked(2))
      assert.same({ "customer: When do you open?", "bot: We open at nine in the morning." },
        talk:lines())
    end)

    it("is not asked for its opinion when the mode is vad", function()
      flux()
      hears(1000, { type = "turn_eager", text = "When do you" })
      hears(1500, { type = "turn_end", text = "When do you open?", confidence = 0.9 })
      talk:leaves(8000)
      talk:run({ turn = { mode = "vad" } })
      assert.equal(1, #talk.model.requests)
      assert.truthy(talk.facts.transcript[2].start_ms >= 1900) -- 400 ms after the words
    end)

    it("does not believe words below min_confidence", function()
      flux()
      hears(1000, { type = "turn_end", text = "Mumble mumble.", confidence = 0.2 })
      talk:leaves(5000)
      talk:run({ stt = { provider = "embedded", extra = { min_confidence = 0.5 } } })
      assert.same({}, talk:lines())
    end)
  end)

  describe("with a silent caller", function()
    it("asks in turn, says its final words and ends with RNR when nobody ever spoke", function()
      local ending = talk:run({ opening_message = opening, re_engagement = { after_seconds = 4,
        messages = { "Are you there?", "Hello, can you hear me?" }, final_message = "Goodbye then." } })
      assert.same({ by = "RNR" }, ending)
      assert.same({ "bot: " .. opening, "bot: Are you there?", "bot: Hello, can you hear me?",
        "bot: Goodbye then." }, talk:lines())
      assert.equal(2, #talk:events("re_engagement"))
      local first, second = talk.facts.transcript[1], talk.facts.transcript[2]
      assert.equal(4000 + 30, second.start_ms - first.end_ms)
    end)

    it("ends by the bot when the caller had spoken", function()
      talk:speaks(1000, 600, "Hello there.")
      assert.same({ by = "bot" }, talk:run({ re_engagement = { after_seconds = 3 } }))
    end)

    it("asks before the longest silence ends the call, however late it asks", function()
      assert.same({ by = "RNR" }, talk:run({ re_engagement = { after_seconds = 45, max_attempts = 1,
        messages = { "Are you there?" }, final_message = "Goodbye then." }, max_silence_seconds = 30 }))
      assert.same({ "bot: Are you there?", "bot: Goodbye then." }, talk:lines())
    end)

    it("has the model ask when there are no messages", function()
      talk.model.otherwise = "Hello, are you still with me?"
      talk:run({ opening_message = opening, re_engagement = { max_attempts = 1 } })
      assert.equal("bot: Hello, are you still with me?", talk:lines()[2])
      local asked = talk:asked(1)
      assert.truthy(asked[#asked]:find("^system: The caller has said nothing"))
    end)

    it("begins to count anew when the caller speaks", function()
      talk:speaks(5000, 600, "I am here.")
      talk:run({ re_engagement = { after_seconds = 3, max_attempts = 2, messages = { "Hello?" } } })
      assert.equal(3, #talk:events("re_engagement"))
    end)

    it("ends alike after max_silence_seconds without re-engagement", function()
      assert.same({ by = "RNR" }, talk:run({ max_silence_seconds = 10 }))
      assert.truthy(talk.leg:clock() < 11200)
    end)

    it("does not count the time a tool takes", function()
      talk.tools.slow = { answer = '{"x":1}', ms = 15000 }
      talk:speaks(500, 600, "Look it up.")
      talk.model.answers = { { tool_calls = { { name = "slow" } } }, "Here is what I found." }
      talk:leaves(20000)
      assert.same({ by = "customer" }, talk:run({ max_silence_seconds = 10,
        tools = { { name = "slow" } } }))
      assert.equal("bot: One moment please. Here is what I found.", talk:lines()[2])
    end)
  end)

  describe("ends", function()
    it("by end_call once its last words were heard, and only once", function()
      talk:speaks(1000, 600, "That is all, goodbye.")
      talk.model.answers = { { text = "Thank you for calling. Goodbye.",
        tool_calls = { { name = "end_call" }, { name = "end_call" } } } }
      assert.same({ by = "bot" }, talk:run({}))
      assert.equal("bot: Thank you for calling. Goodbye.", talk:lines()[2])
      assert.is_nil(talk.facts.transcript[2].full_text)
      assert.equal(1, #talk:events("hangup_requested"))
      assert.equal(2, #talk:events("tool_call"))
    end)

    it("with its message on a voicemail, after a second of silence", function()
      talk:speaks(1000, 3000, "Please leave a message after the tone.")
      talk.model.answers = { { tool_calls = { { name = "detected_voicemail" } } } }
      local ending = talk:run({ voicemail_message = "Please call us back." })
      assert.same({ by = "voicemail" }, ending)
      assert.equal("bot: Please call us back.", talk:lines()[2])
      assert.truthy(talk.facts.transcript[2].start_ms >= 4000 + 1000)
    end)

    it("with its message right after a voicemail's beep", function()
      talk:speaks(1000, 900, "You have reached us.")
      talk:speaks(2500, 3000, "Leave a message after the tone.")
      talk:at(5600, function()
        talk.leg:wire({ type = "beep" })
      end)
      talk.model.answers = { { tool_calls = { { name = "detected_voicemail" } }, delay = 500 } }
      assert.same({ by = "voicemail" }, talk:run({ voicemail_message = "Please call us back." }))
      assert.equal(5600 + 30, talk.facts.transcript[2].start_ms)
    end)

    it("on a voicemail that never falls silent, after 10 s, and without words when none are set",
      function()
        talk:speaks(1000, 900, "You have reached us.")
        talk:speaks(2500, 30000, "one two three")
        talk.model.answers = { { tool_calls = { { name = "detected_voicemail" } }, delay = 500 } }
        local ending = talk:run({})
        assert.same({ by = "voicemail" }, ending)
        assert.equal(1, #talk.facts.transcript)
        assert.truthy(talk.leg:clock() > 12000 and talk.leg:clock() < 14000)
      end)

    it("at the longest duration with its message", function()
      talk:run({ max_call_duration_seconds = 10, timeout_message = "Our time is up.",
        max_silence_seconds = 0 })
      assert.equal("bot: Our time is up.", talk:lines()[1])
      assert.equal("timeout", talk.session.ending.by)
    end)

    it("after 200 turns", function()
      for i = 0, 210 do
        talk:speaks(1000 + i * 8000, 600, "Go on.")
      end
      assert.same({ by = "bot" }, talk:run({ max_call_duration_seconds = 7200 }))
      local turns = 0
      for _, entry in ipairs(talk.facts.transcript) do
        turns = turns + (entry.role == "customer" and 1 or 0)
      end
      assert.equal(200, turns)
    end)
  end)

  describe("with tools", function()
    local tools = { { type = "function", ["function"] = { name = "hours" },
      pre_message = "Let me look that up." } }

    local function ask(answers, tool)
      talk.tools.hours = tool
      talk:speaks(1000, 900, "When do you open?")
      talk.model.answers = answers
      talk:leaves(20000)
      return talk:run({ tools = tools })
    end

    it("speaks its words while the request runs, then answers with the result", function()
      ask({ { tool_calls = { { name = "hours", arguments = '{"day":"Monday"}' } } },
        "We open at nine in the morning." }, { answer = '{"open":9}', ms = 500 })
      assert.equal("bot: Let me look that up. We open at nine in the morning.", talk:lines()[2])
      assert.equal('{"day":"Monday"}', talk.tools.hours.asked)
      local asked = talk.model.requests[2].messages
      assert.equal("hours", asked[2].tool_calls[1]["function"].name)
      assert.equal('{"open":9}', asked[3].content)
      assert.equal("c1", asked[3].tool_call_id)
      assert.equal(1, talk.facts.usage.tool_calls)
    end)

    it("says its error message when the tool failed", function()
      ask({ { tool_calls = { { name = "hours" } } }, "Please try tomorrow." },
        { answer = '{"error":"timeout"}', ms = 100, error = "timeout",
          error_message = "I cannot reach our records." })
      assert.equal("bot: Let me look that up. I cannot reach our records. Please try tomorrow.",
        talk:lines()[2])
    end)

    it("ends the call after the answer to a tool that says so", function()
      local ending = ask({ { tool_calls = { { name = "hours" } } }, "It is done. Goodbye then." },
        { answer = "{}", end_call = true })
      assert.same({ by = "bot" }, ending)
      assert.equal("bot: Let me look that up. It is done. Goodbye then.", talk:lines()[2])
    end)

    it("speaks the fallback of a search that found nothing, without the model", function()
      ask({ { tool_calls = { { name = "hours" } } } }, { answer = "{}", rag_ms = 10,
        fallback = "I do not know that, I am sorry." })
      assert.equal(1, #talk.model.requests)
      assert.equal("bot: Let me look that up. I do not know that, I am sorry.", talk:lines()[2])
    end)

    it("stops the words at a barge-in, not the request", function()
      talk:speaks(2700, 900, "no wait stop please")
      ask({ { tool_calls = { { name = "hours" } } }, "Certainly, as you wish." },
        { answer = '{"open":9}', ms = 3000 })
      assert.equal(1, talk.tools.done)
      assert.is_true(talk.facts.transcript[2].interrupted)
      local asked = talk.model.requests[2].messages
      assert.equal('{"open":9}', asked[3].content)
      assert.equal("no wait stop please", asked[4].content)
    end)

    it("fills dead air once a turn after 3 s", function()
      talk.tools.hours = { answer = "{}", ms = 9000 }
      talk:speaks(1000, 900, "When do you open?")
      talk.model.answers = { { tool_calls = { { name = "hours" } } }, "We open at nine o'clock." }
      talk:leaves(20000)
      talk:run({ tools = { { name = "hours" } } })
      local entry = talk.facts.transcript[2]
      assert.equal("One moment please. We open at nine o'clock.", entry.text)
      assert.equal(1900 + 400 + 3000 + 30, entry.start_ms)
    end)

    it("are a part of an answer's delay, a search another", function()
      local quick = { { name = "hours" } }
      for _, case in ipairs({ { "tool_ms" }, { "rag_ms", 700 } }) do
        talk:close()
        talk = conversation.new()
        talk.tools.hours = { answer = "{}", ms = 700, rag_ms = case[2] }
        talk:speaks(1000, 900, "When do you open?")
        talk.model.answers = { { tool_calls = { { name = "hours" } } }, "We open at nine o'clock." }
        talk:leaves(9000)
        talk:run({ tools = quick })
        local s = talk.facts.samples[1]
        assert.equal(700, s[case[1]])
        assert.equal(200, s.llm_ttft_ms) -- both times the model was asked
        assert.equal(400 + 200 + 700 + 30, s.total_ms)
        assert.equal(0, s.host_ms)
      end
    end)

    it("run for a flow too, which gets the answer", function()
      talk.tools.hours = { answer = '{"open":9}', ms = 500 }
      local got
      talk:run({ tools = tools }, { flow = function(call)
        got = call:tool("hours", { day = "Monday" })
      end })
      assert.equal(9, got.value.open)
      assert.equal(200, got.status)
      assert.is_nil(got.error)
      assert.equal('{"day":"Monday"}', talk.tools.hours.asked)
      assert.equal("bot: Let me look that up.", talk:lines()[1])
    end)

    it("asks at most 20 times in a turn", function()
      local function again()
        return { tool_calls = { { name = "hours" } } }
      end
      local answers = {}
      for i = 1, 30 do
        answers[i] = again
      end
      ask(answers, { answer = "{}", ms = 1 })
      assert.equal(20, talk.tools.done)
      assert.is_nil(talk.model.requests[21].tools)
    end)
  end)

  describe("with a transfer", function()
    local targets = { { id = "desk", label = "Front desk", value = "100", type = "extension",
      method = "websocket_reverse_transfer" } }

    local function ask(arguments, ok, config)
      talk:speaks(1000, 900, "A colleague please.")
      talk.model.answers = { { text = "I will put you through.",
        tool_calls = { { name = "transfer_call", arguments = arguments } } },
        "They cannot be reached right now." }
      if ok ~= nil then
        talk:at(6000, function()
          talk.leg:wire({ type = "transfer", ok = ok, reason = not ok and "busy" or nil })
        end)
      end
      talk:leaves(15000)
      config = config or {}
      config.transfer_targets = targets
      return talk:run(config, { can_transfer = true })
    end

    it("ends by the bot when it succeeds", function()
      local ending = ask('{"target":"Front desk","reason":"asked"}', true,
        { pre_transfer_message = "One moment." })
      assert.same({ by = "bot" }, ending)
      assert.equal("100", talk.leg.transferred.to)
      assert.same({ "customer: A colleague please.", "bot: I will put you through.",
        "bot: One moment." }, talk:lines())
      assert.is_true(talk.facts.transfer.was_transferred)
    end)

    it("goes on when it fails, and the model knows why", function()
      ask('{"target":"desk"}', false)
      local asked = talk.model.requests[2].messages
      assert.equal('{"error":"transfer_failed","reason":"busy"}', asked[#asked].content)
      assert.equal("bot: They cannot be reached right now.", talk:lines()[3])
      assert.equal("busy", talk.facts.transfer.transfer_failed_reason)
    end)

    it("tells the model when there is no such target", function()
      ask('{"target":"nobody"}')
      local asked = talk.model.requests[2].messages
      assert.equal('{"error":"TransferTargetError","reason":"no_target"}', asked[#asked].content)
      assert.equal("no_target", talk.facts.transfer.transfer_failed_reason)
    end)
  end)

  describe("when a provider fails", function()
    local spare = { { provider = "spare", model = "m" } }

    it("changes the model, and no turn is lost", function()
      talk.model.dead.rules = "timeout"
      talk:speaks(1000, 900, "When do you open?")
      talk.model.answers = { "We open at nine in the morning." }
      talk:leaves(14000)
      talk:run({ llm = { provider = "rules", fallback = spare } })
      assert.same({ stage = "llm", from = "rules", to = "spare" },
        talk:events("provider_failover")[1].data)
      assert.equal("timeout", talk:events("provider_error")[1].data.code)
      assert.truthy(talk:lines()[2]:find("We open at nine in the morning.", 1, true))
      -- 4 s for the first byte, then the spare one
      assert.truthy(talk.facts.transcript[2].end_ms < 1900 + 400 + 4000 + 3500)
    end)

    it("goes on after words that a broken stream had already said", function()
      talk:speaks(1000, 900, "When do you open?")
      talk.model.answers = { { text = "We open at nine in the morning. And ", breaks = "bad_response" },
        "we close at six." }
      talk:leaves(14000)
      talk:run({ llm = { provider = "rules", fallback = spare } })
      assert.equal("bot: We open at nine in the morning. And we close at six.", talk:lines()[2])
      local asked = talk:asked(2)
      assert.equal("assistant: We open at nine in the morning. And ", asked[#asked - 1])
    end)

    it("changes the voice when it breaks or is late, and says the sentence anew", function()
      for _, fault in ipairs({ "refused", "closed", "late" }) do
        talk:close()
        talk = conversation.new()
        talk.voice.dead.embedded = fault
        talk:leaves(12000)
        talk:run({ opening_message = opening, tts = { provider = "embedded", fallback = spare } })
        assert.same({ stage = "tts", from = "embedded", to = "spare" },
          talk:events("provider_failover")[1].data, fault)
        assert.equal("bot: " .. opening, talk:lines()[1], fault)
        assert.truthy(talk.facts.transcript[1].start_ms < 4000, fault)
      end
    end)

    it("changes the recogniser in the middle of a sentence, which is heard again", function()
      talk:at(1500, function()
        talk.caller.dead.embedded = "refused"
        talk.caller.on_event({ type = "lost", message = "gone" })
      end)
      talk:speaks(1000, 900, "When do you open?")
      talk:leaves(12000)
      talk:run({ stt = { provider = "embedded", fallback = spare } })
      assert.same({ stage = "stt", from = "embedded", to = "spare" },
        talk:events("provider_failover")[1].data)
      assert.equal(2000, talk.caller.replayed)
      assert.equal("customer: When do you open?", talk:lines()[1])
    end)

    it("apologises and ends in provider error when none is left", function()
      talk.model.dead.rules, talk.model.dead.spare = "http_500", "http_401"
      talk:speaks(1000, 900, "When do you open?")
      local ending = talk:run({ llm = { provider = "rules", fallback = spare },
        apology_message = "I am so sorry." })
      assert.same({ by = "error", error = "provider" }, ending)
      assert.equal("bot: I am so sorry.", talk:lines()[2])
      assert.same({ stage = "llm" }, talk:events("service_error")[1].data)
    end)
  end)

  describe("with a draft of a flow", function()
    local function run(source)
      return talk:run({ flow_source = source, apology_message = "I am so sorry." })
    end

    it("runs it instead of the published one, in an environment of its own", function()
      local ending = run([[
        counter = (counter or 0) + 1
        string.gone = "mine"
        local numbers = require("cxb.numbers")
        return function(call)
          local json = require("cxb.json")
          call:say("I count " .. counter .. " and spell " .. numbers.spell("4") .. " for you.")
          assert(json.decode(json.encode({ a = json.array() })).a, json.null)
        end]])
      assert.same({ by = "bot" }, ending)
      assert.equal("bot: I count 1 and spell four for you.", talk:lines()[1])
      assert.is_nil(rawget(_G, "counter"))
      assert.is_nil(rawget(string, "gone"))
    end)

    it("ends the call with script when it does not compile, fails, or reaches too far", function()
      for _, source in ipairs({ "return function(call", "return 5", "error('at load')",
        "return function(call) call:nothing() end", "require('cxb.core.calls')",
        "return function() io.open('/etc/passwd') end", "\27Lua" }) do
        talk:close()
        talk = conversation.new()
        assert.same({ by = "error", error = "script" }, run(source), source)
        assert.equal("bot: I am so sorry.", talk:lines()[1], source)
      end
    end)
  end)

  it("speaks 2,000 characters of an answer at most, and lets the model stop", function()
    talk:speaks(1000, 900, "Tell me everything.")
    talk.model.answers = { { text = ("This is a sentence of sorts. "):rep(200), piece_ms = 10 } }
    talk:leaves(600000)
    talk:run({ max_call_duration_seconds = 7200, max_silence_seconds = 0 })
    local said = talk.facts.transcript[2].text
    assert.truthy(#said <= 2000 and #said > 1900)
    assert.equal(1, talk.model.cancelled)
  end)

  it("runs what a flow wants repeated until the call ends, and survives its mistakes", function()
    local times, mistakes, timer = 0, 0, nil
    talk:leaves(10500)
    local ending = talk:run({}, { flow = function(call)
      call:every(2, function()
        times = times + 1
      end)
      timer = call:every(3600, function() end)
      call:every(3, function()
        mistakes = mistakes + 1
        error("a mistake")
      end)
      call:listen({ timeout = 60 })
    end })
    assert.same({ by = "customer" }, ending)
    assert.equal(5, times)
    assert.equal(1, mistakes)
    assert.is_true(timer.dead) -- nothing of a call outlives it
  end)

  it("takes a typed turn of a browser", function()
    talk:at(3000, function()
      talk.leg:wire({ type = "text", text = "When do you open?" })
    end)
    talk:leaves(9000)
    talk:run({ opening_message = opening }, { transport = "browser" })
    assert.equal("customer: When do you open?", talk:lines()[2])
    assert.equal("bot: All right then.", talk:lines()[3])
  end)

  it("reports what it used, and what the cache was worth", function()
    talk:speaks(1000, 900, "When do you open?")
    talk:leaves(8000)
    talk:run({ prompt_parts = { mode = "direct", cache_enabled = true, static_version = "v1",
      static_system_prompt = "Lasting.", dynamic_runtime_prompt = "Today." }, bot_id = "b" })
    assert.same({ "system: Lasting.", "system: Today.", "user: When do you open?" }, talk:asked(1))
    assert.equal("b:v1", talk.model.requests[1].cache.key)
    local usage = talk.facts.usage
    assert.equal(1, usage.llm_requests)
    assert.equal(10, usage.llm_prompt_tokens)
    assert.equal(5, usage.llm_completion_tokens)
    assert.is_true(usage.cache.enabled)
    assert.is_true(usage.cache.worked)
    assert.same({ "hit" }, { unpack(usage.cache.statuses) })
    assert.equal(6, usage.cache.fresh_prompt_tokens)
  end)

  it("fills in names in what it says and leaves unknown ones out", function()
    talk:leaves(6000)
    talk:run({ opening_message = "Hello {{crm.name}}, welcome{{ nothing }}.",
      variables = { ["crm.name"] = "Asha" } })
    assert.equal("bot: Hello Asha, welcome.", talk:lines()[1])
    assert.same({ "nothing" }, talk:events("template_unresolved")[1].data.names)
  end)
end)
