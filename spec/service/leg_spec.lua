-- waits: 35
-- cxb.media and the leg object: calls carried by an independent client (spec/sim/wscall.py, Python)
-- over real sockets, on each wire.

local json = require("cjson.safe")
local World = require("support.world")

local PYTHON = "/usr/bin/python3"
local SPEECH = "/usr/share/pocketsphinx/test/data/cards/002.wav"
local paths = { cxb = "/ws/x", twilio = "/twilio/x", browser = "/browser/x" }
local world, socket, worker

-- A service whose calls run `body`, a function of the leg that begins after the answer.
local SERVICE = [[
local wires = { ws = "cxb", twilio = "twilio", browser = "browser" }
local function wait_for(leg, kind)
  while true do
    local event, code = leg:event(20000)
    if not event then cxb.log.info("no event", { code = code }) return nil, code end
    cxb.log.info("event", event)
    if event.type == "stop" then leg:hangup() end
    if event.type == kind then return event end
  end
end
local function tone(ms)
  local out = {}
  for i = 0, 8 * ms - 1 do
    local v = math.floor(6000 * math.sin(i * 0.35)) % 65536
    out[#out + 1] = string.char(v %% 256, math.floor(v / 256))
  end
  return table.concat(out)
end
local body = function(leg) %s end
return {
  name = "legs", listen = { { addr = "unix:%s" } },
  guard = { { prefix = "/ws/", upgrade = true }, { prefix = "/twilio/", upgrade = true },
    { prefix = "/browser/", upgrade = true } },
  http = function(req)
    if not req.upgrade then return req:respond(200, cxb.slot.state()) end
    local leg = assert(cxb.media.accept(req, wires[req.path:match("^/(%%w+)/")], OPTIONS))
    if wait_for(leg, "answer") then body(leg) end
    local closed = wait_for(leg, "closed")
    cxb.log.info("stats", leg:stats() or {})
    cxb.log.info("after", { used = cxb.slot.state().used, code = select(2, leg:event()) })
    leg:close()
    cxb.log.info("done", { code = select(2, leg:hangup()) })
  end,
}
]]

local function serve(body, options)
  local dir = world:folder()
  socket = dir .. "/worker.sock"
  local text = SERVICE:gsub("OPTIONS", options or "nil"):gsub("math%.sin%(i %* 0%.35%)%) %% 65536",
    "math.sin(i * 0.35)) %%%% 65536"):format(body, socket)
  worker = world:service(world:write(dir .. "/legs.lua", text), {}, socket)
end

local function times(msg)
  local n = 0
  for _, line in ipairs(worker.log) do
    n = n + (line:find(('"msg":"%s"'):format(msg), 1, true) and 1 or 0)
  end
  return n
end

---The client's report, once the worker's task is over, too, unless it dies.
local function call(transport, args, dies)
  local calls = times("done")
  local list = { PYTHON, cxb.root .. "/spec/sim/wscall.py", "--transport", transport, "--unix", socket,
    "--path", paths[transport], "--json" }
  for _, arg in ipairs(args or {}) do list[#list + 1] = arg end
  local client = world:start(list)
  assert(client:wait(120000), "the client did not end")
  if not dies then
    World.wait_until("the task's end", function() return times("done") > calls end)
  end
  return assert(json.decode(client.log[#client.log] or ""), client:output())
end

local function events(kind)
  local found = {}
  for _, line in ipairs(worker.log) do
    local record = json.decode(line)
    if type(record) == "table" and record.msg == "event" and record.type == kind then
      found[#found + 1] = record
    end
  end
  return found
end

local function logged(msg)
  return World.wait_until("the log says " .. msg, function() return worker:logged(msg) end)
end

local function used()
  return World.get_json("http+unix:" .. socket .. ":/").used
end

before_each(function()
  world = World.new()
end)

after_each(function()
  world:close()
end)

local ECHO = [[
  local utterance = leg:say_begin(8000)
  leg:tap(leg:say_sink(utterance), 8000, 0)
]]

describe("a leg", function()
  for _, transport in ipairs({ "cxb", "twilio", "browser" }) do
    it("carries a call with an independent client both ways, on " .. transport, function()
      serve(ECHO)
      local report = call(transport, { "--wav", SPEECH, "--first-wait", "1.5", "--patience", "2" })
      assert.is_true(report.ok)
      assert.equal(1000, report.close_code)
      assert.equal(0, report.chunk_gaps)
      -- Whoever is kept waiting is behind at the end, by less than the silence around the words.
      local spoken = report.turns[1]
      local words_ms = spoken.ended_ms - spoken.began_ms
      assert.is_true(report.bot_ms >= words_ms, ("%d ms of %d came back of %d ms"):format(
        report.bot_ms, words_ms, report.sent_ms))
      assert.is_number(report.first_bot_ms)
      assert.equal(1, #events("start"))
      assert.equal(1, #events("stop"))
      local stats = logged("stats")
      -- Who is late for longer than a gap that is filled has silence in the middle of the words.
      local whole = math.max(report.behind_ms, stats.pacing_us_max / 1000) < 200
      assert.is_true(#events("speech") == 1 or not whole and #events("speech") > 1)
      assert.equal(0, stats.drops)
      assert.is_true(stats.frames_in >= report.sent_ms / 20 - 5)
      assert.equal("closed", logged("done").code)
    end)

    it("stops speaking at a key and says how much was heard, on " .. transport, function()
      serve([[
        leg:barge({ dtmf = true })
        local utterance = leg:say_begin(8000)
        leg:say_push(utterance, tone(8000))
        leg:say_end(utterance)
        wait_for(leg, "played")
        leg:hangup()
      ]])
      local report = call(transport, { "--press", "0.1", "5", "--first-wait", "60",
        "--wait-end", "60" })
      assert.equal("bot", report.closed_by)
      local cleared, played = events("cleared")[1], events("played")[1]
      assert.equal("dtmf", cleared.by)
      assert.equal(cleared.heard_ms, played.heard_ms)
      local clear
      for _, event in ipairs(report.events) do
        clear = clear or (event.dropped_ms and event)
      end
      -- Marks of the far end are exact; without them the pacer's clock knows it to the lead, of a
      -- far end that keeps up with it.
      local slack = transport == "browser" and 0 or 300
      if report.behind_ms > 100 then slack = slack + report.behind_ms end
      assert.is_true(math.abs(clear.played_ms - cleared.heard_ms) <= slack,
        ("far end %d ms, told %d ms, far end behind by %d ms"):format(clear.played_ms,
          cleared.heard_ms, report.behind_ms))
      assert.is_true(cleared.heard_ms < 8000)
    end)

    it("ends when the far end vanishes, on " .. transport, function()
      serve(ECHO)
      call(transport, { "--first-wait", "0.2", "--vanish" })
      assert.equal(1006, events("closed")[1].code)
      assert.equal(0, #events("stop"))
      assert.equal(0, used())
    end)
  end

  it("gives the script what the wire said at the start", function()
    serve("leg:hangup()")
    call("cxb", { "--wait-end", "60", "--stream-id", "s-77", "--direction", "outgoing",
      "--extra", '{"campaign":{"id":7}}' })
    local start = events("start")[1]
    assert.equal("s-77", start.stream_id)
    assert.equal("+919876543210", start.caller_id)
    assert.equal("+911234567890", start.did)
    assert.equal("+911234567890", start.from_number)
    assert.equal("outgoing", start.direction)
    assert.same({ campaign = { id = 7 }, callerId = "+919876543210", did = "+911234567890",
      callDirection = "outgoing", streamId = "s-77" }, json.decode(start.connected_event))
  end)

  it("holds the call slot until its task has ended, too", function()
    serve("leg:hangup()")
    assert.equal(0, used())
    call("twilio", { "--wait-end", "60" })
    assert.equal(1, logged("after").used)
    assert.equal("closed", logged("after").code)
    World.wait_until("the slot is free", function() return used() == 0 end)
  end)

  it("learns from the dialler how a transfer ended", function()
    serve([[
      assert(leg.can_transfer)
      leg:transfer({ to = "+9180", type = "sip", reason = "asked" })
      wait_for(leg, "transfer")
      leg:hangup()
    ]])
    local report = call("cxb", { "--wait-end", "60", "--transfer", "failed" })
    local asked
    for _, event in ipairs(report.events) do
      if event.event == "reverse-call-transfer" then asked = event end
    end
    assert.equal("+9180", asked.transferTo)
    assert.is_false(events("transfer")[1].ok)
    assert.equal("as asked", events("transfer")[1].reason)
    call("cxb", { "--wait-end", "60", "--transfer", "ok" })
    assert.is_true(events("transfer")[2].ok)
  end)

  it("takes a transfer that nobody answers for failed while the caller is still heard", function()
    serve([[
      leg:transfer({ to = "+9180", type = "sip" })
      wait_for(leg, "transfer")
      leg:hangup()
    ]])
    call("cxb", { "--wait-end", "60", "--transfer", "silent" })
    local told = events("transfer")[1]
    assert.is_false(told.ok)
    assert.equal("timeout", told.reason)
  end)

  it("refuses a transfer where the wire has none", function()
    serve([[
      local ok, code = leg:transfer({ to = "+9180", type = "sip" })
      cxb.log.info("transfer", { ok = ok, code = code })
      leg:hangup()
    ]])
    call("twilio", { "--wait-end", "60" })
    assert.equal("unsupported", logged("transfer").code)
  end)

  it("takes posted events in turn, from any task", function()
    serve([[
      cxb.task.spawn("poster", function() leg:post({ type = "mine", n = 1 }) leg:post({ type = "mine", n = 2 }) end)
      wait_for(leg, "mine")
      wait_for(leg, "mine")
      leg:hangup()
    ]])
    call("browser", { "--wait-end", "60" })
    assert.same({ 1, 2 }, { events("mine")[1].n, events("mine")[2].n })
  end)

  it("is closed when its task died and nobody took the call over", function()
    serve([[ error("broken") ]])
    local report = call("twilio", { "--wait-end", "60", "--patience", "60" }, true)
    assert.equal("bot", report.closed_by)
    assert.equal(1011, report.close_code)
    World.wait_until("the slot is free", function() return used() == 0 end)
  end)

  it("is closed at once with the code and the reason the script gives", function()
    serve([[ leg:abort(1008, "unknown_bot") ]])
    local report = call("cxb", { "--wait-end", "60" })
    assert.equal(1008, report.close_code)
    assert.equal("unknown_bot", report.close_reason)
    assert.equal("unknown_bot", events("closed")[1].reason)
  end)

  it("sends the page its notes, typed words come as text", function()
    serve([[
      leg:note({ type = "transcript", role = "bot", text = "Hello", final = true, turn = 0 })
      wait_for(leg, "text")
      leg:note({ type = "end", disconnected_by = "bot" })
      leg:hangup()
    ]])
    local report = call("browser", { "--text", "When do you open?", "--first-wait", "0.1",
      "--wait-end", "60" })
    assert.equal("When do you open?", events("text")[1].text)
    local kinds = {}
    for _, event in ipairs(report.events) do kinds[#kinds + 1] = event.event end
    assert.same({ "transcript", "end" }, kinds)
  end)

  it("without media and pong for the time-out ends as media_timeout", function()
    serve("", "{ media_timeout_s = 1 }")
    call("twilio", { "--mute", "--wait-end", "60", "--first-wait", "60" })
    assert.equal("media_timeout", events("error")[1].error)
  end)
end)
