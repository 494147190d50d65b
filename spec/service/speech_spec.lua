-- timeout: 300
-- The speech service with the real binary: recorded people in, texts out; texts in, speech out; and
-- what it answers to bad input. Messages and limits as docs/speech.md says.
local json = require("cjson.safe")
local Speech = require("support.speech")
local World = require("support.world")

local world, process, base

setup(function()
  world = World.new()
  process, base = Speech.start(world)
end)

teardown(function()
  world:close()
end)

local function open(path)
  return assert(Speech.connect(base, path))
end

local function get(path)
  return cxb.http.request({ url = "http+unix:" .. process.socket .. ":" .. path })
end

local silence = ("\0"):rep(32000) -- 1 s at 16 kHz

describe("speech to text", function()
  it("answers a recorded sentence with speech, silence and its text", function()
    local c = open("/stt?rate=16000")
    assert.same({ type = "ready", rate = 16000, language = "en" }, c:expect("ready"))
    c:feed(silence .. Speech.recording("librivox/sense_and_sensibility_01_austen_64kb-0930.wav")
      .. silence)
    local speech = c:expect("speech")
    assert.is_true(speech.t_ms > 900 and speech.t_ms < 1600)
    assert.is_true(speech.pos_ms > speech.t_ms and speech.pos_ms < speech.t_ms + 300)
    local quiet = c:expect("silence")
    assert.is_true(quiet.t_ms > 3500 and quiet.t_ms < 4600)
    c:send({ type = "finalize", id = 17 })
    local final = c:expect("final")
    assert.equal(17, final.id)
    assert.equal("he might even have been made amiable himself", Speech.plain(final.text))
    assert.is_true(final.confidence > 0.8 and final.confidence <= 1)
    assert.equal(speech.t_ms, final.start_ms)
    assert.is_true(final.compute_ms > 0)
    c:close()
  end)

  it("gives an id back as it was sent and an empty text when nothing was said", function()
    local c = open("/stt")
    c:feed(silence)
    c:send({ type = "finalize", id = "question-1" })
    local final = c:expect("final")
    assert.equal("question-1", final.id)
    assert.equal("", final.text)
    assert.is_nil(final.start_ms)
    c:close()
  end)

  it("sends partial texts when they are asked for", function()
    local c = open("/stt?partials=1")
    c:feed(Speech.recording("librivox/sense_and_sensibility_01_austen_64kb-0870.wav"))
    assert.matches("^a", Speech.plain(c:expect("partial").text))
    c:feed(silence)
    c:send({ type = "finalize", id = 1 })
    assert.matches("power to do for them", Speech.plain(c:expect("final").text))
    c:close()
  end)

  it("forgets what was said before a reset", function()
    local c = open("/stt")
    c:feed(Speech.recording("cards/005.wav") .. silence)
    c:expect("silence")
    c:send({ type = "reset" })
    c:feed(Speech.recording("cards/001.wav") .. silence)
    c:send({ type = "finalize", id = 1 })
    assert.equal("ten of clubs", Speech.plain(c:expect("final").text))
    c:close()
  end)

  it("hears eight streams at once, each its own", function()
    local files = { "cards/001.wav", "cards/003.wav", "goforward.raw", "something.raw" }
    local texts = { "ten of clubs", "seven of clubs", "go forward ten meters",
      "go somewhere and do something" }
    local tasks = {}
    for i = 1, 8 do
      tasks[i] = cxb.task.spawn("stream", function()
        local c = open("/stt")
        c:feed(Speech.recording(files[(i - 1) % 4 + 1]) .. silence)
        c:send({ type = "finalize", id = i })
        local final = c:expect("final", 120000)
        c:close()
        return final.text
      end)
    end
    for i = 1, 8 do
      assert.equal(texts[(i - 1) % 4 + 1], Speech.plain(tasks[i]:wait(120000)))
    end
  end)
end)

