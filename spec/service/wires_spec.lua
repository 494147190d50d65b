-- waits: 115
-- timeout: 600
-- Every wire of the call worker: one real worker, an independent client (spec/sim/wscall.py), real
-- flows. The caller's tone must be in the recording, the bot's in the client's ear.

local json = require("cjson.safe")
local audio = require("cxbctl.audio")
local caller = require("cxbctl.caller")
local World = require("support.world")

local PYTHON = "/usr/bin/python3"
local CALLER_HZ, BOT_HZ = 500, 350

-- Speaks a tone for 20 s and lets keys interrupt it; ends with the caller.
local TALK = ([[
return function(call)
  local leg, pcm = call.leg, {}
  for i = 0, 7999 do
    local v = math.floor(8000 * math.sin(2 * math.pi * %d * i / 8000)) %% 65536
    pcm[#pcm + 1] = string.char(v %% 256, math.floor(v / 256))
  end
  pcm = table.concat(pcm)
  leg:barge({ dtmf = true })
  local short = leg:say_begin(8000)
  leg:say_push(short, pcm:sub(1, 640))
  leg:say_end(short)
  local utterance = leg:say_begin(8000)
  for _ = 1, 20 do leg:say_push(utterance, pcm) end
  repeat
    local event = call:next()
    if event.type == "cleared" then call:event("cut", { by = event.by, ms = event.heard_ms }) end
    if event.type == "played" then
      call:event("heard", { utterance = event.utterance, ms = event.heard_ms })
    end
  until event.type == "hangup"
end
]]):format(BOT_HZ)

local GIVE = [[
return function(call)
  local t = call:transfer(nil, "asked")
  call:event("outcome", { ok = t.ok, reason = t.reason })
  return call:hangup()
end
]]

-- path and arguments of the client; what the wire is able to.
local wires = {
  { name = "exotel", marks = true, clears = true, said = "callended" },
  { name = "exotel", rate = 16000, marks = true, clears = true, said = "callended" },
  { name = "twilio", marks = true, clears = true },
  { name = "telnyx", marks = true, clears = true, args = { "--swap" } },
  { name = "telnyx", rate = 24000, marks = true, clears = true, args = { "--codec", "L16" } },
  { name = "plivo", marks = true, clears = true },
  { name = "plivo", rate = 16000, marks = true, clears = true, args = { "--codec", "audio/x-l16" } },
  { name = "vonage", rate = 16000, marks = true, clears = true },
  { name = "asterisk", marks = true, clears = true, label = "asterisk in JSON",
    query = "?caller=%2B919876543210" },
  { name = "asterisk", rate = 48000, marks = true, clears = true, label = "asterisk in plain words",
    query = "?caller=%2B919876543210", args = { "--form", "plain", "--codec", "slin48" } },
  { name = "audiosocket", caller_id = false },
  { name = "audiosocket", rate = 44100, caller_id = false },
  { name = "audiofork", marks = true, clears = true },
  { name = "audiofork", rate = 16000, marks = true, clears = true, query = "?play=json",
    label = "audiofork with playAudio, stereo", args = { "--stereo" } },
}

-- Of a caller who hears the echo out before he presses the key that ends it.
local ECHO = { "--dtmf", "#", "--wait-end", "40", "--gap", "1", "--patience", "30" }

local world, dir, worker, socket, tcp

local function bot(flow)
  return json.encode({ flow = flow, stt = { provider = "none" }, tts = { provider = "none" },
    max_silence_seconds = 0, transfer_targets = { { id = "desk", is_default = true,
      method = "websocket_reverse_transfer", type = "phone_number", value = "+15559876" } } })
end

-- A WAV file of the caller's tone, 1.5 s.
local function tone(rate)
  local path = ("%s/tone-%d.wav"):format(dir, rate)
  local pcm, n = {}, rate * 3 / 2
  for i = 0, n - 1 do
    local v = math.floor(8000 * math.sin(2 * math.pi * CALLER_HZ * i / rate)) % 65536
    pcm[#pcm + 1] = string.char(v % 256, math.floor(v / 256))
  end
  local function le(value, bytes)
    local out = {}
    for _ = 1, bytes do
      out[#out + 1] = string.char(value % 256)
      value = math.floor(value / 256)
    end
    return table.concat(out)
  end
  return world:write(path, "RIFF" .. le(36 + n * 2, 4) .. "WAVEfmt " .. le(16, 4) .. le(1, 2)
    .. le(1, 2) .. le(rate, 4) .. le(rate * 2, 4) .. le(2, 2) .. le(16, 2) .. "data"
    .. le(n * 2, 4) .. table.concat(pcm))
end

-- (waits) The slot is free when the call's result is on disk.
local function idle()
  World.wait_until("a free slot", function()
    return World.get_json("http+unix:" .. socket .. ":/health").worker_calls == 0
  end)
end

-- The client's report.
local function call(wire, name, args)
  idle()
  local list = { PYTHON, cxb.root .. "/spec/sim/wscall.py", "--transport", wire.name, "--path",
    ("/%s/%s%s"):format(wire.path or wire.name, name, wire.query or ""), "--json", "--rate",
    tostring(wire.rate or 8000), "--gap", "0.2", "--first-wait", "0.2", "--patience", "0.3",
    "--max-s", "60" }
  local where = { "--unix", socket }
  if wire.name == "audiosocket" then -- one bot answers all its calls
    world:write(dir .. "/bots/phone.json", bot(name))
    where = { "--tcp", tcp }
  end
  for _, more in ipairs({ where, wire.args or {}, args }) do
    for _, arg in ipairs(more) do list[#list + 1] = arg end
  end
  local client = world:start(list)
  assert(client:wait(100000), "the client did not end")
  local report = assert(json.decode(client.log[#client.log] or ""), client:output())
  assert.is_true(report.ok)
  for _, e in ipairs(report.events) do -- what the client found wrong with the worker's messages
    assert.is_nil(tostring(e.event):match("^wrong_") or tostring(e.event):match("^bad_"))
  end
  return report
end

-- (waits) The stored result of a stream.
local function result(stream_id)
  local path = dir .. "/state/results"
  return World.wait_until("the result of " .. stream_id, function()
    local folder = path
    for _ = 1, 3 do
      local names = cxb.fs.list(folder)
      if not names then return nil end
      table.sort(names)
      folder = folder .. "/" .. tostring(names[#names])
    end
    for _, name in ipairs(cxb.fs.list(folder) or {}) do
      local whole = name:find("%.json$") -- else it is still being written
      local r = whole and json.decode(world:read(folder .. "/" .. name))
      if r and r.stream_id == stream_id then return r end
    end
  end)
end

local function event(r, kind)
  for _, e in ipairs(r.events) do
    if e.type == kind then return e end
  end
end

-- Hz and seconds of the caller's sound in a recording, by its loud pieces of 20 ms: what was late
-- may be missing from it.
local function recorded_hz(r)
  local path = dir .. "/state/" .. r.recording_key
  local wav = World.wait_until("the recording", function()
    return cxb.fs.stat(path) and world:read(path)
  end)
  local rate = wav:byte(25) + wav:byte(26) * 256 + wav:byte(27) * 65536
  local crossings, seconds, last, step = 0, 0, 0, rate / 50 * 4
  for from = 45, #wav - step + 1, step do
    local turns, sum = 0, 0
    for at = from, from + step - 4, 4 do
      local v = wav:byte(at) + wav:byte(at + 1) * 256
      v = v >= 32768 and v - 65536 or v
      turns, last, sum = turns + (last * v < 0 and 1 or 0), v ~= 0 and v or last, sum + math.abs(v)
    end
    if sum / (step / 4) > 4000 then -- of 5093
      crossings, seconds = crossings + turns, seconds + 0.02
    end
  end
  return crossings / 2 / seconds, seconds
end

setup(function()
  world = World.new()
  dir = world:folder()
  socket = dir .. "/core-1.sock"
  world:write(dir .. "/flows/talk.lua", TALK)
  world:write(dir .. "/flows/give.lua", GIVE)
  world:write(dir .. "/flows/echo.lua", world:read(cxb.root .. "/lua/flows/echo.lua"))
  for _, flow in ipairs({ "talk", "echo", "give" }) do
    world:write(("%s/bots/%s.json"):format(dir, flow), bot(flow))
  end
  tcp = "127.0.0.1:" .. world:port()
  worker = world:service("core.lua", {
    CXB_AUDIOSOCKET_LISTEN = "tcp:" .. tcp, CXB_AUDIOSOCKET_BOT = "phone",
    CXB_DEV = "1", CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state", CXBCORE_WORKERS = "2",
    CXB_LISTEN = "unix:" .. socket, CXB_BOTS_DIR = dir .. "/bots", CXB_FLOWS_DIR = dir .. "/flows",
    PATH = os.getenv("PATH"),
  }, socket)
end)

teardown(function()
  world:close()
end)

describe("a call", function()
  for _, wire in ipairs(wires) do
    local label = wire.label or wire.name .. (wire.rate and " at " .. wire.rate or "")

    it("comes back as it was spoken until the bot hangs up at a key, on " .. label, function()
      local report = call(wire, "echo", { "--wav", tone(wire.rate or 8000), unpack(ECHO) })
      assert.equal("bot", report.closed_by)
      local r = result(report.stream_id)
      assert.equal("bot", r.disconnected_by)
      local hz, seconds = recorded_hz(r)
      assert.is_true(seconds > 0.4, "the caller's sound is short: " .. seconds)
      assert.near(CALLER_HZ, hz, 25)
      assert.near(CALLER_HZ, report.bot_hz, 25)
      assert.is_nil(worker:output():match('[^\n]*"level":"error"[^\n]*'))
    end)

    it("is cut by a key and ended by the caller, on " .. label, function()
      local report = call(wire, "talk", { "--press", "0.5", "5", "--first-wait", "20",
        wire.clears and "--until-cleared" or nil })
      assert.equal(1000, report.close_code)
      assert.near(BOT_HZ, report.bot_hz, 25)
      assert.equal(wire.clears and 1 or 0, report.clears)
      assert.is_true(report.marks >= (wire.marks and 1 or 0))
      local r = result(report.stream_id)
      assert.equal("customer", r.disconnected_by)
      assert.equal(wire.said, event(r, "call_ended").data.said)
      assert.equal(wire.caller_id == nil and "+919876543210" or nil, r.caller_id)
      local cut = assert(event(r, "cut"))
      assert.equal("dtmf", cut.data.by)
      assert.is_true(cut.data.ms >= 300 and cut.data.ms < 5000)
      assert.equal(40, assert(event(r, "heard")).data.ms)
    end)
  end
end)

describe("a transfer", function()
  local hold = { "--first-wait", "25", "--patience", "25" }

  local function with(...)
    local args = { ... }
    for _, arg in ipairs(hold) do args[#args + 1] = arg end
    return args
  end

  for _, name in ipairs({ "cxb", "audiofork" }) do
    it("gives the caller away, on " .. name, function()
      local report = call({ name = name, path = name == "cxb" and "ws" }, "give", with())
      local r = result(report.stream_id)
      assert.equal("bot", r.disconnected_by)
      assert.is_true(r.was_transferred)
      assert.equal("+15559876", r.transfer_destination)
    end)
  end

  it("that the far end refuses leaves the caller with the bot, on cxb", function()
    local report = call({ name = "cxb", path = "ws" }, "give", with("--transfer", "failed"))
    local r = result(report.stream_id)
    assert.is_false(r.was_transferred)
    assert.equal("as asked", r.transfer_failed_reason)
    assert.is_false(event(r, "outcome").data.ok)
  end)

  for _, name in ipairs({ "exotel", "twilio", "asterisk" }) do
    it("is unsupported without a way to do it, on " .. name, function()
      local report = call({ name = name }, "give", with())
      assert.equal("unsupported", result(report.stream_id).transfer_failed_reason)
    end)
  end
end)

describe("Asterisk's XOFF", function()
  it("stops the audio until XON, and what was to be heard comes then", function()
    local report = call({ name = "asterisk" }, "talk", { "--xoff", "1.0", "--press", "1.5", "5",
      "--first-wait", "20", "--gap", "1.4", "--until-cleared" })
    assert.equal(1, report.clears)
    assert.near(BOT_HZ, report.bot_hz, 25)
    local cut = assert(event(result(report.stream_id), "cut"))
    assert.is_true(cut.data.ms < report.duration_ms - 300, "heard while it was held")
  end)
end)

describe("a hang-up of the bot", function()
  for _, wire in ipairs({ { name = "cxb", path = "ws" }, { name = "asterisk" } }) do
    it("that the far end does not confirm is carried through by force, on " .. wire.name, function()
      local report = call(wire, "echo", { "--dtmf", "#", "--no-goodbye", "--wait-end", "25" })
      assert.equal("bot", report.closed_by)
      assert.equal(1000, report.close_code)
      local asked = report.events[#report.events]
      assert.is_true(asked.event == "reverse-hangup-call" or asked.event == "HANGUP")
      local key = report.turns[#report.turns].began_ms -- by the client's clock, before it was asked
      assert.is_true(report.duration_ms - key >= 1800)
      assert.equal("bot", result(report.stream_id).disconnected_by)
    end)
  end
end)

describe("a busy worker", function()
  it("says goodbye on AudioSocket, and takes the next call", function()
    idle()
    local first = world:start({ PYTHON, cxb.root .. "/spec/sim/wscall.py", "--transport", "twilio",
      "--unix", socket, "--path", "/twilio/echo", "--mute", "--first-wait", "100" })
    World.wait_until("a call", function()
      return World.get_json("http+unix:" .. socket .. ":/health").worker_calls == 1
    end)
    local second = world:start({ PYTHON, cxb.root .. "/spec/sim/wscall.py", "--transport",
      "audiosocket", "--tcp", tcp, "--json", "--first-wait", "20" })
    assert(second:wait(60000))
    local report = json.decode(second.log[#second.log])
    assert.equal("bot", report.closed_by)
    assert.equal("hangup", report.events[1].event)
    assert.equal(0, report.bot_ms)
    first:stop()
    call({ name = "audiosocket" }, "echo", { "--dtmf", "#", "--wait-end", "20" })
  end)
end)

describe("cxbctl call", function()
  for _, transport in ipairs(caller.transports) do
    it("hears its own voice from the echo on " .. transport, function()
      local pcm = assert(audio.read_wav(tone(16000), caller.rate(transport)))
      idle()
      local c = caller.new({ transport = transport, bot = "echo", url = "ws+unix:" .. socket .. ":",
        lines = { { pcm = pcm, name = "tone" }, { digits = "#", name = "#" } },
        patience_ms = 400, quiet_ms = 1000 })
      function c:begin_line() -- the first line waits for nobody, the next for the echo
        self.patience_ms = 30000
        return getmetatable(self).__index.begin_line(self)
      end
      local report = assert(c:run(60000))
      assert.not_equal("caller", report.ended_by)
      local loud, frame = 0, caller.rate(transport) / 50 * 2
      for at = 1, #report.heard - frame, frame do
        if audio.loudness(report.heard:sub(at, at + frame - 1)) > 1000 then loud = loud + 1 end
      end
      assert.is_true(loud >= 20)
    end)
  end
end)

describe("a far end that sends rubbish", function()
  local function rubbish(n)
    local seed, out = n * 7919 + 1, {}
    for i = 1, 40 do
      seed = seed * 16807 % 2147483647
      out[i] = string.char(seed % 94 + 32)
    end
    return table.concat(out)
  end

  it("costs no slot, whatever the wire and however it goes", function()
    for n, transport in ipairs(caller.transports) do
      local wire = require("cxbctl.wires." .. transport)
      for _, handshake in ipairs({ false, true }) do
        idle()
        local it = { bot = "echo", from = "+1", to = "+2", direction = "incoming",
          stream_id = "rubbish-" .. n }
        local ws = assert(cxb.ws.connect("ws+unix:" .. socket .. ":" .. wire.path(it),
          { protocol = wire.protocol }))
        if handshake then wire.open(ws, it) end
        for i = 1, 20 do
          ws:send(rubbish(i))
          ws:send_binary(rubbish(i):sub(1, i))
          ws:send('{"event":"' .. rubbish(i):gsub('[\\"]', "") .. '","type":' .. i .. "}")
        end
        ws:close(1000 + 2000 * (n % 2))
      end
    end
    call(wires[1], "echo", { "--dtmf", "#", "--wait-end", "20" })
  end)
end)

describe("after all these calls the worker", function()
  it("holds no call and no journal, and ends in order", function()
    idle()
    for _, name in ipairs(cxb.fs.list(dir .. "/state/journal")) do
      assert.is_nil(name:match("%.jnl$"))
    end
    assert.equal(0, worker:stop(15000))
    assert.is_nil(worker:output():match("Sanitizer[^\n]*"))
  end)
end)
