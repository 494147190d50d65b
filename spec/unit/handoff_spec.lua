-- The hand-off to the Agent Desk (core spec §5.5): what is on disk before whom it is told, and each
-- way out of the hold. The room is a fake; its events are those of a transport with one.
require("spec.support.pure")
local conversation = require("cxb.testing.stage")
local json = require("cxb.json")

describe("a hand-off to the agent desk", function()
  local talk, answer

  before_each(function()
    talk, answer = conversation.new(), nil
  end)
  after_each(function()
    talk:close()
  end)

  local function flow(call)
    call:set("crm.name", "Asha")
    call:say("I will get you a colleague.")
    answer = call:handoff({ queue = "billing", reason = "asked", priority = 70 })
    call:say("Nobody is there.")
  end

  local function run(config, o)
    config = config or {}
    config.pre_transfer_message = "One moment, I will connect you."
    config.agent_desk = config.agent_desk or { hold_messages = { "Please hold the line." },
      closing_message = "All our colleagues are busy. Goodbye." }
    config.recording_enabled, config.max_silence_seconds = false, 10
    return talk:run(config, o or { flow = flow, room = "call-1", transport = "livekit" })
  end

  local function agent_joins(at)
    talk:at(at, function()
      talk.leg:wire({ type = "participant", identity = "agent-7", joined = true })
    end)
  end

  it("is on disk before the caller is told, and says all about the call", function()
    agent_joins(9000)
    run()
    local row = talk.rows[1]
    assert.equal("handoff", row.kind)
    assert.equal("s1", row.session_id)
    assert.equal("http://api/v1/agent-desk/enqueue", row.url)
    local told = talk.facts.transcript[2]
    assert.equal("One moment, I will connect you.", told.text)
    assert.truthy(row.at < told.start_ms)
    local body = json.decode(row.body)
    assert.equal("c1", body.call_id)
    assert.equal("call-1", body.room)
    assert.equal("+911", body.caller)
    assert.equal(70, body.priority)
    assert.equal("asked", body.escalation_reason)
    assert.equal("billing", body.context.queue)
    assert.equal("Asha", body.variables["crm.name"])
    assert.equal("I will get you a colleague.", body.transcript[1].text)
    assert.equal(1, #talk:events("handoff_enqueued"))
  end)

  it("ends in transfer_to_agent when an agent joins, and the hold stops at once", function()
    agent_joins(40000)
    assert.same({ by = "transfer_to_agent" }, run())
    assert.is_true(answer.ok)
    assert.equal("agent-7", talk:events("handoff_agent_joined")[1].data.agent)
    assert.is_true(talk.facts.transfer.was_transferred)
    assert.equal("agent_desk", talk.facts.transfer.transfer_method)
    assert.same({}, talk.leg.queue)
    assert.is_true(talk.leg.left)
    assert.is_nil(talk.leg.hung_up)
  end)

  it("holds with phrases, beyond the longest duration and without the clock of silence", function()
    agent_joins(130000)
    assert.same({ by = "transfer_to_agent" }, run({ max_call_duration_seconds = 30 }))
    local phrases = 0
    for _, said in ipairs(talk.voice.said) do
      phrases = phrases + (said == "Please hold the line." and 1 or 0)
    end
    assert.equal(6, phrases)
  end)

  it("tells the desk when the caller leaves", function()
    talk:leaves(20000)
    assert.same({ by = "customer" }, run())
    assert.is_true(answer.hangup)
    local row = talk.rows[2]
    assert.equal("event", row.kind)
    assert.equal(1, row.n)
    assert.equal("http://api/v1/agent-desk/calls/c1/customer-disconnected", row.url)
  end)

  it("says its closing words when the desk ends it, and keeps the reason", function()
    talk:at(20000, function()
      talk.leg:wire({ type = "data", topic = "desk.end", reason = "timed_out" })
    end)
    assert.same({ by = "bot" }, run())
    assert.equal("timed_out", talk.facts.transfer.transfer_failed_reason)
    local last = talk.facts.transcript[#talk.facts.transcript]
    assert.equal("All our colleagues are busy. Goodbye.", last.text)
    assert.equal("timed_out", talk:events("handoff_failed")[1].data.reason)
  end)

  it("gives up after 300 s without a sign of the desk", function()
    talk:at(100000, function()
      talk.leg:wire({ type = "data", topic = "position", reason = nil })
    end)
    assert.same({ by = "bot" }, run())
    assert.equal("api_silent", talk.facts.transfer.transfer_failed_reason)
    assert.truthy(talk.leg:clock() > 400000 and talk.leg:clock() < 410000)
  end)

  it("has six seconds for its closing words", function()
    talk:at(20000, function()
      talk.leg:wire({ type = "data", topic = "desk.end" })
    end)
    run({ agent_desk = { closing_message = ("goodbye "):rep(60) } })
    assert.truthy(talk.leg:clock() < 20000 + 7200)
  end)

  it("is refused where there is no room, and nothing is written", function()
    talk:leaves(9000)
    run({}, { flow = flow, transport = "cxb" })
    assert.same({ ok = false, reason = "unsupported" }, answer)
    assert.same({}, talk.rows)
    assert.equal("bot: Nobody is there.", talk:lines()[2])
  end)

  it("goes on with the conversation when the disk refuses it", function()
    talk.disk = "no_space"
    talk:leaves(9000)
    run()
    assert.equal("no_space", answer.reason)
    assert.equal("bot: Nobody is there.", talk:lines()[2])
    assert.equal("no_space", talk:events("handoff_failed")[1].data.reason)
  end)

  it("is what transfer_call does for a target of the desk", function()
    agent_joins(9000)
    local ending = run({ transfer_targets = { { id = "d", method = "agent_desk",
      type = "agent_queue", value = "billing", is_default = true } } },
      { room = "call-1", transport = "livekit", flow = function(call)
        answer = call:transfer(nil, "asked")
      end })
    assert.same({ by = "transfer_to_agent" }, ending)
    assert.equal("billing", json.decode(talk.rows[1].body).context.queue)
  end)

  it("of a lost worker is told to the desk by the one who finds its journal", function()
    local desk, record = require("cxb.core.desk"), require("cxb.record")
    agent_joins(9000)
    run()
    local replayed = record.replay({ { kind = "accepted", data = { started_at = 1 } },
      { kind = "handoff", data = talk.facts.handoff } },
      { disconnected_by = "error", error = "worker_lost" })
    talk.sched.run(function()
      desk.lost(replayed.handoff, "s1")
    end)
    local row = talk.rows[#talk.rows]
    assert.equal("http://api/v1/agent-desk/calls/c1/events", row.url)
    assert.equal("core_lost", json.decode(row.body).type)
  end)
end)
