-- waits: 18
-- After a call, with a real worker, a simulated model and an API that counts what it is sent.

local dialler = require "spec.support.dialler"
local json = require "cxb.json"
local llm_sim = require "spec.support.llm_sim"
local postcall = require "cxb.core.postcall"
local record = require "cxb.record"
local World = require "support.world"

local API = [[
local json = require("cjson.safe")
return function(req, seen, body)
  if req.path:match("/config/") then
    local p = { system_prompt = "", opening_message = "", session_id = "live", flow = "keys",
      webhook_url = "$URL/api/v1/call-results", stt = { provider = "none" }, tts = { provider = "none" },
      max_silence_seconds = 0, post_call_analysis_prompt = "Analyse {{crm.name}}.", qc_prompt = "Judge.",
      callback_detection_enabled = true, variables = { ["crm.name"] = "Asha" },
      llm = { provider = "openai", model = "m", api_key = "s3cret-key", base_url = "$SIM/v1" } }
    return req:respond(200, json.encode(p))
  end
  req:respond(200, "{}")
end
]]

local KEYS = [[return function(call)
  repeat
    local heard = call:listen { timeout = 60, dtmf = { max = 1 } }
    if heard.dtmf then
      cxb.time.sleep(5200)
      return
    end
  until heard.hangup
end]]

local world, sim, api, url

setup(function()
  world = World.new()
  sim = llm_sim.start(world)
  local port = world:port()
  url = "http://127.0.0.1:" .. port
  api = world:server("tcp:127.0.0.1:" .. port, (API:gsub("$URL", url):gsub("$SIM", sim.url)))
end)

teardown(function() world:close() end)

-- A place for a worker: its folder, its socket, and how to start it.
local function site()
  local dir = world:folder()
  world:write(dir .. "/flows/keys.lua", KEYS)
  local o = { dir = dir, socket = dir .. "/core-1.sock", outbox = dir .. "/outbox-1.db" }
  function o.start()
    return world:service("core.lua", {
      CXBCORE_SECRET = ("k"):rep(40), CXB_RUN_DIR = dir, CXB_STATE_DIR = dir, CXBCORE_WORKERS = "1",
      CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXB_API_CONFIG_URL = url .. "/api/v1/config",
      CXB_FLOWS_DIR = dir .. "/flows", CXB_BOTS_DIR = dir, PATH = cxb.process.env("PATH"),
    }, o.socket)
  end
  return o
end

