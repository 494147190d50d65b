local support = require("spec.support.pure")
local json = require("cxb.json")
local record = require("cxb.record")
local fault_of = require("spec.support.result_schema")
local result = require("cxb.result")
local latency = require("cxb.latency")

local function call(r)
  r:add("accepted", { call_id = "c1", bot_id = "demo", transport = "cxb", stream_id = "s-1",
    caller_id = "+911", direction = "incoming", started_at = 1777021200000,
    connected_event = '{"callerId":"+911","list":[]}' })
  r:add("start", { session_id = "sess", webhook_url = "http://api/r", recording_key = "recordings/x.wav",
    pipeline_config = { flow = "demo", generation = 1, stt = { provider = "embedded" } } })
  r:add("answer", { t_ms = 1120 })
  r:add("turn", { turn = 0, role = "bot", text = "Hello", start_ms = 1200, end_ms = 1900,
    heard_ms = 700 })
  r:add("event", { t_ms = 1900, type = "opening_done", data = json.object({}) })
end

describe("a result", function()
  before_each(support.install)
  after_each(support.restore)

  it("has the documented fields in their order and no nulls", function()
    local r = record.new()
    call(r)
    r:add("turn", { turn = 1, role = "customer", text = "Hi", start_ms = 2000, end_ms = 2500 })
    r:add("end", { disconnected_by = "customer", t_ms = 43420 })
    local body = result.build(r)
    assert.is_nil(body:find("null", 1, true))
    local value = json.decode(body)
    assert.equal("2026-04-24T09:00:43.420Z", value.ended_at)
    assert.equal("2026-04-24T09:00:01.120Z", value.answered_at)
    assert.equal(42.3, value.call_duration_seconds)
    assert.is_true(value.has_customer_message)
    assert.is_false(value.was_transferred)
    assert.equal("recordings/x.wav", value.recording_url)
    assert.truthy(body:find('"connected_event":{"callerId":"+911","list":[]}', 1, true))
    assert.truthy(body:find('^{"session_id":"sess","stream_id":"s%-1","bot_id":"demo"'))
    assert.truthy(body:find('"intents":[]', 1, true))
  end)

  it("is what the published schema says, and the schema tells when it is not", function()
    local r = record.new()
    call(r)
    r:add("start", { pipeline_config = { flow = "demo", generation = 1, version = "1", worker = "1",
      transport = "cxb", rate = 8000, stt = { provider = "embedded" } } })
    r:add("latency", latency.sample({ turn = 1, voiced_at = 0, decided_at = 400, final_at = 300,
      frame_at = 500 }))
    r:add("end", { disconnected_by = "customer", t_ms = 43420 })
    local body = result.build(r)
    assert.is_nil(fault_of(body))
    assert.truthy(fault_of((body:gsub('"customer"', '"nobody"', 1))):find("^disconnected_by"))
    assert.truthy(fault_of((body:gsub('"start_ms":1200', '"start_ms":"x"'))):find("start_ms", 1, true))
    assert.truthy(fault_of((body:gsub('"bot_id":"demo"', '"bot_id":null'))):find("^bot_id"))
    assert.truthy(fault_of((body:gsub('"heard_ms"', '"herd_ms"'))):find("herd_ms", 1, true))
  end)

  -- A journal that ends while the bot speaks; `more` facts, then what a lost call's result says.
  local function lost_while_speaking(more, alive_ms)
    local records = {}
    local r = record.new({ append = function(_, kind, data)
      records[#records + 1] = { kind = kind, at = 1777021200000 + 5000, data = data }
      return true
    end })
    call(r)
    r:add("start", { pipeline_config = { flow = "demo", generation = 1, version = "1", worker = "1",
      transport = "cxb", rate = 8000, stt = { provider = "embedded" } } })
    for _, fact in ipairs(more) do
      r:add("saying", fact)
    end
    local lost = record.replay(records, { disconnected_by = "error", error = "worker_lost",
      alive_ms = function() return alive_ms end })
    return json.decode(result.build(lost)).transcript, lost
  end

  it("of a worker lost in its bot's sentence has the words up to the end of the recording", function()
    local transcript, lost = lost_while_speaking({
      { n = 1, text = "We are open every day.", t_ms = 4000 },
      { n = 1, text = "We are open.", t_ms = 4000 }, -- cut there, and gone on with
      { n = 2, text = "From nine to six, Monday to Friday.", t_ms = 5000 },
    }, 6000)
    assert.equal(2, #transcript)
    local entry = transcript[2]
    assert.matches("^We are open%. From nine", entry.text)
    assert.is_true(#entry.text < #entry.full_text)
    assert.equal("We are open. From nine to six, Monday to Friday.", entry.full_text)
    assert.same({ 4000, 6000, 2000, true },
      { entry.start_ms, entry.end_ms, entry.heard_ms, entry.interrupted })
    assert.equal(5000, lost.times.ended)
    assert.is_nil(fault_of(result.build(lost)))
  end)

  it("of a worker lost after its bot's turn says nothing twice, and nothing that was not heard", function()
    assert.equal(1, #lost_while_speaking({ { n = 1, text = "One.", t_ms = 4000 }, {} }, 6000))
    assert.equal(1, #lost_while_speaking({ { n = 1, text = "Another sentence.", t_ms = 5000 } }, 5000))
    local transcript = lost_while_speaking({ { n = 2, text = "Its rest alone.", t_ms = 5000 } }, 9000)
    assert.equal("Its rest alone.", transcript[2].text)
    local r = record.new()
    call(r)
    r:add("saying", { n = 1, text = "One.", t_ms = 4000 })
    r:add("turn", { turn = 1, role = "bot", text = "One.", start_ms = 4000, end_ms = 4500 })
    assert.is_nil(r.saying)
  end)

  it("made from the journal equals the one of the worker", function()
    local records = {}
    local live = record.new({ append = function(_, kind, data)
      records[#records + 1] = { kind = kind, at = 0, data = json.decode(json.encode(data)) }
    end })
    call(live)
    live:add("latency", latency.sample({ turn = 1, voiced_at = 0, decided_at = 400, final_at = 300,
      frame_at = 500 }))
    live:add("usage", { tts_characters = 5, stt_seconds = 1.5 })
    live:add("end", { disconnected_by = "bot", t_ms = 5000 })
    local replayed = record.replay(records, { disconnected_by = "error", error = "worker_lost" })
    assert.equal(result.build(live), result.build(replayed))
  end)

  it("of a lost worker ends at the journal's last record", function()
    local records = {}
    call(record.new({ append = function(_, kind, data)
      records[#records + 1] = { kind = kind, at = 1777021200000 + 1900, data = data }
    end }))
    local r = record.replay(records, { disconnected_by = "error", error = "worker_lost" })
    local value = json.decode(result.build(r))
    assert.equal("error", value.disconnected_by)
    assert.equal("worker_lost", value.error)
    assert.equal("2026-04-24T09:00:01.900Z", value.ended_at)
    assert.equal("Hello", value.transcript[1].text)
  end)

  it("stays under 4 MiB by leaving out events, oldest first", function()
    local r = record.new()
    call(r)
    for i = 1, 60 do
      r:add("event", { t_ms = i, type = "turn", data = { n = i, x = ("x"):rep(100000) } })
    end
    r:add("end", { disconnected_by = "bot", t_ms = 5000 })
    local body = result.build(r)
    local value = json.decode(body)
    assert.truthy(#body <= 4 * 1024 * 1024)
    assert.is_true(value.events_truncated)
    assert.equal(60, value.events[#value.events].data.n)
  end)

  it("of a call that was never answered lasts 0 seconds", function()
    local r = record.new()
    r:add("accepted", { call_id = "c", started_at = 0, bot_id = "b" })
    r:add("end", { disconnected_by = "no_answer", t_ms = 9000 })
    local value = json.decode(result.build(r))
    assert.equal(0, value.call_duration_seconds)
    assert.is_nil(value.answered_at)
    assert.is_false(value.has_customer_message)
  end)
end)

describe("latency", function()
  it("parts never overlap and sum to the total", function()
    math.randomseed(7)
    for _ = 1, 500 do
      local v = math.random(0, 1000)
      local s = latency.sample({ turn = 1, voiced_at = v, decided_at = v + math.random(0, 1300),
        final_at = v + math.random(0, 3000), speak_at = 10, audio_at = 10 + math.random(0, 900),
        llm_ms = math.random(0, 700), frame_at = v + math.random(0, 3000) + math.random() })
      local sum = s.endpoint_ms + s.stt_ms + s.rag_ms + s.tool_ms + s.llm_ttft_ms + s.tts_ttfb_ms
        + s.host_ms
      assert.equal(s.total_ms, sum)
      assert.truthy(s.host_ms >= 0)
    end
  end)

  it("is summed up by mean and percentiles", function()
    local samples = {}
    for i = 1, 20 do
      samples[i] = latency.sample({ turn = i, voiced_at = 0, decided_at = 400, final_at = 350,
        speak_at = 401, audio_at = 431, frame_at = 440 + i })
    end
    local s = latency.summary(samples)
    assert.equal(450, s.p50_ms)
    assert.equal(459, s.p95_ms)
    assert.equal(400, s.endpoint_ms)
    assert.equal(30, s.tts_ttfb_ms)
    assert.equal(20, s.turns)
    assert.equal(0, s.framing_ms)
    assert.equal(200, latency.summary(samples, 200).framing_ms)
    assert.is_nil(latency.summary({}))
  end)
end)
