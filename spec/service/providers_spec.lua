-- Calls through the speech providers with the real worker: audio of a caller in, audio of the bot out,
-- the providers simulated behind real sockets (spec/sim/speech).
-- timeout: 300

local json = require("cjson.safe")
local support = require("support.world")
local dialler = require("support.dialler")
local speech_sim = require("support.speech_sim")

-- Says what it hears, in turn, until told goodbye.
local FLOW = [[
return function(call)
  call:say("Welcome to the line.")
  while true do
    local heard = call:listen({ timeout = 30 })
    if heard.hangup then return end
    if heard.text then
      if heard.text:find("goodbye") then return call:say("Farewell.") end
      call:say("You said " .. heard.text)
    end
  end
end
]]

describe("a call through providers", function()
  local world, dir, sim, worker, socket

  local function bot(stages)
    local config = { system_prompt = "", opening_message = "", flow = "spec", max_silence_seconds = 0,
      stt = { provider = "none" }, tts = { provider = "none" } }
    for name, value in pairs(stages) do config[name] = value end
    world:write(dir .. "/bots/spec.json", json.encode(config))
  end

  local function call()
    return assert(dialler.connect(socket, "spec")):begin()
  end

  -- (waits) The caller is not heard: silence, as a telephone sends it.
  local function listen_until(d, what, condition, timeout_ms)
    local deadline = cxb.time.mono() + (timeout_ms or 20000)
    while not condition() do
      assert(cxb.time.mono() < deadline, "waited in vain: " .. what)
      assert(not d.closed, "the call is over: " .. what)
      d:speak(("\0"):rep(3200))
    end
  end

  local function said(text)
    for _, sentence in ipairs(sim:log().said) do
      if sentence.text == text then return sentence end
    end
  end

  -- (waits) Until the bot has said a sentence and it was heard.
  local function hears(d, text)
    local sentence
    listen_until(d, text, function()
      sentence = said(text)
      return sentence and (speech_sim.tones(d:heard())[sentence.hz] or 0) >= sentence.ms * 0.9
    end)
    return sentence
  end

  -- (waits) The result of the n-th call.
  local function result()
    local path
    support.wait_until("the result", function()
      for _, year in ipairs(cxb.fs.list(dir .. "/state/results") or {}) do
        for _, month in ipairs(cxb.fs.list(dir .. "/state/results/" .. year)) do
          for _, day in ipairs(cxb.fs.list(dir .. "/state/results/" .. year .. "/" .. month)) do
            local folder = table.concat({ dir, "state/results", year, month, day }, "/")
            for _, name in ipairs(cxb.fs.list(folder)) do
              if name:match("%.json$") then path = folder .. "/" .. name end
            end
          end
        end
      end
      return path
    end, 20000)
    return json.decode(world:read(path))
  end

  local function texts(r, role)
    local out = {}
    for _, entry in ipairs(r.transcript) do
      if entry.role == role then out[#out + 1] = entry.text end
    end
    return out
  end

  before_each(function()
    world = support.new()
    dir = world:folder()
    sim = speech_sim.start(world, { "--stt-ms", "100", "--tts-ms", "50" })
    world:write(dir .. "/flows/spec.lua", FLOW)
    socket = dir .. "/core-1.sock"
    worker = world:service("core.lua", {
      CXBCORE_SECRET = ("k"):rep(40), CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
      CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = "1",
      CXB_FLOWS_DIR = dir .. "/flows", CXB_BOTS_DIR = dir .. "/bots", PATH = os.getenv("PATH"),
      CXB_LOG_LEVEL = "debug",
    }, socket)
  end)

  after_each(function()
    local violations = sim:log().violations
    local output = worker:output()
    world:close()
    assert.same({}, violations)
    assert.is_nil(output:find("secret", 1, true)) -- the providers' key
  end)

  it("hears with Deepgram and speaks with ElevenLabs, and both are in recording and result", function()
    sim:script({ say = { "when do you open", "thank you goodbye" } })
    bot({ stt = sim:stage("deepgram"), tts = sim:stage("elevenlabs") })
    local d = call()
    hears(d, "Welcome to the line.")
    d:speak(dialler.tone(1500))
    hears(d, "You said when do you open")
    d:speak(dialler.tone(1500))
    listen_until(d, "the end", function() return said("Farewell.") and d.count["reverse-hangup-call"] end)
    assert.is_true(d:wait_closed())
    local r = result()
    assert.equal("bot", r.disconnected_by)
    assert.same({ "when do you open", "thank you goodbye" }, texts(r, "customer"))
    assert.same({ "Welcome to the line.", "You said when do you open", "Farewell." }, texts(r, "bot"))
    assert.equal("deepgram", r.pipeline_config.stt.provider)
    local pcm = d:heard()
    for _, sentence in ipairs(sim:log().said) do
      -- what the provider sent is what the caller got, to the byte
      assert.is_truthy(pcm:find(speech_sim.tone(sentence.hz, sentence.ms, 8000), 1, true), sentence.text)
    end
    local wav = world:read(dir .. "/state/" .. r.recording_key)
    assert.is_true(#wav > 44 + #pcm * 2 * 0.9)
  end)
end)