-- What the API was sent for a session.
local function results(session)
  local list = {}
  for _, request in ipairs(api.seen()) do
    if request.path == "/api/v1/call-results" then
      local body = json.decode(request.body)
      if body.session_id == session then list[#list + 1] = body end
    end
  end
  return list
end

local function wait_result(session)
  world:wait_until("the result of " .. session, function() return #results(session) > 0 end)
  return results(session)[1]
end

-- A row as a worker leaves it behind: the call is over, its analysis is not done.
local function leave(box, session, said, changes)
  local config = { bot_id = "demo", post_call_analysis_prompt = "Analyse.",
    llm = { provider = "openai", model = "m", base_url = sim.url .. "/v1" } }
  for name, value in pairs(changes or {}) do config[name] = value end
  local r = record.new()
  r:add("accepted", { call_id = "c-" .. session, bot_id = "demo", started_at = cxb.time.now() - 10000,
    direction = "incoming" })
  r:add("start", { session_id = session })
  r:add("plan", postcall.plan(config))
  r:add("answer", { t_ms = 0 })
  r:add("turn", { turn = 0, role = "customer", text = said })
  r:add("end", { disconnected_by = "customer", t_ms = 9000 })
  assert(box:put { kind = "result", session_id = session, url = url .. "/api/v1/call-results",
    body = require("cxb.result").build(r), work = assert(postcall.prepare(r)) })
end

local function close(box)
  box:hand_over()
  box:close()
end

local function asked(words)
  local n = 0
  for _, request in ipairs(sim:seen()) do
    local text = json.encode(request.body or {})
    n = n + (text:find(words, 1, true) and 1 or 0)
  end
  return n
end

describe("a call that is over", function()
  it("frees its slot first, is analysed, and leaves as one result with everything in it", function()
    sim:script { hold = true, rules = {
      { match_any = "Judge", text = '{"overall_score": 8}' },
      { match_any = "Analyse", text = '```json\n{"DISPOSITION": "Paid", "callback_requested": false}\n```' } } }
    local here = site()
    local worker = here.start()
    local caller = assert(dialler.connect(here.socket, "demo")):begin()
    world:wait_until("the call", function() return worker:logged("call started") end)
    caller:send { event = "dtmf", digit = "1" }
    world:wait_until("its end", function() return worker:logged("call ended") end)
    world:wait_until("a free slot", function()
      return World.get_json("http+unix:" .. here.socket .. ":/health").worker_calls == 0
    end)
    assert.same({}, results("live"))
    sim:script { hold = false }
    local body = wait_result("live")
    assert.same({ DISPOSITION = "Paid", callback_requested = false }, body.post_call_analysis)
    assert.same({ overall_score = 8 }, body.qc_analysis)
    local requests = {}
    for _, request in ipairs(sim:seen()) do
      if request.body then requests[#requests + 1] = request.body end
    end
    assert.same({ 0, 0 }, { requests[1].temperature, requests[2].temperature })
    assert.equal("Analyse Asha.", requests[1].messages[1].content)
    assert.matches("callback_requested", requests[1].messages[2].content)
    assert.equal(0, worker:stop(60000))
    assert.equal(1, #results("live"))
    assert.is_nil(worker:output():find("s3cret-key", 1, true))
  end)
end)

describe("what is left to do after calls", function()
  it("is done by the worker that opens the outbox; broken answers are repaired, kept or given up", function()
    sim:script { ttft_ms = 0, rules = {
      { match_any = "case raw", text = "I would rather not." },
      { match_any = "case fail", fault = 500 },
      { match = "not one JSON object", text = '{"fixed": true}' },
      { match_any = "case repair", text = "fixed: yes" },
      { match_any = "case plain", text = '{"ok": [1, {"n": null}]}' } } }
    local here = site()
    local box = assert(cxb.outbox.open(here.outbox, {}))
    for _, name in ipairs { "raw", "fail", "repair", "plain" } do leave(box, name, "case " .. name) end
    close(box)
    here.start()
    assert.same({ ok = { 1, { n = json.null } } }, wait_result("plain").post_call_analysis)
    assert.same({ fixed = true }, wait_result("repair").post_call_analysis)
    assert.same({ raw = "I would rather not." }, wait_result("raw").post_call_analysis)
    assert.same({ 1, 2, 2 }, { asked("case plain"), asked("case repair"), asked("case raw") })
    local failed = wait_result("fail")
    assert.is_nil(failed.post_call_analysis)
    assert.same({ "post_call_failed", { stage = "analysis", code = "http_500" } },
      { failed.events[1].type, failed.events[1].data })
    assert.equal(3, asked("case fail"))
    for _, name in ipairs { "raw", "fail", "repair", "plain" } do assert.equal(1, #results(name)) end
  end)

  it("under way when the worker is told to end leaves with it", function()
    sim:script { ttft_ms = 1500, rules = { { match_any = "case drain", text = '{"drained": true}' } } }
    local here = site()
    local box = assert(cxb.outbox.open(here.outbox, {}))
    leave(box, "drain", "case drain")
    close(box)
    local worker = here.start()
    world:wait_until("the model's request", function() return asked("case drain") > 0 end)
    assert.equal(0, worker:stop(60000))
    assert.same({ drained = true }, results("drain")[1].post_call_analysis)
  end)

  it("survives a kill between two stages: the first is not done again", function()
    sim:script { ttft_ms = 0, rules = {
      { match_any = "Judge", fault = "slow" }, { match_any = "case crash", text = '{"first": 1}' } } }
    local here = site()
    local box = assert(cxb.outbox.open(here.outbox, {}))
    leave(box, "crash", "case crash", { qc_prompt = "Judge." })
    close(box)
    local worker = here.start()
    world:wait_until("the second stage", function() return asked("Judge") >= 1 and asked("case crash") >= 2 end)
    worker:kill("KILL")
    worker:wait(5000)
    assert.equal(0, #results("crash"))
    local before = asked("Analyse")
    sim:script { rules = { { match_any = "Judge", text = '{"second": 2}' }, { text = '{"again": true}' } } }
    here.start()
    local body = wait_result("crash")
    assert.same({ { first = 1 }, { second = 2 } }, { body.post_call_analysis, body.qc_analysis })
    assert.equal(before, asked("Analyse"))
    assert.equal(1, #results("crash"))
  end)

  it("that kills its worker every time is given up", function()
    sim:script { ttft_ms = 0, rules = { { text = '{"never": true}' } } }
    local here = site()
    local box = assert(cxb.outbox.open(here.outbox, {}))
    leave(box, "poison", "case poison")
    for _ = 1, 3 do assert(box:claim_analysis(0)) end -- three that died at it
    close(box)
    here.start()
    local body = wait_result("poison")
    assert.equal("crashed", body.events[1].data.code)
    assert.is_nil(body.post_call_analysis)
    assert.equal(0, asked("case poison"))
  end)
end)
