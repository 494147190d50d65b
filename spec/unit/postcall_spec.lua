local sched_of = require("cxb.testing.sched")
local support = require("spec.support.pure")
local json = require("cxb.json")
local record = require("cxb.record")

local analysis, disposition, postcall, result

setup(function()
  support.install()
  analysis, postcall = require("cxb.core.analysis"), require("cxb.core.postcall")
  disposition, result = require("cxb.disposition"), require("cxb.result")
  support.restore()
end)

before_each(support.install)
after_each(support.restore)

-- A finished call. o: by, spoke, ms (from answer to end; nil: never answered), config
local function call(o)
  local r = record.new()
  r:add("accepted", { call_id = "c1", bot_id = "demo", started_at = 1777021200000, direction = "incoming" })
  r:add("start", { session_id = "s1" })
  r:add("plan", postcall.plan(o.config or {}))
  if o.ms then r:add("answer", { t_ms = 1000 }) end
  r:add("turn", { turn = 0, role = "bot", text = "Hello" })
  if o.spoke then r:add("turn", { turn = 1, role = "customer", text = "When do you open?" }) end
  r:add("plan", postcall.variables({ ["crm.name"] = "Asha", fn = print, list = {} }))
  r:add("end", { disconnected_by = o.by, t_ms = 1000 + (o.ms or 0) })
  return r
end

local configured = {
  bot_id = "demo", post_call_analysis_prompt = "Analyse {{crm.name}}, {{result.disconnected_by}}, {{nothing}}.",
  qc_prompt = "Judge {{analysis.DISPOSITION}}.", callback_detection_enabled = true,
  llm = { provider = "rules", model = "x", api_key = "k", fallback = { { provider = "openai", model = "y" } } },
}

describe("a call is analysed", function()
  it("but not when the table of endings says otherwise", function()
    local cases = {
      { by = "error", spoke = true, ms = 60000, key = "error" },
      { by = "voicemail", spoke = true, ms = 60000, key = "voicemail" },
      { by = "timeout", ms = 60000, key = "timeout" }, { by = "RNR", ms = 60000, key = "rnr" },
      { by = "customer", ms = 60000, key = "no_customer_message" },
      { by = "bot", ms = 60000, key = "no_customer_message" },
      { by = "customer", spoke = true, ms = 4999 }, { by = "no_answer" }, { by = "rejected" }, { by = "outside_hours" },
      { by = "customer", spoke = true, ms = 5000, analysed = true },
      { by = "timeout", spoke = true, ms = 60000, analysed = true },
      { by = "RNR", spoke = true, ms = 60000, analysed = true },
      { by = "transfer_to_agent", spoke = true, ms = 60000, analysed = true },
    }
    for i, case in ipairs(cases) do
      local analysed, key = disposition.judge(call(case))
      assert.same({ i, case.analysed or false, case.key }, { i, analysed, key })
    end
  end)

  it("not: it gets its disposition at once, with the bot's own words where it has some", function()
    local r = call({ by = "RNR", ms = 9000, config = { auto_dispositions = {
      rnr = { DISPOSITION = "Silent", CALLING_REMARKS = "" } } } })
    assert.is_nil(postcall.prepare(r))
    assert.same({ DISPOSITION = "Silent", SUB_DISPOSITION = "RNR",
      CALLING_REMARKS = "Call answered, customer did not respond" }, r.analysis)
    assert.equal("Silent", json.decode(result.build(r)).post_call_analysis.DISPOSITION)
    r = call({ by = "no_answer" })
    postcall.prepare(r)
    assert.is_nil(json.decode(result.build(r)).post_call_analysis)
  end)

  it("in the stages its configuration asks for", function()
    local function stages(config)
      local work = postcall.prepare(call({ by = "customer", spoke = true, ms = 9000, config = config }))
      return work and json.decode(work).left
    end
    local llm = configured.llm
    assert.same({ "analysis", "qc" }, stages(configured))
    assert.same({ "qc" }, stages({ qc_prompt = "x", llm = llm }))
    assert.same({ "analysis" }, stages({ callback_detection_enabled = true, llm = llm }))
    assert.is_nil(stages({ llm = llm }))
    assert.is_nil(stages({ post_call_analysis_prompt = " ", llm = llm }))
    assert.is_nil(stages({ post_call_analysis_prompt = "x" }))
  end)
end)

