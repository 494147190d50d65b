-- stores: both
-- The Agent Desk in real processes: two of the API on one store and one Redis, told by the worker's
-- own outbox.
local LlmSim = require "support.llm_sim"
local RedisServer = require "support.redis_server"
local SseClient = require "support.sse_client"
local process = require "support.api_process"
local support = require "support.world"

local BASE = "/api/v1/agent-desk"

describe("the Agent Desk", function()
  local world = support.new()
  after_each(function() world:close() end)

  local function person(api, name, role)
    local email = name .. "@example.org"
    local made = api:ask("POST", "/api/v1/auth/register", { body = { email = email, name = name,
      role = role, password = "correct horse battery", agent_languages = { "en" } } })
    assert.equal(201, made.status)
    return process.token(email)
  end

  local function agent(api, name)
    local token = person(api, name, "agent")
    local chosen = api:ask("POST", BASE .. "/status", { token = token, body = { status = "available" } })
    assert.equal(200, chosen.status)
    return token
  end

  local function enqueue(api, id)
    local answer = api:ask("POST", BASE .. "/enqueue", { body = { call_id = id, caller = "+14155550100",
      transcript = { { role = "bot", text = "hello" } } } })
    assert.equal(200, answer.status)
  end

  it("gives a call to one of two agents who accept it at once in two processes", function()
    local redis = RedisServer.start(world)
    local a = process.start(world, { env = { REDIS_URL = redis.url } })
    local env = {}
    for name, value in pairs(a.env) do env[name] = value end
    env.CXB_API_LISTEN, env.CXB_RUN_DIR = nil, nil
    local b = process.start(world, { env = env })
    local apis, tokens = { a, b }, { agent(a, "ann"), agent(a, "bob") }
    for round = 1, 8 do
      local id = "call-" .. round
      enqueue(a, id)
      local answers = process.at_once(2, function(i)
        return apis[i]:ask("POST", ("%s/calls/%s/accept"):format(BASE, id), { token = tokens[i] })
      end)
      local winner = answers[1].status == 200 and 1 or 2
      assert.same({ 200, 409 }, { answers[winner].status, answers[3 - winner].status })
      assert.equal("already_taken", answers[3 - winner].answer.error)
      local ended = apis[3 - winner]:ask("POST", ("%s/calls/%s/end"):format(BASE, id),
        { token = tokens[winner], body = { disposition = "D" } })
      assert.same({ 200, "completed" }, { ended.status, ended.answer.state })
      local kept = a:ask("GET", "/api/v1/calls/agent-" .. id)
      assert.same({ 200, "agent", "D" }, { kept.status, kept.answer.call_type,
        kept.answer.disposition })
    end
  end)

  it("takes what a worker's outbox says of a call, and tells the agents at once", function()
    local api = process.start(world)
    local token = agent(api, "ann")
    local page = SseClient.open(api, BASE .. "/queue/stream", { token = token })
    assert.same({ "snapshot", { items = {} } }, { page:next().name, page.events[1].data })
    local box = assert(cxb.outbox.open(world:folder() .. "/outbox.db", {
      headers = function() return { ["x-cxb-core-secret"] = process.SECRET } end,
    }))
    require("cxb.core.outboxes").box = box
    local worker = require("cxb.core.desk").new({
      settings = { api = ("http+unix:%s:/api/v1"):format(api.socket) },
      meta = { call_id = "room-1" }, session_id = cxb.crypto.uuid7(),
      facts = { transcript = { { role = "customer", text = "a person, please", start_ms = 5 } },
        add = function() end },
    })
    assert.is_true(worker:enqueue({ room = "call-1", caller = "+14155550100", bot_id = "demo",
      reason = "asked", variables = { name = "Ada" }, language = "en" }))
    -- The agent's own presence is told whenever the policy first looks.
    local function told()
      local event
      repeat
        event = page:next()
      until event.name ~= "presence"
      return event
    end
    local waiting = told()
    assert.same({ "call.waiting", "room-1", "asked" }, { waiting.name, waiting.data.call_id,
      waiting.data.escalation_reason })
    assert.is_true(worker:event("core_lost"))
    assert.is_true(worker:customer_disconnected())
    local gone = told()
    assert.same({ "call.removed", "abandoned" }, { gone.name, gone.data.state })
    local stats = support.wait_until("an empty outbox", function()
      local now = box:stats()
      return now.ready + now.sending == 0 and now
    end)
    assert.equal(0, stats.dead)
    local call = api:ask("GET", BASE .. "/calls/room-1").answer
    assert.same({ "Ada", "a person, please", "call-1" }, { call.variables.name,
      call.transcript[1].text, call.room })
    page:close()
    box:hand_over()
    box:close()
  end)

  it("gives the agent a summary of the bot's part, made by the bot's model; none when that fails", function()
    local sim = LlmSim.start(world)
    local api = process.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
    local token = agent(api, "ann")
    local bot = api:ask("POST", "/api/v1/bots", { body = { name = "Model", llm = {
      provider = "openai", model = "m", base_url = sim.url .. "/v1" } } })
    assert.equal(201, bot.status)
    sim:answers({ text = "Ada wants her invoice again." }, { status = 500 }, { status = 500 })
    local function handoff(id)
      return api:ask("POST", BASE .. "/enqueue", { body = { call_id = id, bot_id = bot.answer.id,
        transcript = { { role = "customer", text = "the invoice, please" } },
        escalation_reason = "asked for a person" } })
    end
    assert.equal(200, handoff("call-1").status)
    support.wait_until("the summary", function()
      local first = api:ask("GET", BASE .. "/queue", { token = token }).answer.items[1]
      return first.summary == "Ada wants her invoice again."
    end)
    local asked = sim:seen()[1].body.messages
    assert.truthy(asked[2].content:match("Customer: the invoice, please"))
    assert.truthy(asked[2].content:match("asked for a person"))
    assert.equal(200, handoff("call-2").status)
    support.wait_until("the failure", function() return api.process:logged("no summary for the agent") end)
    assert.is_nil(api:ask("GET", BASE .. "/calls/call-2").answer.summary)
  end)

  it("ends by itself the wait of a caller whom nobody takes, also after a restart", function()
    local env = { AGENT_DESK_NO_AGENT_TIMEOUT = "5", AGENT_DESK_WAIT_TIMEOUT = "600" }
    local api = process.start(world, { env = env })
    enqueue(api, "call-1")
    api.process:kill("KILL")
    api.process:wait()
    api:run()
    support.wait_until("the end of the wait", function()
      return api:ask("GET", BASE .. "/calls/call-1/state").answer.state == "timed_out"
    end)
    assert.equal("no_agent", api:ask("GET", BASE .. "/calls/call-1").answer.end_reason)
    support.wait_until("the figures", function()
      local metrics = api:ask("GET", "/metrics").body
      return metrics:match("cxb_desk_waiting 0\n")
        and metrics:match('cxb_desk_agents{state="available"} 0\n')
    end)
  end)
end)
