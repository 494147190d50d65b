-- waits: 26
-- Each speech provider against its simulator, by the interface the call worker uses. The spec is the
-- worker here: what a leg would get or give goes through an echoing socket.

local json = require("cjson.safe")
local support = require("support.world")
local speech_sim = require("support.speech_sim")
local providers = require("providers")

local ECHO = [[
return { name = "echo", listen = { { addr = "unix:" .. os.getenv("SPEC_DIR") .. "/echo.sock" } },
  http = function(req)
    if not req.upgrade then return req:respond(426, "") end
    local conn = assert(req:websocket({ max_binary = 1048576 }))
    while true do
      local kind, data = conn:receive()
      if not kind then return end
      conn:send_binary(data)
    end
  end }
]]

local world, echo, sims

local function echo_conn()
  return assert(cxb.ws.connect("ws+unix:" .. echo .. ":/", { max_binary = 1048576 }))
end

-- A simulator of its own, so that specs do not read one another's log.
local function new_sim(...)
  local sim = speech_sim.start(world, { "--stt-ms", "60", "--tts-ms", "30", "--word", "100", ... })
  sims[#sims + 1] = sim
  return sim
end

-- (waits) Runs functions, some at once: what waits for time does so together.
local function together(functions)
  local tasks, at = {}, 0
  for lane = 1, 8 do
    tasks[lane] = cxb.task.spawn("spec", function()
      while functions[at + 1] do
        at = at + 1
        functions[at]()
      end
    end)
  end
  for _, task in ipairs(tasks) do
    local _, code, trace = task:wait(120000)
    if code then error(trace or code, 0) end
  end
end

setup(function()
  world, sims = support.new(), {}
  local dir = world:folder()
  world:write(dir .. "/echo.lua", ECHO)
  echo = dir .. "/echo.sock"
  world:service(dir .. "/echo.lua", { SPEC_DIR = dir }, echo)
end)

teardown(function() world:close() end)

before_each(function() sims = {} end)

after_each(function()
  for _, sim in ipairs(sims) do
    local violations = sim:log().violations
    sim.process:stop()
    assert.same({}, violations)
  end
end)

---------------------------------------------------------------------------------------------------

-- A leg that can be spoken to.
local function spoken_leg()
  local leg = { conn = echo_conn(), ends = {} }
  function leg:say_sink() return self.conn:sink() end
  function leg:say_end(utterance, err) self.ends[#self.ends + 1] = { utterance, err } end
  -- (waits) All that was put into the leg so far: a word behind it says where it ends.
  function leg:audio()
    local out = {}
    assert(self.conn:send_binary("so far"))
    while true do
      local kind, data = self.conn:receive(60000)
      assert(kind == "binary", data)
      if data == "so far" then return table.concat(out) end
      out[#out + 1] = data
    end
  end
  return leg
end

local VOICES = { "elevenlabs", "openai", "sarvam" }

local function open_voice(sim, provider, more)
  local stage = sim:stage(provider, { speed = 1, language = "en", extra = {} })
  for name, value in pairs(more or {}) do stage[name] = value end
  local tts, code, message = providers.get("tts", provider).open({
    stage = stage, settings = {}, rate = 8000, on_lost = function() end,
  })
  if tts then tts.first_byte_ms, tts.stall_ms = 60000, 60000 end -- a simulator may be busy
  return tts, code, message
end

-- (waits) A sentence: {result, code, message}, its audio, how often it began.
local function say(tts, leg, text, on_words)
  local began = 0
  local result, code, message = tts:say(leg, 7, text, function() began = began + 1 end, on_words)
  return result, code, message, began
end

local function last_said(sim)
  local said = sim:log().said
  return said[#said]
end

local function is_sentence(sim, text, pcm, result)
  local sentence = last_said(sim)
  assert.equal(text, sentence.text)
  assert.is_true(pcm == speech_sim.tone(sentence.hz, sentence.ms, sentence.rate), text)
  assert.equal(sentence.ms, result.ms)
end

describe("a voice", function()
  it("hands all audio of a sentence over, says when it began and how long it is", function()
    for _, provider in ipairs(VOICES) do
      local sim = new_sim()
      local tts, leg = assert(open_voice(sim, provider)), spoken_leg()
      assert.equal(provider == "openai" and 24000 or 8000, tts.rate)
      for _, text in ipairs({ "Good morning, how are you?", "Fine." }) do
        local result, code, message, began = say(tts, leg, text)
        assert.is_truthy(result, ("%s: %s %s"):format(provider, tostring(code), tostring(message)))
        assert.equal(1, began)
        is_sentence(sim, text, leg:audio(), result)
      end
      assert.same({ { 7, nil }, { 7, nil } }, leg.ends)
      tts:close()
    end
  end)

  it("speaks over HTTP when there is no WebSocket to be had", function()
    for _, provider in ipairs({ "elevenlabs", "sarvam" }) do
      local sim = new_sim()
      sim:script({ faults = { { provider = provider, ["do"] = "status", status = 503 } } })
      local tts, leg = assert(open_voice(sim, provider)), spoken_leg()
      local result, code, message, began = say(tts, leg, "Good evening.")
      assert.is_truthy(result, ("%s: %s %s"):format(provider, tostring(code), tostring(message)))
      assert.equal(1, began)
      is_sentence(sim, "Good evening.", leg:audio(), result)
      assert.equal(1, #sim:connections(provider .. "_http"))
      tts:close()
    end
  end)

  it("tells why a sentence was refused without the sentence", function()
    local sim = new_sim()
    sim:script({ faults = { { provider = "openai", ["do"] = "status", status = 422 } } })
    local _, code, message = say(assert(open_voice(sim, "openai")), spoken_leg(), "Your number is 4711.")
    assert.same({ "http_422", "HTTP 422" }, { code, message })
  end)

  it("leaves no audio of a cancelled sentence in the next", function()
    for _, provider in ipairs(VOICES) do
      local sim = new_sim("--word", "5000") -- it is still spoken whenever it is cancelled
      local tts, leg = assert(open_voice(sim, provider)), spoken_leg()
      local code
      local task = cxb.task.spawn("say", function()
        _, code = say(tts, leg, "This one is much longer than anybody wants to hear it.")
      end)
      assert.equal("binary", (leg.conn:receive(60000)))
      tts:cancel()
      task:wait(60000)
      assert.equal("cancelled", code, provider)
      leg:audio()
      local result = assert(say(tts, leg, "Short."))
      is_sentence(sim, "Short.", leg:audio(), result)
      tts:close()
    end
  end)

  it("of OpenAI opens its connection before it has anything to say", function()
    local sim = new_sim()
    local tts = assert(open_voice(sim, "openai"))
    support.wait_until("a connection", function() return sim:log().warmed == 1 end)
    tts:close()
  end)

  it("gives the times of its words, if the provider tells", function()
    local sim = new_sim()
    local tts, leg = assert(open_voice(sim, "elevenlabs")), spoken_leg()
    local words = {}
    assert(say(tts, leg, "One two three", function(some)
      for _, word in ipairs(some) do words[#words + 1] = word end
    end))
    assert.same({ "One", "two", "three" }, { words[1].text, words[2].text, words[3].text })
    local each = 300 / #"One two three"
    assert.is_true(math.abs(words[3].start_ms - 8 * each) < 5, json.encode(words))
    assert.is_true(words[3].end_ms > words[3].start_ms and words[3].end_ms <= 300)
    tts:close()
  end)

  it("sends voice, model, language and speed as its provider wants them", function()
    local sim = new_sim()
    local options = { voice = "asha", language = "hi", speed = 2 }
    local seen = {}
    for _, provider in ipairs(VOICES) do
      options.model = ({ elevenlabs = "eleven_turbo_v2_5", openai = "tts-1", sarvam = "bulbul:v3" })[provider]
      local tts, leg = assert(open_voice(sim, provider, options)), spoken_leg()
      assert(say(tts, leg, "Namaste."))
      tts:close()
    end
    for _, one in ipairs(sim:log().connections) do
      if one.messages[1] then seen[one.provider] = { one.query or "", json.decode(one.messages[1]) } end
    end
    assert.matches("model_id=eleven_turbo_v2_5", seen.elevenlabs[1])
    assert.matches("language_code=hi", seen.elevenlabs[1])
    assert.equal(1.2, seen.elevenlabs[2].voice_settings.speed) -- all it can
    assert.same({ "tts-1", "asha", 2 },
      { seen.openai_http[2].model, seen.openai_http[2].voice, seen.openai_http[2].speed })
    local config = seen.sarvam[2].data
    assert.same({ "asha", "hi-IN", 2 }, { config.speaker, config.target_language_code, config.pace })
    assert.matches("model=bulbul%%3Av3", seen.sarvam[1])
  end)

  it("says in its code why there is no speech, and tells the key to nobody", function()
    local function code_of(patient, provider, fault, more, over_http)
      local sim = new_sim()
      if fault then
        fault.provider = provider
        sim:script({ faults = over_http and { { provider = provider, ["do"] = "status", status = 503 }, fault }
          or { fault } })
      end
      local tts, code, message = open_voice(sim, provider, more)
      if tts then
        if not patient then tts.first_byte_ms, tts.stall_ms = nil, nil end
        local _
        _, code, message = say(tts, spoken_leg(), "Hello there, whoever it may be, and welcome.")
        tts:close()
      end
      assert.is_nil(tostring(message):find("wrong%-key"), message)
      return code
    end
    local jobs, got, want = {}, {}, {}
    local function case(name, expected, ...)
      local args, n = { ... }, select("#", ...)
      want[name] = expected
      jobs[#jobs + 1] = function()
        got[name] = code_of(expected ~= "timeout", unpack(args, 1, n))
      end
    end
    for _, provider in ipairs(VOICES) do
      case(provider .. " key", provider == "sarvam" and "http_403" or "http_401", provider, nil,
        { api_key = "wrong-key" })
      case(provider .. " refused", "refused", provider, nil, { url = "http://127.0.0.1:1" })
      case(provider .. " cut", "closed", provider, { ["do"] = "cut", after_ms = 5 })
      case(provider .. " garbage", "bad_response", provider, { ["do"] = "garbage" })
      case(provider .. " silent", "timeout", provider, { ["do"] = "silent" })
      case(provider .. " stall", "timeout", provider, { ["do"] = "stall" })
      case(provider .. " slow", "timeout", provider, { ["do"] = "slow", ms = 4000 })
    end
    case("openai 500", "http_500", "openai", { ["do"] = "status", status = 500 })
    case("openai 429", "http_429", "openai", { ["do"] = "status", status = 429 })
    for _, provider in ipairs({ "elevenlabs", "sarvam" }) do
      case(provider .. " http cut", "closed", provider, { ["do"] = "cut", after_ms = 5 }, nil, true)
      case(provider .. " http size", "bad_response", provider, { ["do"] = "garbage" }, nil, true)
      case(provider .. " http silent", "timeout", provider, { ["do"] = "silent" }, nil, true)
    end
    together(jobs)
    assert.same(want, got)
  end)
end)

---------------------------------------------------------------------------------------------------

local EARS = { "deepgram", "deepgram_flux", "soniox" }

-- A caller's leg: speak(pcm) comes out of its tap, in pieces of the size asked for.
local function heard_leg()
  local leg = { source = echo_conn() }
  function leg:tap(sink, _, _, chunk_ms)
    self.piece = (chunk_ms and chunk_ms > 0 and chunk_ms or 20) * 16
    self.source:pipe(sink)
  end
  function leg:speak(pcm)
    for at = 1, #pcm, self.piece do
      local piece = pcm:sub(at, at + self.piece - 1)
      self.source:send_binary(piece .. ("\0"):rep(self.piece - #piece))
    end
  end
  return leg
end

local VOICE, QUIET = speech_sim.tone(500, 960, 8000), ("\0"):rep(16 * 480)

local function open_ears(sim, provider, extra, more)
  local events = {}
  local stage = sim:stage(provider, { language = "en", model = "stt-rt-v4", extra = extra or {} })
  for name, value in pairs(more or {}) do stage[name] = value end
  local stt, code, message = providers.get("stt", provider).open({
    stage = stage, settings = {}, rate = 8000, vad = {},
    on_event = function(event) events[#events + 1] = event end,
  })
  if stt then stt.answer_ms = 60000 end -- how late a busy simulator is says nothing of the provider
  return stt, events, code, message
end

-- (waits) The first event of this type.
local function event(events, kind, timeout_ms)
  return support.wait_until(kind .. " event", function()
    for _, one in ipairs(events) do
      if one.type == kind then return one end
    end
  end, timeout_ms)
end

local function count(events, kind)
  local n = 0
  for _, one in ipairs(events) do n = n + (one.type == kind and 1 or 0) end
  return n
end

describe("a recogniser", function()
  it("of Deepgram gives words as they come, the rest when asked, and says farewell", function()
    local sim = new_sim("--say", "when do you open", "--say", "and on sundays")
    local stt, events = open_ears(sim, "deepgram")
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE)
    event(events, "partial")
    stt:finalize(1) -- while the caller still speaks, as far as the provider knows
    local final = event(events, "final")
    assert.same({ 1, "when do you open", 0.98 }, { final.id, final.text, final.confidence })
    leg:speak(QUIET .. VOICE .. QUIET) -- a sentence that ends by itself
    local unasked = support.wait_until("a final text nobody asked for", function()
      for _, one in ipairs(events) do
        if one.type == "final" and not one.id then return one end
      end
    end)
    assert.equal("and on sundays", unasked.text)
    stt:close()
    support.wait_until("the farewell", function() return sim:connections("deepgram")[1].closed_well end)
    assert.equal(0, count(events, "lost"))
  end)

  it("of Deepgram is asked in its query for what extra says", function()
    local sim = new_sim()
    local stt = open_ears(sim, "deepgram", { endpointing = 250, smart_format = true, punctuate = false,
      interim_results = false, keyterm = { "Asha", "CXB" }, should_interrupt = false, min_confidence = 0.4 },
      { model = "nova-2-phonecall", language = "hi" })
    stt:close()
    assert.equal("model=nova-2-phonecall&language=hi&encoding=linear16&sample_rate=8000&channels=1"
      .. "&endpointing=250&interim_results=false&keyterm=Asha&keyterm=CXB&punctuate=false&smart_format=true"
      .. "&vad_events=true", sim:connections("deepgram")[1].query)
  end)

  it("of Flux takes 80 ms at a time and says when a turn begins, may be over, goes on, is over", function()
    local sim = new_sim("--say", "I would like to cancel my order please", "--say", "thank you")
    local stt, events = open_ears(sim, "deepgram_flux", { eager_eot_threshold = 0.4 })
    local leg = heard_leg()
    sim:script({ stt_ms = 600000 }) -- the turn is not over before the caller goes on
    stt:feed(leg, 0)
    leg:speak(VOICE .. QUIET)
    event(events, "turn_eager")
    leg:speak(VOICE)
    event(events, "turn_resumed")
    sim:script({ stt_ms = 60 })
    leg:speak(QUIET .. QUIET)
    local over = event(events, "turn_end")
    assert.same({ "I would like to cancel my order please", 0.95 }, { over.text, over.confidence })
    local order = {}
    for _, one in ipairs(events) do
      if one.type ~= "partial" then order[#order + 1] = one.type end
    end
    assert.same({ "turn_start", "turn_eager", "turn_resumed", "turn_eager", "turn_end" }, order)
    assert.is_true(count(events, "partial") > 2)
    assert.equal("model=flux-general-en&encoding=linear16&sample_rate=8000&eot_threshold=0.7"
      .. "&eager_eot_threshold=0.4&eot_timeout_ms=5000", sim:connections("deepgram_flux")[1].query)

    leg:speak(VOICE)
    support.wait_until("another turn", function() return count(events, "turn_start") == 2 end)
    stt:finalize(4)
    assert.same({ 4, "thank you" }, { event(events, "final").id, event(events, "final").text })
    assert.equal(1, count(events, "turn_end"))
    stt:finalize(5) -- nothing is being said: no need to ask
    assert.same({ 5, "" }, { events[#events].id, events[#events].text })
    stt:close()
  end)

  it("of Flux hears several languages with the model that can, and wants thresholds in their ranges", function()
    local sim = new_sim("--say", "haan ji")
    local stt, events = open_ears(sim, "deepgram_flux", { language_hints = { "hi", "en" },
      keyterm = "Asha", eot_threshold = 0.8, eot_timeout_ms = 3000 }, { language = "hi" })
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE .. QUIET)
    assert.equal("hi", event(events, "turn_end").language)
    assert.equal("model=flux-general-multi&encoding=linear16&sample_rate=8000&eot_threshold=0.8"
      .. "&eot_timeout_ms=3000&keyterm=Asha&language_hint=hi&language_hint=en",
      sim:connections("deepgram_flux")[1].query)
    stt:close()
    for name, value in pairs({ eot_threshold = 1.1, eager_eot_threshold = 0.2, eot_timeout_ms = 499 }) do
      local none, _, code, message = open_ears(sim, "deepgram_flux", { [name] = value })
      assert.is_nil(none)
      assert.equal("invalid", code)
      assert.matches("extra%." .. name .. ": a number from ", message)
    end
  end)

  it("of Soniox adds its tokens up and decides when a turn is over", function()
    local sim = new_sim("--say", "please call me back tomorrow", "--say", "bye")
    local stt, events = open_ears(sim, "soniox", { language_hints = { "en", "hi" }, language_hints_strict = true,
      context = "telephone bills", enable_speaker_diarization = true, enable_language_identification = true,
      client_reference_id = "call-7" })
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE .. QUIET)
    local over = event(events, "turn_end")
    assert.same({ "please call me back tomorrow", 0.97, "en" }, { over.text, over.confidence, over.language })
    assert.equal("turn_start", events[1].type)
    assert.same({ model = "stt-rt-v4", audio_format = "pcm_s16le", sample_rate = 8000, num_channels = 1,
      enable_endpoint_detection = true, language_hints = { "en", "hi" }, language_hints_strict = true,
      context = "telephone bills", enable_speaker_diarization = true, enable_language_identification = true,
      client_reference_id = "call-7" }, sim:connections("soniox")[1].config)
    leg:speak(VOICE)
    support.wait_until("more words", function() return events[#events].text == "bye" end)
    stt:finalize(3) -- it is never asked while it decides
    assert.same({ "final", 3, "bye" }, { events[#events].type, events[#events].id, events[#events].text })
    stt:close()
    support.wait_until("the farewell", function() return sim:connections("soniox")[1].closed_well end)
    assert.is_nil(table.concat(sim:connections("soniox")[1].messages):find("finalize"))
  end)

  it("of Soniox is asked for the rest when the ends of turns are ours", function()
    local sim = new_sim("--say", "yes that is right")
    local stt, events = open_ears(sim, "soniox", { vad_force_turn_endpoint = true })
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE .. QUIET .. QUIET)
    event(events, "partial")
    stt:finalize(2)
    local final = event(events, "final")
    assert.same({ 2, "yes that is right" }, { final.id, final.text })
    assert.equal(0, count(events, "turn_start") + count(events, "turn_end"))
    assert.is_false(sim:connections("soniox")[1].config.enable_endpoint_detection)
    stt:close()
  end)

  it("forgets what it was told to forget, and hears what follows", function()
    for provider, extra in pairs({ deepgram = {}, soniox = { vad_force_turn_endpoint = true } }) do
      local sim = new_sim("--say", "hm hm", "--say", "when do you open")
      local stt, events = open_ears(sim, provider, extra)
      local leg = heard_leg()
      stt:feed(leg, 0)
      leg:speak(VOICE)
      event(events, "partial")
      stt:reset()
      support.wait_until("the answer, which is thrown away", function() return not stt.discarding end)
      leg:speak(QUIET .. VOICE)
      support.wait_until("new words", function()
        for _, one in ipairs(events) do
          if one.type == "partial" and one.text:find("when") then return one end
        end
      end)
      stt:finalize(1)
      assert.equal("when do you open", event(events, "final").text, provider)
      stt:close()
    end
  end)

  it("gives out nothing of what it was told to forget when the answer is late", function()
    local sim = new_sim("--say", "hm hm")
    local stt, events = open_ears(sim, "deepgram")
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE)
    event(events, "partial")
    sim:script({ stt_ms = 2000 })
    stt.answer_ms = nil
    stt:reset()
    support.wait_until("the late answer", function() return #stt.asked == 0 end)
    assert.equal(0, count(events, "final"))
    stt:close()
  end)

  it("that does not answer is not waited for: what is known has to do", function()
    local sim = new_sim("--say", "is anybody there")
    local stt, events = open_ears(sim, "deepgram")
    local leg = heard_leg()
    stt:feed(leg, 0)
    leg:speak(VOICE)
    local partial = support.wait_until("words", function()
      local last = events[#events]
      return last and last.text == "is anybody there" and last
    end)
    sim:script({ stt_ms = 2500 })
    stt.answer_ms = nil
    stt:finalize(9)
    local final = event(events, "final")
    assert.same({ 9, partial.text }, { final.id, final.text })
    cxb.time.sleep(2000)
    assert.equal(1, count(events, "final")) -- and its late answer is not a second one
    stt:close()
  end)

  it("that says nothing at all is given up", function()
    local sim = new_sim()
    sim:script({ faults = { { provider = "deepgram", ["do"] = "silent" } } })
    local stt, events = open_ears(sim, "deepgram")
    stt.answer_ms = nil
    for id = 1, 2 do
      stt:finalize(id)
      support.wait_until("an answer", function() return count(events, "final") == id end)
    end
    assert.equal("timeout", event(events, "lost").code)
  end)

  it("is lost once, with a code, when its connection is cut", function()
    for _, provider in ipairs(EARS) do
      local sim = new_sim()
      local stt, events = open_ears(sim, provider)
      local leg = heard_leg()
      stt:feed(leg, 0)
      leg:speak(VOICE)
      support.wait_until("audio", function() return sim:connections(provider)[1].audio_ms > 0 end)
      sim:cut(provider)
      assert.equal("closed", event(events, "lost").code)
      stt:finalize(1)
      stt:close()
      assert.equal(1, count(events, "lost"))
    end
  end)

  it("says in its code why it is not there, and goes on after garbage", function()
    for _, provider in ipairs(EARS) do
      local sim = new_sim("--say", "hello you")
      local stt, _, code, message = open_ears(sim, provider, nil, { api_key = "wrong-key" })
      assert.is_nil(stt)
      assert.equal("http_401", code)
      assert.is_nil(message:find("wrong", 1, true))
      assert.equal("refused", select(3, open_ears(sim, provider, nil, { url = "http://127.0.0.1:1" })))
      sim:script({ faults = { { provider = provider, ["do"] = "status", status = 503 },
        { provider = provider, ["do"] = "garbage" } } })
      assert.equal("http_503", select(3, open_ears(sim, provider)))
      local events
      stt, events = open_ears(sim, provider)
      local leg = heard_leg()
      stt:feed(leg, 0)
      leg:speak(VOICE .. QUIET)
      assert.equal("bad_response", event(events, "error").code)
      event(events, "partial")
      assert.equal(0, count(events, "lost"))
      stt:close()
    end
  end)

  it("is kept awake while nobody is heard", function()
    local jobs = {}
    for _, provider in ipairs(EARS) do
      jobs[#jobs + 1] = function()
        local sim = new_sim()
        local stt, events = open_ears(sim, provider)
        support.wait_until(provider .. " to be kept awake", function()
          local one = sim:connections(provider)[1]
          return (one.keepalives or 0) >= 1 or one.audio_ms >= 80
        end)
        assert.equal(0, count(events, "lost"))
        stt:close()
      end
    end
    together(jobs)
  end)
end)
