-- A call's life with a fake leg, fake providers and a clock that jumps: the flow API, barge-in,
-- limits and ends.
local pure = require("spec.support.pure")
local sched_of = require("cxb.testing.sched")
local fake_leg = require("cxb.testing.leg")
local record = require("cxb.record")

local WORD_MS = 300

describe("a session", function()
  local sched, clock, leg, facts, caller, tts_state, Session, flows, botconfig

  -- The provider the caller speaks through: say(at, ms, text) from the spec.
  local function fake_stt()
    return {
      sends_vad = true,
      open = function(o)
        if caller.refuse then
          return nil, "refused", "no speech service"
        end
        caller.on_event = o.on_event
        caller.connections = (caller.connections or 0) + 1
        return {
          feed = function() end, reset = function() end, close = function() end,
          hints = function(_, words)
            caller.hints = words
          end,
          finalize = function(_, id)
            local said = caller.saying
            sched.at(math.max(0, caller.ready_at - cxb.time.mono()), function()
              o.on_event({ type = "final", id = id, text = said, confidence = 0.9 })
            end)
          end,
        }
      end,
    }
  end

  local function fake_tts()
    return {
      open = function()
        tts_state.opened = (tts_state.opened or 0) + 1
        if tts_state.dead then
          return nil, "refused", "no voice"
        end
        return {
          say = function(_, l, utterance, text, on_audio)
            cxb.time.sleep(30)
            if tts_state.dead then
              l:say_end(utterance, "closed")
              return nil, "closed"
            end
            on_audio()
            local ms = #require("cxb.text").words(text) * WORD_MS
            l:push_ms(utterance, ms)
            l:say_end(utterance)
            return { ms = ms }
          end,
          cancel = function() end, close = function() end,
        }
      end,
    }
  end

  -- From `at` on (ms of the media clock) the caller speaks for `ms`; partials as they come.
  local function speaks(at, ms, text)
    local words = require("cxb.text").words(text)
    sched.at(at, function()
      local from = cxb.time.mono()
      caller.on_event({ type = "speech", at = from })
      for i = 1, #words do
        sched.at(ms * i / #words, function()
          caller.on_event({ type = "partial", text = table.concat(words, " ", 1, i) })
        end)
      end
      sched.at(ms + 240, function()
        caller.saying, caller.ready_at = text, cxb.time.mono() + (caller.stt_ms or 120)
        caller.on_event({ type = "silence", at = from + ms })
        sched.at(caller.stt_ms or 120, function()
          caller.on_event({ type = "partial", text = text })
        end)
      end)
    end)
  end

  local function run(flow, o)
    o = o or {}
    flows.get = function()
      return flow
    end
    local config = assert(botconfig.check(o.config or {}, true))
    config.session_id = "s1"
    leg = fake_leg.new(sched, { can_transfer = o.can_transfer })
    facts = record.new()
    facts:add("accepted", { call_id = "c1", bot_id = "b", direction = o.direction or "incoming",
      started_at = cxb.time.now(), connected_event = "{}" })
    return sched.run(function()
      local session = Session.new({
        settings = { CXB_SPEECH_URL = "unix:/x" }, leg = leg, facts = facts, config = config,
        start = { rate = 8000 }, origin = cxb.time.mono(),
        meta = { transport = "cxb", direction = o.direction or "incoming" },
      })
      session:connect()
      if not o.unanswered then
        leg:wire({ type = "answer" })
      end
      if o.during then
        o.during(session)
      end
      return session:run()
    end)
  end

  local function events_of(kind)
    local out = {}
    for _, event in ipairs(facts.events) do
      if event.type == kind then
        out[#out + 1] = event
      end
    end
    return out
  end

  before_each(function()
    local fake
    clock, fake = pure.install()
    sched = sched_of.install(fake, clock)
    fake.media = { read_wav = function()
      return ("\0"):rep(16000), 8000
    end }
    fake.root = "."
    caller, tts_state = {}, {}
    package.loaded["providers.stt_embedded"] = fake_stt()
    package.loaded["providers.tts_embedded"] = fake_tts()
    Session, flows = require("cxb.core.session"), require("cxb.core.flows")
    botconfig = require("cxb.core.botconfig")
  end)

  after_each(function()
    package.loaded["providers.stt_embedded"] = nil
    package.loaded["providers.tts_embedded"] = nil
    pure.restore()
  end)

  it("speaks, listens, answers, and ends by the bot when the flow returns", function()
    local heard
    speaks(2500, 900, "When do you open?")
    local ending = run(function(call)
      heard = call:ask("Hello, how can I help?")
      call:say("At nine in the morning.")
    end)
    assert.same({ by = "bot" }, ending)
    assert.equal("When do you open?", heard.text)
    assert.equal(0.9, heard.confidence)
    assert.is_true(leg.hung_up)
    assert.equal("Hello, how can I help?", facts.transcript[1].text)
    assert.equal("customer", facts.transcript[2].role)
    assert.equal(2500, facts.transcript[2].start_ms)
    assert.equal(3400, facts.transcript[2].end_ms)
    assert.is_nil(facts.transcript[3].full_text)
  end)

  it("measures an answer's delay in parts that sum", function()
    speaks(2500, 900, "When do you open?")
    run(function(call)
      call:ask("Hello, how can I help?")
      call:say("At nine in the morning.")
    end)
    local s = facts.samples[1]
    assert.equal(400, s.endpoint_ms)
    assert.equal(0, s.stt_ms) -- the words came 360 ms after the last voiced frame
    assert.equal(30, s.tts_ttfb_ms)
    assert.equal(430, s.total_ms)
    assert.equal(0, s.host_ms)
    assert.equal(1, s.turn)
  end)

  it("counts late words as waiting for speech to text", function()
    caller.stt_ms = 500
    speaks(2500, 900, "When do you open?")
    run(function(call)
      call:ask("Hello, how can I help?")
      call:say("At nine.")
    end)
    assert.equal(400, facts.samples[1].endpoint_ms)
    assert.equal(340, facts.samples[1].stt_ms)
  end)

  it("is interrupted by words and keeps what was heard", function()
    local said, heard
    speaks(4000, 1200, "wait I have a question")
    run(function(call)
      call:say("Hello there.")
      said = call:say("This is a very long sentence that goes on for quite some time indeed.")
      heard = call:listen()
    end)
    assert.is_true(said.interrupted)
    assert.equal("words", said.by)
    assert.equal("wait I have a question", heard.text)
    local entry = facts.transcript[2]
    assert.is_true(entry.interrupted)
    assert.truthy(#entry.text > 0 and #entry.text < #entry.full_text)
    assert.equal(said.heard_ms, entry.heard_ms)
    assert.equal(1, #events_of("barge_in"))
  end)

  it("is not interrupted by a word or two, but does not lose them", function()
    local said, heard
    speaks(3000, 500, "opening hours")
    run(function(call)
      said = call:say("Do you want the opening hours, or shall I put you through to a colleague?")
      heard = call:listen()
    end)
    assert.is_false(said.interrupted)
    assert.equal("opening hours", heard.text)
  end)

  it("does not let partial words cut the opening", function()
    local said
    speaks(500, 2000, "one two three four five six")
    run(function(call)
      said = call:say("Welcome to the line of lines, where all lines meet in one line of lines.")
    end)
    assert.equal("words", said.by)
    assert.truthy(said.heard_ms > 2500 - 500) -- only after the caller's pause
  end)

  it("drops a backchannel said while it speaks", function()
    local heard
    speaks(1500, 300, "okay")
    run(function(call)
      call:say("Our office is in the middle of the town beside the old stone bridge.")
      heard = call:listen({ timeout = 2 })
    end)
    assert.is_true(heard.silence)
    assert.equal(1, #events_of("backchannel"))
  end)

  it("answers silence with silence=true after the time-out", function()
    local heard, waited
    run(function(call)
      call:say("Hello?")
      local from = cxb.time.mono()
      heard = call:listen({ timeout = 5 })
      waited = cxb.time.mono() - from
    end)
    assert.is_true(heard.silence)
    assert.equal(5000, waited)
  end)

  it("gives the words that are likely to come to the recogniser", function()
    run(function(call)
      call:ask("Is that right?", { hints = { "yes", "no" }, timeout = 1 })
      assert.same({ "yes", "no" }, caller.hints)
      call:listen({ timeout = 1 })
    end)
    assert.same({}, caller.hints)
  end)

  it("says that it heard voice but no words", function()
    local heard
    speaks(1500, 400, "")
    run(function(call)
      call:say("Hello?")
      heard = call:listen({ timeout = 5 })
    end)
    assert.is_true(heard.unclear)
  end)

  it("collects keys until the terminator, the number or a pause", function()
    local got = {}
    for i, digit in ipairs({ "4", "2", "#", "1", "2", "3", "9" }) do
      sched.at(2000 + i * 200, function()
        leg:wire({ type = "dtmf", digit = digit })
      end)
    end
    run(function(call)
      got[1] = call:listen({ dtmf = { max = 8 } })
      got[2] = call:dtmf({ max = 3, terminators = "#" })
      got[3] = call:listen({ dtmf = { timeout = 2 } })
    end)
    assert.equal("42", got[1].dtmf)
    assert.equal("#", got[1].terminator)
    assert.equal("123", got[2].dtmf)
    assert.equal("9", got[3].dtmf)
    assert.equal("dtmf", facts.transcript[1].role)
  end)

  it("is interrupted by a key, which is not lost", function()
    local said, heard
    sched.at(1500, function()
      leg:wire({ type = "dtmf", digit = "1" })
      leg:clear("dtmf")
    end)
    run(function(call)
      said = call:say("Press one for this, two for that, three for something else again.")
      heard = call:listen({ dtmf = { max = 1 } })
    end)
    assert.equal("dtmf", said.by)
    assert.equal("1", heard.dtmf)
  end)

  it("does not listen while it says what must be heard", function()
    local said, heard
    speaks(500, 1000, "I want to interrupt you now")
    run(function(call)
      said = call:say("This must be heard to its very end by everyone.", { barge = false })
      heard = call:listen({ timeout = 2 })
    end)
    assert.is_false(said.interrupted)
    assert.is_true(heard.silence)
    assert.same({ vad = false, dtmf = false }, leg.barges[1])
  end)

  it("answers every wait with hangup once the caller has gone", function()
    local results = {}
    sched.at(1000, function()
      leg:caller_gone(1000, "caller")
    end)
    local ending = run(function(call)
      results[1] = call:say("A long sentence that is being said when the caller hangs up the phone.")
      results[2] = call:listen()
      results[3] = call:ask("Anything?")
      results[4] = call:transfer()
      results[5] = call:dtmf()
    end)
    assert.same({ by = "customer" }, ending)
    for i = 1, 5 do
      assert.is_true(results[i].hangup, "wait " .. i)
    end
  end)

  it("keeps of a sentence what was heard when the caller hangs up", function()
    sched.at(1530, function()
      leg:caller_gone(1000, "caller")
    end)
    run(function(call)
      call:say("One two three four five six seven eight nine ten. Eleven twelve thirteen fourteen.")
    end)
    local entry = facts.transcript[1]
    assert.equal("One two three four five", entry.text)
    assert.equal(1500, entry.heard_ms)
    assert.is_true(entry.interrupted)
    assert.truthy(entry.full_text:find("fourteen", 1, true))
  end)

  it("ends by the customer with an event when the socket is lost without goodbye", function()
    sched.at(500, function()
      leg:caller_gone(1006)
    end)
    assert.same({ by = "customer" }, run(function(call)
      call:listen({ timeout = 100 })
    end))
    assert.equal(1006, events_of("transport_closed")[1].data.code)
  end)

  it("is not answered when an outgoing call's socket closes before the answer", function()
    sched.at(500, function()
      leg:caller_gone(1000)
    end)
    assert.same({ by = "no_answer" }, run(function() end,
      { direction = "outgoing", unanswered = true }))
  end)

  it("apologises and ends in error when the flow fails", function()
    local ending = run(function()
      error("a mistake")
    end)
    assert.same({ by = "error", error = "script" }, ending)
    assert.truthy(facts.transcript[1].text:find("something went wrong", 1, true))
  end)

  it("names a stalled and a memory-hungry flow", function()
    assert.equal("stalled", run(function()
      error("lua/flows/x.lua:3: stalled at lua/flows/x.lua:3", 0)
    end).error)
    assert.equal("memory", run(function()
      error("memory cap reached", 0)
    end).error)
  end)

  it("is ended by the media loop 120 s after its longest duration when nothing else ends it",
    function()
      local ending = run(function(call)
        call:listen({ timeout = 1000 })
      end, { config = { max_call_duration_seconds = 30 }, during = function()
        leg.hangup = function() end -- a far end that does not hear our goodbye
      end })
      assert.equal(150000, leg.limit_ms)
      assert.equal(1011, leg.aborted)
      assert.same({ by = "timeout" }, ending)
    end)

  it("says the time-out message at the longest duration and ends with timeout", function()
    local gone
    local ending = run(function(call)
      repeat
        local heard = call:listen({ timeout = 5 })
        gone = heard.hangup
      until gone
    end, { config = { max_call_duration_seconds = 60, max_silence_seconds = 0 } })
    assert.same({ by = "timeout" }, ending)
    assert.is_true(gone)
    assert.truthy(facts.transcript[1].text:find("time is up", 1, true))
    assert.truthy(leg:clock() < 60000 + 5100)
  end)

  it("ends with RNR after silence when the caller never spoke, else by the bot", function()
    local function wait(call)
      repeat
        local heard = call:listen({ timeout = 300 })
      until heard.hangup
    end
    local config = { max_silence_seconds = 20 }
    assert.same({ by = "RNR" }, run(wait, { config = config }))
    assert.truthy(leg:clock() < 21100)
    speaks(1000, 500, "Hello.")
    assert.same({ by = "bot" }, run(wait, { config = config }))
  end)

  it("hangs up with RNR when the flow gives up on a caller who never spoke", function()
    assert.same({ by = "RNR" }, run(function(call)
      call:say("Nobody there.")
      return call:hangup("no_response")
    end))
  end)

  it("tells the flow that a line cannot transfer, and goes on", function()
    local answer
    run(function(call)
      answer = call:transfer("desk", "asked")
      call:say("I cannot do that.")
    end, { config = { transfer_targets = { { id = "desk", value = "100", type = "extension",
      method = "websocket_reverse_transfer" } } } })
    assert.is_false(answer.ok)
    assert.equal("unsupported", answer.reason)
    assert.equal("unsupported", facts.transfer.transfer_failed_reason)
    assert.equal("I cannot do that.", facts.transcript[1].text)
  end)

  it("transfers after its message and ends by the bot", function()
    sched.at(4000, function()
      leg:wire({ type = "transfer", ok = true })
    end)
    local answer
    local ending = run(function(call)
      answer = call:transfer(nil, "asked")
    end, { can_transfer = true, config = { pre_transfer_message = "One moment please.",
      transfer_targets = { { id = "desk", value = "100", type = "extension", is_default = true,
        method = "websocket_reverse_transfer" } } } })
    assert.same({ by = "bot" }, ending)
    assert.is_true(answer.ok)
    assert.equal("100", leg.transferred.to)
    assert.is_true(facts.transfer.was_transferred)
    assert.equal("100", facts.transfer.transfer_destination)
    assert.equal("One moment please.", facts.transcript[1].text)
  end)

  it("goes on when the transfer fails", function()
    sched.at(500, function()
      leg:wire({ type = "transfer", ok = false, reason = "busy" })
    end)
    local answer
    run(function(call)
      answer = call:transfer(nil, "asked")
      call:say("They are busy.")
    end, { can_transfer = true, config = { transfer_numbers = {}, transfer_targets = { {
      id = "d", value = "1", type = "extension", is_default = true,
      method = "websocket_reverse_transfer" } } } })
    assert.equal("busy", answer.reason)
    assert.equal("They are busy.", facts.transcript[1].text)
  end)

  it("plays the recorded apology and ends in provider error when it has no voice", function()
    tts_state.dead = true
    local said
    local ending = run(function(call)
      said = call:say("Hello.")
      call:listen()
    end)
    assert.same({ by = "error", error = "provider" }, ending)
    assert.truthy(said.failed or said.hangup)
    assert.equal(1, #events_of("service_error"))
    local last = leg.utterances[#leg.utterances]
    assert.equal(1000, last.ms) -- the file's audio
  end)

  it("opens speech to text again when it was lost, and hears what comes", function()
    local heard
    sched.at(500, function()
      caller.on_event({ type = "lost", code = "closed", message = "gone" })
    end)
    speaks(3000, 600, "Hello again.")
    run(function(call)
      heard = call:listen({ timeout = 20 })
    end)
    assert.equal("Hello again.", heard.text)
    assert.equal(2, caller.connections)
    assert.equal(1, #events_of("provider_error"))
  end)

  it("ends in provider error when speech to text stays away", function()
    caller.refuse = true
    local ending = run(function(call)
      call:listen({ timeout = 60 })
    end)
    assert.same({ by = "error", error = "provider" }, ending)
    assert.truthy(leg:clock() < 20000)
  end)

  it("ends a flow that goes on after the call", function()
    sched.at(100, function()
      leg:caller_gone(1000, "caller")
    end)
    assert.same({ by = "customer" }, run(function()
      while true do
        cxb.time.sleep(1000)
      end
    end))
  end)

  it("ends when that is asked for, once, however often", function()
    local ending = run(function(call)
      call:listen({ timeout = 60 })
    end, { during = function()
      sched.at(1000, function()
        for _ = 1, 3 do
          leg:post({ type = "hangup_requested" })
        end
      end)
    end })
    assert.same({ by = "bot" }, ending)
    assert.equal(1, #events_of("hangup_requested"))
  end)

  it("ends at once on shutdown", function()
    local ending = run(function(call)
      call:listen({ timeout = 60 })
    end, { during = function()
      sched.at(500, function()
        leg:post({ type = "shutdown" })
      end)
    end })
    assert.same({ by = "error", error = "shutdown" }, ending)
    assert.equal(1001, leg.aborted)
  end)
end)