describe("text to speech", function()
  it("speaks with start, audio and done, and is understood", function()
    local c = open("/tts")
    c:send({ type = "speak", id = 5, text = "Good morning. How can I help you today?", rate = 8000 })
    local done = c:expect("done")
    assert.same({ type = "start", id = 5, rate = 8000 }, c.events[1])
    assert.is_true(c:count("audio") > 10)
    local pcm = table.concat(c.audio)
    assert.equal(done.samples * 2, #pcm)
    assert.equal(5, done.id)
    c:close()
    local stt = open("/stt?rate=8000")
    stt:feed(pcm .. silence)
    stt:send({ type = "finalize", id = 1 })
    assert.equal("good morning how can i help you today", Speech.plain(stt:expect("final").text))
    stt:close()
  end)

  it("speaks queued texts in their order", function()
    local c = open("/tts")
    for i = 1, 3 do c:send({ type = "speak", id = "t" .. i, text = "Number " .. i }) end
    for i = 1, 3 do assert.equal("t" .. i, c:expect("done").id) end
    c:close()
  end)

  it("cancels what it speaks: none of its audio follows the answer", function()
    local c = open("/tts")
    local long = ("This is a sentence that nobody wants to hear. "):rep(80)
    c:send({ type = "speak", id = 1, text = long })
    c:send({ type = "speak", id = 2, text = "Never said." })
    c:send({ type = "speak", id = 3, text = "Hello." })
    c:expect("start")
    c:send({ type = "cancel", id = 2 })
    c:send({ type = "cancel", id = 1 })
    local gone = { [c:expect("done").id] = true, [c:expect("done").id] = true }
    assert.same({ true, true }, gone)
    c.audio = {}
    assert.equal(3, c:expect("start").id)
    assert.same({}, c.audio)
    local done = c:expect("done")
    assert.is_nil(done.cancelled)
    assert.equal(done.samples * 2, #table.concat(c.audio))
    c:close()
  end)

  it("has nothing to send for a text without words", function()
    local c = open("/tts")
    c:send({ type = "speak", id = 1, text = "…" })
    assert.equal(0, c:expect("done").samples)
    assert.equal(1, #c.events)
    c:close()
  end)

  it("uses the voice and the speed asked for", function()
    local c = open("/tts")
    local samples = {}
    for i, request in ipairs({ { voice = "slt" }, { voice = "rms" }, { speed = 2 } }) do
      request.type, request.id, request.text = "speak", i, "How can I help you today?"
      c:send(request)
      samples[i] = c:expect("done").samples
    end
    assert.are_not.equal(samples[1], samples[2])
    assert.is_true(samples[3] < samples[1] * 0.7)
    c:close()
  end)
end)

describe("bad input", function()
  it("is refused before the upgrade when the query is wrong", function()
    for query, field in pairs({ ["rate=7000"] = "rate", ["rate=x"] = "rate",
      ["start_ms=5"] = "start_ms", ["stop_ms=9000"] = "stop_ms", ["language=hi"] = "language" }) do
      local conn, code, message = cxb.ws.connect(base .. "/stt?" .. query)
      assert.is_nil(conn)
      assert.matches("400", tostring(code) .. tostring(message), nil, true)
      assert.is_string(field)
    end
    assert.equal(426, get("/stt").status)
    assert.equal(404, get("/nowhere").status)
  end)

  it("gets an error and the connection goes on", function()
    local c = open("/stt")
    local cases = {
      { "{", "bad_json" }, { "[1]", "bad_json" }, { '{"type":"dance"}', "unknown_type" },
      { '{"type":"finalize"}', "invalid" }, { '{"type":"finalize","id":{}}', "invalid" },
      { '{"type":"hints","words":[1]}', "invalid" }, { '{"type":"hints"}', "invalid" },
    }
    for _, case in ipairs(cases) do
      c:send(case[1])
      local answer = c:expect("error")
      assert.equal(case[2], answer.code, case[1])
      assert.is_string(answer.message)
    end
    c.conn:send_binary("odd")
    assert.equal("odd_length", c:expect("error").code)
    c:feed(Speech.recording("cards/001.wav") .. silence)
    c:send({ type = "finalize", id = 1 })
    assert.equal("ten of clubs", Speech.plain(c:expect("final").text))
    c:close()
  end)

  it("of texts to speak is named", function()
    local c = open("/tts")
    local cases = {
      { { type = "speak", text = "x" }, "invalid" },
      { { type = "speak", id = 1 }, "invalid" },
      { { type = "speak", id = 1, text = ("x"):rep(4001) }, "invalid" },
      { { type = "speak", id = 1, text = "x", rate = 8000.5 }, "invalid" },
      { { type = "speak", id = 1, text = "x", speed = 9 }, "invalid" },
      { { type = "speak", id = 1, text = "x", voice = "nobody" }, "unknown_voice" },
      { { type = "speak", id = 1, text = "x", voice = 5 }, "unknown_voice" },
      { { type = "cancel" }, "invalid" },
    }
    for i, case in ipairs(cases) do
      c:send(case[1])
      assert.equal(case[2], c:expect("error").code, "case " .. i)
    end
    c.conn:send_binary("no audio wanted")
    assert.equal("unexpected", c:expect("error").code)
    c:send({ type = "speak", id = 9, text = "Hello." })
    assert.equal(9, c:expect("done").id)
    c:close()
  end)

  it("without end closes the connection that sends it, and no other", function()
    local other = open("/stt")
    local c = open("/tts")
    for _ = 1, 100 do c:send("x") end
    local kind, why, code
    repeat kind, why, code = c.conn:receive(60000) until not kind
    assert.equal("closed", why)
    assert.equal(1008, code)
    other:feed(Speech.recording("cards/003.wav") .. silence)
    other:send({ type = "finalize", id = 1 })
    assert.equal("seven of clubs", Speech.plain(other:expect("final").text))
    other:close()
  end)

  it("a message above the limit closes with 1009", function()
    local c = open("/stt")
    c.conn:send_binary(("\0"):rep(262146))
    local kind, _, code
    repeat kind, _, code = c.conn:receive(60000) until not kind
    assert.equal(1009, code)
  end)
end)

describe("the process", function()
  it("tells its voices, streams and memory", function()
    local c = open("/stt")
    c:expect("ready")
    local health = Speech.wait_until("this stream alone", function() -- earlier ones may still close
      local it = json.decode(get("/health").body)
      return it.stt_streams == 1 and it
    end)
    assert.equal("ok", health.status)
    assert.same({ "en" }, health.languages)
    assert.equal("slt", health.voices[1])
    c:close()
    Speech.wait_until("the stream is counted out", function()
      return json.decode(get("/health").body).stt_streams == 0
    end)
    assert.matches("cxb_speech_final_seconds_count", get("/metrics").body, nil, true)
  end)

  it("refuses streams above its limit and takes them again", function()
    local _, few = Speech.start(world, { CXB_SPEECH_STREAMS = "1" })
    local first = assert(Speech.connect(few, "/stt"))
    local second, code, message = Speech.connect(few, "/stt")
    assert.is_nil(second)
    assert.matches("503", tostring(code) .. tostring(message), nil, true)
    first:close()
    Speech.wait_until("the stream is free", function()
      second = Speech.connect(few, "/stt")
      return second
    end)
    second:close()
  end)

  it("survives clients that vanish in the middle of audio and of speech", function()
    for _ = 1, 5 do
      local stt, tts = open("/stt?partials=1"), open("/tts")
      stt:feed(Speech.recording("librivox/sense_and_sensibility_01_austen_64kb-0920.wav"))
      stt:send({ type = "finalize", id = 1 })
      tts:send({ type = "speak", id = 1, text = ("All of this is in vain. "):rep(60) })
      tts:expect("start")
      stt:close()
      tts:close()
    end
    local c = open("/tts")
    c:send({ type = "speak", id = 1, text = "Still here." })
    assert.equal(1, c:expect("done").id)
    c:close()
    assert.is_nil(process.ended)
  end)

  it("serves a stream to its end that began before a reload", function()
    local c = open("/stt")
    c:expect("ready")
    cxb.process.kill(process.pid, "HUP")
    Speech.wait_until("the second generation", function()
      return json.decode(get("/health").body).generation == 2
    end)
    c:feed(Speech.recording("cards/001.wav") .. silence)
    c:send({ type = "finalize", id = 1 })
    assert.equal("ten of clubs", Speech.plain(c:expect("final").text))
    c:close()
  end)

  it("refuses to start without its models and says what is missing", function()
    local dir = world:folder()
    local env = { CXB_RUN_DIR = dir, CXB_SPEECH_URL = "unix:" .. dir .. "/speech.sock",
      CXB_SPEECH_MODELS = dir }
    local p = world:start({ World.program, "speech.lua" }, env)
    assert.equal(1, p:wait(60000))
    assert.matches(dir .. "/libonnxruntime.so", p:output(), nil, true)
  end)

  it("stops at a TERM with exit code 0", function()
    local mine = Speech.start(world)
    assert.equal(0, mine:stop(60000))
  end)
end)
