-- alone: 12
-- Calls through the speech providers with the real worker: audio of a caller in, audio of the bot
-- out, the providers simulated behind real sockets (spec/sim/speech). The calls are all made at
-- once, each with a simulator of its own; the specs then look at how they went.

local json = require("cjson.safe")
local support = require("support.world")
local dialler = require("support.dialler")
local speech_sim = require("support.speech_sim")

-- Says what it hears, in turn, until told goodbye.
local FLOW = [[
return function(call)
  call:say("Welcome to the line.")
  while true do
    local heard = call:listen({ timeout = 60 })
    if heard.hangup then return end
    if heard.dtmf then
      call:say("Key.")
    elseif heard.text then
      if heard.text:find("goodbye") then return call:say("Farewell.") end
      call:say("You said " .. heard.text)
    end
  end
end
]]

local EARS = { "deepgram", "deepgram_flux", "soniox" }
local SAY = { "when do you open", "thank you goodbye" }

local world, dir, worker, socket, runs

-- One call: its simulator, what the caller does and hears.
local run = {}
run.__index = run

function run:bot(stages)
  local config = { system_prompt = "", opening_message = "", flow = "spec", session_id = self.name,
    max_silence_seconds = 0, min_words_interruption = 50, stt = { provider = "none" },
    tts = { provider = "none" } }
  for name, value in pairs(stages) do config[name] = value end
  world:write(("%s/bots/%s.json"):format(dir, self.name), json.encode(config))
end

function run:call()
  self.d = assert(dialler.connect(socket, self.name))
  self.ear = speech_sim.ear(self.d)
  return self.d
end

-- (waits) The caller says nothing, as a telephone does, until something is so.
function run:quiet_until(what, condition, timeout_ms)
  local deadline = cxb.time.mono() + (timeout_ms or 30000)
  while not condition() do
    if cxb.time.mono() >= deadline then error(self.name .. " waited in vain: " .. what, 0) end
    if self.d.closed then error(self.name .. ": the call is over: " .. what, 0) end
    self.d:speak(("\0"):rep(3200))
  end
end

-- The n-th time the bot was to say this.
function run:said(text, n)
  local seen = 0
  for _, sentence in ipairs(self.sim:log().said) do
    seen = seen + (sentence.text == text and 1 or 0)
    if seen == (n or 1) then return sentence end
  end
end

-- (waits) Until the bot has said a sentence and the caller has heard it.
function run:hears(text, n)
  local sentence
  self:quiet_until(text, function()
    sentence = self:said(text, n)
    return sentence and self.ear.ms(sentence.hz) >= sentence.ms * 0.9
  end)
  return sentence
end

-- (waits) The caller hears the bot out and hangs up: the result.
function run:hangs_up()
  local audio = -1
  self:quiet_until("silence", function()
    local before = audio
    audio = self.ear.all()
    return audio == before
  end)
  self.d:hangup()
  return self:result()
end

-- (waits) The caller speaks for a while, as if to say the simulator's next text.
function run:speaks(ms)
  self.d:speak(dialler.tone(ms or 1500))
end

-- (waits) The call that ends with the flow's farewell: its result.
function run:farewell()
  self:quiet_until("the end", function() return self.d.count["reverse-hangup-call"] end)
  return self:result()
end

function run:result()
  assert(self.d:wait_closed(), self.name .. " was not closed")
  return support.wait_until("the result of " .. self.name, function()
    local p = cxb.process.spawn({ capture = true,
      args = { "find", dir .. "/state", "-path", "*/results/*", "-name", self.name .. ".json" } })
    local path = p:line()
    p:wait()
    return path and path:match("%.json$") and json.decode(world:read(path))
  end)
end

