-- What speech providers say, translated: by hand and with nonsense in every place, on a clock that
-- jumps.
local pure = require("spec.support.pure")
local sched_of = require("cxb.testing.sched")
local channel = require("cxb.channel")
local json = require("cxb.json")

describe("the messages of", function()
  local sched, sockets

  -- A connection whose far end is the spec: say(message), and what was sent.
  local function socket()
    local ws = { sent = {}, inbox = channel.new(), sent_at = cxb.time.mono() }
    function ws:receive(ms)
      if self.closed then return nil, "closed", 1000, "" end
      local got, code = self.inbox:pop(ms)
      if got == false then
        self.closed = true
        return nil, "closed", 1006, "gone"
      elseif got == nil then
        return nil, code
      end
      return "text", got
    end
    function ws:send(text)
      self.sent[#self.sent + 1], self.sent_at = text, cxb.time.mono()
    end
    ws.send_binary = ws.send
    function ws:idle_ms() return cxb.time.mono() - self.sent_at end
    function ws:close()
      if not self.closed then self.inbox:push(false) end
    end
    function ws:say(message)
      self.inbox:push(type(message) == "string" and message or json.encode(message))
    end
    function ws.sink() return {} end
    function ws.pipe_json() end
    sockets[#sockets + 1] = ws
    return ws
  end

  before_each(function()
    local clock, fake = pure.install()
    sched = sched_of.install(fake, clock)
    fake.ws = { connect = function() return socket() end }
    fake.null = json.null
    sockets = {}
  end)

  after_each(pure.restore)

  local function open(name, extra, events)
    return assert(require("providers." .. name).open({
      stage = { provider = "x", api_key = "k", language = "en", extra = extra or {} }, settings = {},
      rate = 8000, vad = {}, on_event = function(event) events[#events + 1] = event end,
    }))
  end

  -- Events that a recogniser makes of messages.
  local function heard(name, messages, extra)
    local events = {}
    sched.run(function()
      local stt = open(name, extra, events)
      for _, message in ipairs(messages) do sockets[1]:say(message) end
      cxb.time.sleep(10)
      stt:close()
    end)
    return events
  end

  local function results(text, fields)
    local message = { type = "Results", is_final = false,
      channel = { alternatives = { { transcript = text, confidence = 0.9 } } } }
    for key, value in pairs(fields or {}) do message[key] = value end
    return message
  end

  it("Deepgram become texts that may change, texts that will not, and an end of words", function()
    local events = heard("stt_deepgram", {
      { type = "SpeechStarted", timestamp = 0.3 }, results("when"), results(""), results("when do you"),
      results("When do you open?", { is_final = true }), results("", { is_final = true }),
      { type = "UtteranceEnd", last_word_end = 2.1 }, { type = "UtteranceEnd", last_word_end = -1 },
      { type = "Metadata" }, { type = "Error", description = "out of k" },
    })
    local kinds = {}
    for i, event in ipairs(events) do kinds[i] = event.type end
    assert.same({ "partial", "partial", "final", "silence", "error" }, kinds)
    assert.same({ "When do you open?", 0.9 }, { events[3].text, events[3].confidence })
    assert.equal("out of ***", events[5].message) -- the key is k
  end)

  it("Deepgram, when asked, answer the oldest question that waits", function()
    local events = {}
    sched.run(function()
      local stt = open("stt_deepgram", nil, events)
      stt:finalize(1)
      sockets[1]:say(results("yes", { is_final = true }))
      sockets[1]:say(results("please", { is_final = true, from_finalize = true }))
      sockets[1]:say({ type = "UtteranceEnd", last_word_end = 1.2 }) -- of words already given out
      cxb.time.sleep(5)
      stt:finalize(2) -- this answer is late
      cxb.time.sleep(1500)
      stt:finalize(3)
      sockets[1]:say(results("", { is_final = true, from_finalize = true }))
      cxb.time.sleep(5)
      stt:close()
    end)
    local seen = {}
    for i, event in ipairs(events) do seen[i] = { event.id or 0, event.text } end
    assert.same({ { 0, "yes" }, { 1, "please" }, { 2, "" }, { 3, "" } }, seen)
    assert.same({ '{"type":"Finalize"}', '{"type":"Finalize"}', '{"type":"Finalize"}',
      '{"type":"CloseStream"}' }, sockets[1].sent)
  end)

  it("Deepgram need no question when it noticed the pause behind the last voice itself", function()
    local events = {}
    sched.run(function()
      local stt = open("stt_deepgram", nil, events)
      cxb.time.sleep(5000)
      stt:feed({ tap = function() end }, 2000) -- its zero is 3000
      local function pause_at(seconds)
        sockets[1]:say(results("yes", { is_final = true, speech_final = true, start = 1,
          duration = seconds - 1 }))
        cxb.time.sleep(1)
      end
      cxb.time.sleep(1000)
      pause_at(2.5)
      stt:finalize(1, 5400) -- voice until 5400, pause until 5500
      stt:finalize(2, 5700) -- voice after the pause
      sockets[1]:say(results("please", { is_final = true, from_finalize = true }))
      cxb.time.sleep(1)
      pause_at(2.8)
      sockets[1]:say(results("I mean"))
      cxb.time.sleep(1)
      stt:finalize(3, 5800) -- words after the pause
      cxb.time.sleep(1)
      stt:close()
    end)
    local asked = 0
    for _, text in ipairs(sockets[1].sent) do
      asked = asked + (text == '{"type":"Finalize"}' and 1 or 0)
    end
    assert.equal(2, asked)
    assert.same({ 1, "" }, { events[2].id, events[2].text })
    assert.same({ 2, "please" }, { events[3].id, events[3].text })
  end)

  it("Soniox add up over messages, and marks end turns", function()
    local function token(text, final) return { text = text, is_final = final, confidence = 0.8 } end
    local events = heard("stt_soniox", {
      { tokens = { token("Hel", false) } }, { tokens = { token("Hello", true), token(" the", false) } },
      { tokens = { token(" there", true), { text = "<end>", is_final = true } } },
      { tokens = { { text = "<end>", is_final = true } } },
      { tokens = {}, finished = true }, { error_code = 402, error_message = "no credit for k" },
    })
    local kinds = {}
    for i, event in ipairs(events) do kinds[i] = event.type end
    assert.same({ "turn_start", "partial", "partial", "turn_end", "lost" }, kinds)
    assert.same({ "Hello the", "Hello there", "http_402", "no credit for ***" },
      { events[3].text, events[4].text, events[5].code, events[5].message })
  end)

  it("Flux become turns; what was asked for is no second turn", function()
    local events = {}
    local function info(event, text, more)
      return { type = "TurnInfo", event = event, transcript = text, words = more }
    end
    sched.run(function()
      local stt = open("stt_deepgram_flux", { language_hints = { "hi" } }, events)
      for _, message in ipairs({ { type = "Connected" }, info("StartOfTurn", ""), info("Update", "I want"),
        info("EagerEndOfTurn", "I want to pay"), info("TurnResumed", "I want to pay my"),
        info("EndOfTurn", "I want to pay my bill", { { confidence = 0.9 }, { confidence = 0.6 } }),
        info("StartOfTurn", "no") }) do
        sockets[1]:say(message)
      end
      cxb.time.sleep(5)
      stt:finalize(8)
      sockets[1]:say(info("EndOfTurn", "no thanks"))
      cxb.time.sleep(5)
      stt:close()
    end)
    local seen = {}
    for i, event in ipairs(events) do seen[i] = event.type .. ":" .. (event.text or "") end
    assert.same({ "turn_start:", "partial:I want", "partial:I want to pay", "turn_eager:I want to pay",
      "turn_resumed:", "partial:I want to pay my", "turn_end:I want to pay my bill", "turn_start:",
      "partial:no", "final:no thanks" }, seen)
    assert.equal(0.6, events[7].confidence)
    assert.equal(8, events[10].id)
  end)

  it("a recogniser may be nonsense in every place without harm", function()
    local nonsense = { "true", "17", '"x"', "[]", "{}", "null", '[{"a":1}]', '{"alternatives":"x"}' }
    local frames = {
      stt_deepgram = { '{"type":"Results","is_final":true,"channel":%s}',
        '{"type":"Results","channel":{"alternatives":%s}}', '{"type":%s}',
        '{"type":"Results","is_final":%s,"channel":{"alternatives":[{"transcript":"a","confidence":%s}]}}',
        '{"type":"UtteranceEnd","last_word_end":%s}', '{"type":"Error","description":%s}' },
      stt_deepgram_flux = { '{"type":"TurnInfo","event":%s,"transcript":%s}', '{"type":%s}',
        '{"type":"TurnInfo","event":"EndOfTurn","transcript":%s,"words":%s,"languages":%s}',
        '{"type":"TurnInfo","event":"Update","transcript":"a","words":%s}' },
      stt_soniox = { '{"tokens":%s}', '{"tokens":[%s]}', '{"tokens":[{"text":%s,"is_final":%s}]}',
        '{"tokens":[{"text":"a","is_final":true,"confidence":%s,"language":%s}]}', "%s" },
    }
    for name, list in pairs(frames) do
      for _, frame in ipairs(list) do
        for _, one in ipairs(nonsense) do
          sockets = {}
          local message = frame:gsub("%%s", (one:gsub("%%", "%%%%")))
          local events = heard(name, { message, "{no json" })
          assert.equal("bad_response", events[#events].code, name .. " " .. message) -- and it goes on
        end
      end
    end
  end)

  it("a recogniser that are nonsense only end it", function()
    local messages = {}
    for i = 1, 40 do messages[i] = "no json" end
    local events = heard("stt_deepgram", messages)
    assert.equal(21, #events)
    assert.equal("lost", events[21].type)
  end)
end)

describe("words out of characters", function()
  local words = require("providers.words")

  it("are whole over pieces, with the times of their first and last character", function()
    local out = {}
    local w = words.new(function(list)
      for _, word in ipairs(list) do out[#out + 1] = { word.text, word.start_ms, word.end_ms } end
    end)
    w:add({ "H", "i", " ", "y" }, { 0, 50, 100, 150 }, { 50, 50, 50, 50 }, 0)
    assert.same({ { "Hi", 0, 100 } }, out)
    w:add({ "o", "u", ".", "  " }, { 0, 40, 80, 120 }, { 40, 40, 40, 40 }, 200)
    w:add({}, {}, nil, 400)
    w:add({ "न", "ा" }, { 10, 60 }, nil, 400)
    w:finish()
    w:finish()
    assert.same({ { "Hi", 0, 100 }, { "you.", 150, 320 }, { "ना", 410, 460 } }, out)
  end)

  it("stop where their times do", function()
    local out = {}
    local w = words.new(function(list) out[#out + 1] = list[1].text end)
    w:add({ "a", "b", " ", "c" }, { 0, 10 }, {}, 0)
    w:add({ 7, "d" }, { 0, 0 }, {}, 0)
    w:finish()
    assert.same({ "ab" }, out)
  end)
end)