describe("what is to be done after a call", function()
  it("holds all that is known: the same result comes out of it", function()
    local r = call({ by = "customer", spoke = true, ms = 9000, config = configured })
    r:add("event", { t_ms = 5, type = "tool_call", data = { arguments = { list = json.array() } } })
    local work = json.decode(postcall.prepare(r))
    assert.equal(result.build(r), result.build(record.restore(work.facts)))
    local models = work.facts.plan.models
    assert.same({ "rules", "openai" }, { models[1].provider, models[2].provider })
  end)

  it("also comes out of the journal of a lost worker", function()
    local records = {}
    local live = record.new({ append = function(_, kind, data)
      records[#records + 1] = { kind = kind, at = 0, data = json.decode(json.encode(data)) }
    end })
    for _, fact in ipairs({ { "accepted", { call_id = "c1", started_at = 0 } }, { "start", { session_id = "s" } },
      { "plan", postcall.plan(configured) }, { "answer", { t_ms = 0 } },
      { "turn", { role = "customer", text = "x" } }, { "end", { disconnected_by = "bot", t_ms = 9000 } } }) do
      live:add(fact[1], fact[2])
    end
    assert.equal(postcall.prepare(live), postcall.prepare(record.replay(records, {})))
  end)
end)

describe("the work after a call", function()
  -- A row of the outbox, and a model that answers as `answer(n)` says after so many ms.
  local function work_on(answer)
    local clock, fake = support.install()
    local sched = sched_of.install(fake, clock)
    local asked, row, out = 0, { id = 1, session_id = "s1", attempts = 0 }, { kept = {} }
    package.loaded["providers.llm_openai"] = { open = function()
      return { close = function() end, stream = function(_, request)
        asked = asked + 1
        local ms, text = answer(asked)
        cxb.time.sleep(math.min(ms, request.total_ms))
        if ms > request.total_ms then return nil, "timeout" end
        return text and { text = text }, not text and "http_500"
      end }
    end }
    local config = { post_call_analysis_prompt = "x", qc_prompt = "y", llm = { provider = "openai", model = "m" } }
    row.work = postcall.prepare(call({ by = "bot", spoke = true, ms = 9000, config = config }))
    local box = {
      stats = function() return { analysis = out.body and 0 or 1 } end,
      claim_analysis = function()
        if row.attempts > 0 then return nil end
        row.attempts = 1
        return row
      end,
      keep_analysis = function(_, _, work) out.kept[#out.kept + 1] = json.decode(work) return true end,
      finish = function(_, _, body) out.body = json.decode(body) return true end,
    }
    require("cxb.core.outboxes").boxes = { box }
    local began = clock.ms
    sched.run(function()
      postcall.work({})
      while not out.body do cxb.time.sleep(100) end
    end)
    package.loaded["providers.llm_openai"] = nil
    return out, asked, clock.ms - began
  end

  local function failed(body)
    local event = body.events[#body.events]
    return event and event.type == "post_call_failed" and event.data or nil
  end

  it("puts both objects into the one result", function()
    local out, asked = work_on(function(n) return 900, n == 1 and '{"DISPOSITION":"Paid"}' or '{"overall_score":8}' end)
    assert.equal(2, asked)
    assert.same({ { DISPOSITION = "Paid" }, { overall_score = 8 } },
      { out.body.post_call_analysis, out.body.qc_analysis })
    assert.same({ { "qc" } }, { out.kept[1].left })
    assert.is_nil(failed(out.body))
  end)

  it("is tried three times, then the result goes without it", function()
    local out, asked = work_on(function() return 100 end)
    assert.equal(3, asked)
    assert.same({ stage = "analysis", code = "http_500" }, failed(out.body))
    assert.is_nil(out.body.post_call_analysis)
    assert.same({ 1, 2 }, { out.kept[1].failures, out.kept[2].failures })
  end)

  it("keeps what was found when a later stage fails", function()
    local out, asked = work_on(function(n) return 100, n == 2 and '{"a":1}' or nil end)
    assert.equal(4, asked)
    assert.same({ a = 1 }, out.body.post_call_analysis)
    assert.equal("qc", failed(out.body).stage)
  end)

  it("takes 60 s at most", function()
    local out, asked, ms = work_on(function() return 1e9 end)
    assert.equal(3, asked)
    assert.equal("timeout", failed(out.body).code)
    assert.is_true(ms <= 60200)
  end)
end)

describe("the request of a stage", function()
  it("has the rendered prompt, the conversation, and temperature 0", function()
    local r = call({ by = "customer", spoke = true, ms = 9000, config = configured })
    local request = analysis.request(r.plan, "analysis", r)
    assert.same({ 0, true }, { request.temperature, request.json })
    assert.equal("Analyse Asha, customer, {{nothing}}.", request.messages[1].content)
    assert.matches("callback_requested", request.messages[2].content)
    assert.equal("A phone call (incoming), ended by: customer.\nBot: Hello\nCustomer: When do you open?",
      request.messages[3].content)
    r.analysis = { DISPOSITION = "Info" }
    request = analysis.request(r.plan, "qc", r)
    assert.equal("Judge Info.", request.messages[1].content)
    assert.is_nil(request.messages[2].content:find("callback", 1, true))
  end)

  it("names the prompt the provider keeps only when nothing of the call is in it", function()
    local config = { bot_id = "demo", post_call_analysis_prompt = "Plain.", qc_prompt = "Of {{crm.name}}.",
      post_call_cache_enabled = true, post_call_cache_version = "v9", llm = configured.llm,
      post_call_cache = { analysis = { name = "cachedContents/a" }, qc = "cachedContents/q" } }
    local r = call({ by = "customer", spoke = true, ms = 9000, config = config })
    local cache = analysis.request(r.plan, "analysis", r).cache
    assert.same({ "demo:analysis:v9", "cachedContents/a", "Plain." }, { cache.key, cache.handle, cache.static })
    assert.is_nil(analysis.request(r.plan, "qc", r).cache.handle)
  end)
end)

describe("a model's answer", function()
  it("is taken out of fences and chatter", function()
    for _, text in ipairs({ '{"a":1}', ' {"a":1}\n', '```json\n{"a":1}\n```', '```\n{"a":1}```',
      'Here it is:\n```json\n{"a":1}\n```\nAnything else?', 'Sure: {"a":1}. Done.' }) do
      assert.same({ a = 1 }, analysis.object_in(text), text)
    end
    assert.is_nil(analysis.object_in("no object"))
    assert.is_nil(analysis.object_in("[1,2]"))
    assert.is_nil(analysis.object_in("{broken"))
  end)
end)