local function texts(r, role)
  local out = {}
  for _, entry in ipairs(r.transcript) do
    if entry.role == role then out[#out + 1] = entry.text end
  end
  return out
end

local function events(r, kind)
  local out = {}
  for _, event in ipairs(r.events) do
    if event.type == kind then out[#out + 1] = event.data end
  end
  return out
end

-- Which calls there are ----------------------------------------------------------------------------

local calls = {}

-- A conversation from welcome to farewell.
local function conversation(stt, tts)
  return function(self)
    self.sim:script({ say = SAY })
    self:bot({ stt = self.sim:stage(unpack(stt)), tts = self.sim:stage(unpack(tts)) })
    self:call():begin()
    self:hears("Welcome to the line.")
    self:speaks()
    self:hears("You said when do you open")
    self:speaks()
    return self:farewell()
  end
end

calls.deepgram_elevenlabs = conversation({ "deepgram" }, { "elevenlabs" })
calls.flux_openai = conversation({ "deepgram_flux", { extra = { eager_eot_threshold = 0.4 } } }, { "openai" })
calls.soniox_sarvam = conversation({ "soniox" }, { "sarvam" })
calls.soniox_forced = conversation({ "soniox", { extra = { vad_force_turn_endpoint = true } } },
  { "elevenlabs" })

-- The recogniser is killed while the caller speaks, who does not stop for that.
for _, provider in ipairs(EARS) do
  calls["killed_" .. provider] = function(self)
    self.sim:script({ say = { "lost", unpack(SAY) } })
    self:bot({ stt = self.sim:stage(provider), tts = self.sim:stage("elevenlabs") })
    self:call():begin()
    self:hears("Welcome to the line.")
    self:speaks(900)
    self.killed = self.sim:cut(provider).at_ms
    self:speaks(900)
    self:hears("You said when do you open")
    self.answered = self:said("You said when do you open").asked_ms
    self:speaks()
    return self:farewell()
  end
end

function calls.voice_killed(self)
  self.sim:script({ say = SAY })
  self:bot({ stt = self.sim:stage("deepgram"), tts = self.sim:stage("elevenlabs") })
  self:call():begin()
  self:hears("Welcome to the line.")
  self.sim:script({ faults = { { provider = "elevenlabs", ["do"] = "cut", after_ms = 5 } } })
  self.sim:cut("elevenlabs") -- what was opened ahead
  self:speaks()
  self:hears("You said when do you open", 2)
  self:speaks()
  return self:farewell()
end

function calls.taken_over(self)
  self.sim:script({ say = SAY })
  self.sim:refuse("deepgram", 503)
  self.sim:refuse("elevenlabs", 503)
  self:bot({
    stt = self.sim:stage("deepgram", { fallback = { self.sim:stage("soniox") } }),
    tts = self.sim:stage("elevenlabs", { fallback = { self.sim:stage("sarvam") } }),
  })
  self:call():begin()
  self:hears("Welcome to the line.")
  self:speaks()
  self:hears("You said when do you open")
  self:speaks()
  return self:farewell()
end

function calls.wrong_keys(self)
  self:bot({ stt = self.sim:stage("deepgram", { api_key = "wrong-key" }),
    tts = self.sim:stage("openai", { api_key = "wrong-key" }) })
  self:call():begin()
  return self:result()
end

function calls.cut_by_key(self)
  self.sim:script({ word_ms = 1000 })
  self:bot({ stt = self.sim:stage("deepgram"), tts = self.sim:stage("elevenlabs") })
  self:call():begin()
  local long
  self:quiet_until("its first words", function()
    long = self:said("Welcome to the line.")
    return long and self.ear.ms(long.hz) >= 900
  end)
  self.d:send({ event = "dtmf", digit = "5" })
  local short = self:hears("Key.")
  self.long_ms, self.short_ms = self.ear.ms(long.hz), self.ear.ms(short.hz)
  self.stopped = self.d.count["reverse-media-stop"]
  return self:hangs_up()
end

function calls.ringing(self)
  self:bot({ flow = "assistant", opening_message = "Good morning, this is the line.",
    llm = { provider = "rules", model = "none", extra = { rules = { rules = {} } } },
    stt = self.sim:stage("deepgram"), tts = self.sim:stage("elevenlabs") })
  local d = self:call()
  d:send({ event = "connected", callerId = "+919876543210", did = "+911234567890",
    callDirection = "outgoing", streamId = d.stream_id })
  d:send({ event = "start", streamId = d.stream_id })
  support.wait_until("providers while the phone rings", function()
    local said = self:said("Good morning, this is the line.")
    return said and said.sent_ms >= said.ms and #self.sim:connections("deepgram") == 1
  end)
  self.heard_ringing = #d.audio
  d:send({ event = "answer" })
  self:hears("Good morning, this is the line.")
  local r = self:hangs_up()
  self.said_times = #self.sim:log().said
  return r
end

-- (waits) A language model's server that knows three answers: its process and address.
local function model_server()
  local port = world:port()
  local p = world:start({ "/usr/bin/python3", cxb.root .. "/spec/sim/llm_sim.py", "--port",
    tostring(port), "--ttft-ms", "50", "--token-ms", "5" })
  local rules = json.encode({ rules = { { match = "first", text = "Answer number one." },
    { match = "second", text = "Answer number two." },
    { match = "third", text = "Answer number three." } } })
  support.wait_until("the model's server", function()
    local answer = cxb.http.request({ method = "POST", body = rules,
      url = ("http://127.0.0.1:%d/_script"):format(port),
      headers = { ["content-type"] = "application/json" } })
    return answer and answer.status == 200
  end)
  return p, ("http://127.0.0.1:%d/v1"):format(port)
end

-- Recogniser, voice and language model are killed in turn; each time the caller asks on.
function calls.killed_in_turn(self)
  local first, first_url = model_server()
  local _, next_url = model_server()
  self.sim:script({ say = { "gone", "my first question", "my second question", "my third question" } })
  self:bot({ flow = "assistant", opening_message = "Welcome.", re_engagement = json.null,
    stt = self.sim:stage("deepgram"), tts = self.sim:stage("elevenlabs"),
    llm = { provider = "openai", model = "m", base_url = first_url,
      fallback = { { provider = "openai", model = "m", base_url = next_url } } } })
  self:call():begin()
  self:hears("Welcome.")
  self.again = {}
  local function answered(number, since, n)
    local text = ("Answer number %s."):format(number)
    self:hears(text, n)
    self.again[#self.again + 1] = self:said(text, n).asked_ms - since
  end

  self:speaks(900)
  local at = self.sim:cut("deepgram").at_ms
  self:speaks(900)
  answered("one", at)

  self.sim:script({ faults = { { provider = "elevenlabs", ["do"] = "cut", after_ms = 5 } } })
  self.sim:cut("elevenlabs")
  self:speaks()
  self:hears("Answer number two.", 2)
  self.again[2] = self:said("Answer number two.", 2).asked_ms - self:said("Answer number two.").asked_ms

  first:kill("KILL")
  first:wait()
  self:speaks()
  answered("three", cxb.time.mono())
  return self:hangs_up()
end

-- (waits) How a call went.
local function outcome(name)
  local one = runs[name]
  local _, code, trace = one.task:wait(120000)
  if code then error(trace or code, 0) end
  return one.r, one
end

setup(function()
  world, runs = support.new(), {}
  dir = world:folder()
  world:write(dir .. "/flows/spec.lua", FLOW)
  world:write(dir .. "/flows/assistant.lua", world:read(cxb.root .. "/lua/flows/assistant.lua"))
  socket = dir .. "/core-1.sock"
  worker = world:service("core.lua", {
    CXBCORE_SECRET = ("k"):rep(40), CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
    CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = "1", CXB_DEV = "1",
    MAX_CONCURRENT_CALLS = "16", CXB_FLOWS_DIR = dir .. "/flows", CXB_BOTS_DIR = dir .. "/bots",
    PATH = os.getenv("PATH"), CXB_LOG_LEVEL = "debug",
  }, socket)
  for name, fn in pairs(calls) do
    local one = setmetatable({ name = name }, run)
    one.sim = speech_sim.start(world, { "--stt-ms", "100", "--tts-ms", "50", "--key", "provider-key" })
    one.sim.key = "provider-key"
    runs[name] = one
    one.task = cxb.task.spawn(name, function() one.r = fn(one) end)
  end
end)

teardown(function() world:close() end)

describe("a call through providers", function()
  local function went_well(r)
    assert.equal("bot", r.disconnected_by)
    assert.same(SAY, texts(r, "customer"))
    assert.same({ "Welcome to the line.", "You said when do you open", "Farewell." }, texts(r, "bot"))
  end

  it("hears with Deepgram and speaks with ElevenLabs, to the byte, and is recorded", function()
    local r, one = outcome("deepgram_elevenlabs")
    went_well(r)
    assert.same({ "deepgram", "elevenlabs" }, { r.pipeline_config.stt.provider, r.pipeline_config.tts.provider })
    local pcm = one.d:heard()
    for _, sentence in ipairs(one.sim:log().said) do
      local tone = speech_sim.tone(sentence.hz, sentence.ms, 8000)
      assert.is_truthy(pcm:find(tone, 1, true), sentence.text)
    end
    local wav = world:read(dir .. "/state/" .. r.recording_key)
    assert.is_true(#wav > 44 + #pcm * 2 * 0.9)
  end)

  it("hears with Flux, whose turns end when it says so, and speaks with OpenAI at its own rate", function()
    local r, one = outcome("flux_openai")
    went_well(r)
    for _, sentence in ipairs(one.sim:log().said) do
      assert.equal(24000, sentence.rate)
      assert.is_true(one.ear.ms(sentence.hz) >= sentence.ms * 0.9, sentence.text)
    end
  end)

  it("hears with Soniox and speaks with Sarvam, on one connection each", function()
    local r, one = outcome("soniox_sarvam")
    went_well(r)
    assert.same({ 1, 1 }, { #one.sim:connections("soniox"), #one.sim:connections("sarvam") })
  end)

  it("asks Soniox for the rest of a turn when its ends are ours to find", function()
    local r, one = outcome("soniox_forced")
    went_well(r)
    assert.matches("finalize", table.concat(one.sim:connections("soniox")[1].messages))
  end)

  it("goes on when its recogniser is killed while the caller speaks, and loses no turn", function()
    for _, provider in ipairs(EARS) do
      local r, one = outcome("killed_" .. provider)
      went_well(r)
      local connections = one.sim:connections(provider)
      assert.equal(2, #connections)
      local repeated = connections[2].burst_bytes / 16 -- ms of what was said last, and a moment more
      assert.is_true(repeated >= 1500 and repeated <= 2500, repeated .. " ms repeated")
      local after = one.answered - one.killed
      assert.is_true(after < 4000, ("%s: spoke again after %d ms"):format(provider, after))
      assert.equal("closed", events(r, "provider_error")[1].code)
    end
  end)

  it("goes on when its voice is killed in a sentence, which is said again", function()
    local r, one = outcome("voice_killed")
    went_well(r)
    local first, again = one:said("You said when do you open"), one:said("You said when do you open", 2)
    assert.is_true(first.sent_ms < first.ms)
    assert.is_true(again.asked_ms - first.asked_ms < 4000, "spoke again after " .. again.asked_ms - first.asked_ms)
    assert.equal("closed", events(r, "provider_error")[1].code)
  end)

  it("speaks again within 4 s whatever is killed, in turn, and loses no turn", function()
    local r, one = outcome("killed_in_turn")
    assert.same({ "my first question", "my second question", "my third question" }, texts(r, "customer"))
    assert.same({ "Welcome.", "Answer number one.", "Answer number two.", "Answer number three." },
      texts(r, "bot"))
    for i = 1, 3 do -- of the kill, or of the caller's last word
      assert.is_true(one.again[i] < 4000, ("after %d ms: %d"):format(one.again[i], i))
    end
    print(("# speech again after %d (ears), %d (voice), %d ms (mind)"):format(unpack(one.again)))
    local stages = {}
    for _, data in ipairs(events(r, "provider_error")) do stages[data.stage] = true end
    assert.same({ stt = true, tts = true, llm = true }, stages)
  end)

  it("is taken over by the next providers when the first refuse", function()
    local r = outcome("taken_over")
    went_well(r)
    local over = {}
    for _, data in ipairs(events(r, "provider_failover")) do over[data.stage] = data.from .. " " .. data.to end
    assert.same({ stt = "deepgram soniox", tts = "elevenlabs sarvam" }, over)
    for _, data in ipairs(events(r, "provider_error")) do assert.equal("http_503", data.code) end
  end)

  it("says in its result that keys were wrong, and has the keys nowhere in its log", function()
    local r = outcome("wrong_keys")
    assert.same({ "error", "provider" }, { r.disconnected_by, r.error })
    local codes = {}
    for _, data in ipairs(events(r, "provider_error")) do codes[data.stage] = data.code end
    assert.same({ "http_401" }, { codes.tts })
    for name in pairs(calls) do outcome(name) end
    local log = worker:output()
    assert.matches("http_401", log)
    assert.is_nil(log:find("wrong-key", 1, true))
    assert.is_nil(log:find("provider-key", 1, true))
  end)

  it("plays nothing of a sentence that a key has cut, and knows by the words' times what was heard", function()
    local r, one = outcome("cut_by_key")
    local cut, heard = r.transcript[1], ""
    -- each character lasts 200 ms; a word counts as heard from its middle on
    for word, middle in pairs({ ["Welcome"] = 700, ["Welcome to"] = 1800, ["Welcome to the"] = 2500 }) do
      if cut.heard_ms >= middle and #word > #heard then heard = word end
    end
    assert.is_true(#heard > 0)
    assert.equal(heard, cut.text)
    assert.equal("customer", r.disconnected_by)
    assert.is_true((one.stopped or 0) >= 1)
    assert.is_true(one.long_ms < 2500, one.long_ms .. " ms of 4000") -- the key came after 900
    assert.is_true(one.short_ms >= 900)
  end)

  it("has its providers and the opening ready while the phone rings", function()
    local r, one = outcome("ringing")
    assert.equal(0, one.heard_ringing)
    assert.equal(1, one.said_times) -- made once, before the answer
    assert.same({ "Good morning, this is the line." }, texts(r, "bot"))
  end)

  it("meets every provider's protocol", function()
    for name, one in pairs(runs) do
      pcall(outcome, name)
      assert.same({}, one.sim:log().violations, name)
    end
  end)
end)
