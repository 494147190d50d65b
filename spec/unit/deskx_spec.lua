-- stores: both
local Desk = require("spec.support.desk")
local api = require("spec.support.api")

-- With LiveKit the agent has to join; it is not called in these specs.
local livekit = {
  LIVEKIT_URL = "ws://127.0.0.1:1", LIVEKIT_API_KEY = "key", LIVEKIT_API_SECRET = ("l"):rep(32),
}

describe("a call at the Agent Desk", function()
  local desk

  local function start(settings)
    desk = Desk.new(settings)
    desk:agent("ann")
    desk:agent("bob")
    desk:person("sue", "supervisor")
  end

  before_each(function()
    api.install()
    start()
  end)

  after_each(api.restore)

  local function accept(name, id)
    return desk:as(name, "POST", "/calls/" .. id .. "/accept")
  end

  local function on(name, id, what, body)
    return desk:as(name, "POST", "/calls/" .. id .. "/" .. what, body)
  end

  local function hear(event, room, participant)
    require("services.desk.intake").hear(desk.app, { event = event, room = { name = room },
      participant = participant })
  end

  local function queue(name)
    local ids = {}
    for i, call in ipairs(desk:as(name, "GET", "/queue").answer.items) do
      ids[i] = call.call_id
    end
    return table.concat(ids, " ")
  end

  it("waits in the queue once, however often it is told", function()
    assert.same({ status = "queued", call_id = "c1", position = 1 }, desk:enqueue("c1"))
    assert.same({ status = "queued", call_id = "c2", position = 2 }, desk:enqueue("c2"))
    assert.same({ status = "queued", call_id = "c1", position = 1 }, desk:enqueue("c1"))
    assert.equal("c1 c2", queue("ann"))
    assert.equal(200, desk:core("POST", "/calls/c1/customer-disconnected", { seq = 1 }).status)
    assert.same({ status = "ended", call_id = "c1" }, desk:enqueue("c1"))
  end)

  it("is taken by priority, then by how long it waits", function()
    desk:enqueue("low", { priority = 10 })
    desk:pass(1)
    desk:enqueue("first")
    desk:pass(1)
    desk:enqueue("second")
    desk:enqueue("high", { priority = 90 })
    assert.equal("high first second low", queue("ann"))
  end)

  it("keeps what is well formed of a handoff", function()
    desk:enqueue("c1", { priority = 500, language = 5, transcript = { { role = "bot", text = "hi" },
      "x", { text = 5 } }, variables = { a = 1 }, unknown = true })
    local call = desk:call("c1")
    assert.same({ 50, nil, 1, { a = 1 } }, { call.priority, call.language, #call.transcript,
      call.variables })
    assert.equal(422, desk:core("POST", "/enqueue", { call_id = "../x" }).status)
    assert.equal(403, desk:as("ann", "POST", "/enqueue", { call_id = "c2" }).status)
  end)

  it("is won by one of two who accept it", function()
    desk:enqueue("c1")
    local one, two = accept("ann", "c1"), accept("bob", "c1")
    assert.same({ 200, 409, "already_taken" }, { one.status, two.status, two.answer.error })
    assert.equal(desk.ids.ann, desk:call("c1").agent_id)
    assert.equal("on_call", desk:status("ann"))
    assert.equal("available", desk:status("bob"))
    assert.equal("", queue("bob"))
  end)

  it("is what its agent is on since it was accepted, for the agent and for supervisors", function()
    desk:enqueue("c1")
    desk:pass(7)
    accept("ann", "c1")
    local assigned = desk:as("ann", "GET", "/calls/c1").answer.assigned_at
    local me = desk:as("ann", "GET", "/status").answer
    assert.same({ "on_call", assigned }, { me.status, me.since })
    assert.equal(assigned, desk:as("sue", "GET", "/supervisor/dashboard").answer.agents[1].since)
    desk:pass(7)
    on("ann", "c1", "hangup")
    assert.not_equal(assigned, desk:as("ann", "GET", "/status").answer.since)
  end)

  it("is taken by an agent who is available and has none, and not after the caller left", function()
    desk:enqueue("c1")
    desk:enqueue("c2")
    desk:enqueue("c3")
    desk:as("bob", "POST", "/status", { status = "busy" })
    assert.equal("not_available", accept("bob", "c1").answer.error)
    accept("ann", "c1")
    assert.equal("already_on_call", accept("ann", "c2").answer.error)
    desk:core("POST", "/calls/c3/customer-disconnected")
    desk:as("bob", "POST", "/status", { status = "available" })
    local late = accept("bob", "c3")
    assert.same({ 409, "abandoned" }, { late.status, desk:state("c3") })
    assert.equal(404, accept("bob", "nothing").status)
  end)

  it("needs no room where there is no LiveKit: it is active, without audio", function()
    desk:enqueue("c1", { room = "call-1" })
    local answer = accept("ann", "c1").answer
    assert.same({ "active", "livekit_not_configured" }, { answer.call.state, answer.media_error })
  end)

  it("gives its agent a token for the room, and is active once the agent is there", function()
    start(livekit)
    desk:enqueue("c1", { room = "call-1" })
    local answer = accept("ann", "c1").answer
    assert.same({ "assigned", "ws://127.0.0.1:1", "call-1" }, { answer.call.state,
      answer.media.server_url, answer.media.room_name })
    local claims = require("cxb.jwt").verify(answer.media.token, livekit.LIVEKIT_API_SECRET,
      { now = api.now / 1000 })
    assert.same({ "agent-" .. desk.ids.ann, "call-1", true }, { claims.sub, claims.video.room,
      claims.video.canPublish })
    hear("participant_joined", "other", { identity = "agent-" .. desk.ids.ann })
    assert.equal("assigned", desk:state("c1"))
    hear("participant_joined", "call-1", { identity = "agent-" .. desk.ids.ann })
    assert.equal("active", desk:state("c1"))
    hear("participant_left", "call-1", { identity = "agent-" .. desk.ids.ann })
    assert.equal("disconnected", desk:status("ann"))
    hear("participant_joined", "call-1", { identity = "agent-" .. desk.ids.ann })
    assert.equal("on_call", desk:status("ann"))
    hear("participant_left", "call-1", { identity = "sip_1", kind = "SIP" })
    assert.equal("wrap_up", desk:state("c1"))
  end)

  it("goes on to wrap-up and to its end with a disposition, and into the history", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    desk:pass_with(30, "ann")
    assert.equal("wrap_up", on("ann", "c1", "hangup").answer.state)
    assert.equal("wrap_up", desk:status("ann"))
    assert.equal("status_locked", desk:as("ann", "POST", "/status", { status = "away" }).answer.error)
    desk:pass_with(10, "ann")
    assert.equal(422, on("ann", "c1", "end", { notes = "x" }).status)
    assert.equal("completed", on("ann", "c1", "end", { disposition = "SOLVED" }).answer.state)
    assert.equal("available", desk:status("ann"))
    local history = desk.app.store:get("calls", "agent-c1")
    assert.same({ "agent", "s-c1", "completed", "SOLVED", 30, 10, desk.ids.ann },
      { history.call_type, history.parent_session_id, history.status, history.disposition,
        history.call_duration_seconds, history.wrap_up_seconds, history.agent_id })
  end)

  it("is ended in one step by who has it, nobody else", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    local ended = { disposition = "SOLVED" }
    for _, what in ipairs({ "hangup", "end", "reject" }) do
      assert.equal(404, on("bob", "c1", what, what == "end" and ended or nil).status)
    end
    assert.equal(404, desk:as("bob", "GET", "/calls/c1").status)
    assert.equal(200, desk:as("sue", "GET", "/calls/c1").status)
    assert.equal("completed", on("ann", "c1", "end", ended).answer.state)
    assert.equal(409, on("ann", "c1", "end", ended).status)
  end)

  it("that is rejected is first in the queue again, not for who rejected it", function()
    start(livekit)
    desk:enqueue("high", { priority = 100 })
    desk:enqueue("c1", { room = "r" })
    accept("ann", "c1")
    assert.equal("waiting", on("ann", "c1", "reject").answer.state)
    assert.equal("high", queue("ann"))
    assert.equal("c1 high", queue("bob"))
    assert.equal("available", desk:status("ann"))
  end)

  it("that is declined is hidden from this agent only", function()
    desk:enqueue("c1")
    assert.equal(200, on("ann", "c1", "decline").status)
    assert.equal(200, on("ann", "c1", "decline").status)
    assert.same({ "", "c1", "c1" }, { queue("ann"), queue("bob"), queue("sue") })
    assert.equal(1, #desk:call("c1").declined_by)
  end)

  it("is shown to agents of its language first, to all after 30 s", function()
    desk:agent("hari", { "hi" })
    desk:enqueue("c1", { language = "hi-IN" })
    assert.same({ "", "c1" }, { queue("ann"), queue("hari") })
    desk:pass_with(29, "ann", "bob", "hari")
    assert.equal("", queue("ann"))
    desk:pass_with(1, "ann")
    assert.equal("c1", queue("ann"))
  end)

  it("waits 180 s at most", function()
    desk:as("ann", "POST", "/status", { status = "busy" })
    desk:enqueue("c1")
    desk:pass_with(179, "ann")
    assert.equal("waiting", desk:state("c1"))
    desk:pass_with(1, "ann")
    assert.same({ "timed_out", "wait_timeout" }, { desk:state("c1"), desk:call("c1").end_reason })
    assert.equal("failed", desk.app.store:get("calls", "agent-c1").status)
  end)

  it("that waited too long when its agent did not join is offered to nobody else", function()
    start(livekit)
    desk:enqueue("c1", { room = "r" })
    desk:pass_with(170, "ann", "bob")
    accept("ann", "c1")
    desk:pass_with(20, "ann", "bob")
    assert.equal("timed_out", desk:state("c1"))
  end)

  it("waits 45 s when all agents are offline or away", function()
    desk:as("ann", "POST", "/status", { status = "away" })
    desk:as("bob", "POST", "/status/offline")
    desk:enqueue("c1")
    desk:pass_with(46, "ann")
    assert.same({ "timed_out", "no_agent" }, { desk:state("c1"), desk:call("c1").end_reason })
    desk:enqueue("c2")
    desk:pass_with(30, "ann")
    desk:as("ann", "POST", "/status", { status = "available" })
    desk:pass_with(10, "ann")
    desk:as("ann", "POST", "/status", { status = "away" })
    desk:pass_with(40, "ann")
    assert.equal("waiting", desk:state("c2"))
    desk:pass_with(7, "ann")
    assert.equal("timed_out", desk:state("c2"))
  end)

  it("that every agent here declined ends 10 s later", function()
    desk:enqueue("c1")
    on("ann", "c1", "decline")
    desk:pass_with(20, "ann", "bob")
    assert.equal("waiting", desk:state("c1"))
    on("bob", "c1", "decline")
    desk:pass_with(10, "ann", "bob")
    assert.equal("waiting", desk:state("c1"))
    desk:pass_with(1, "ann", "bob")
    assert.equal("declined", desk:state("c1"))
  end)

  it("whose agent does not join in 20 s is first in the queue again, the agent away", function()
    start(livekit)
    desk:enqueue("c1", { room = "r" })
    accept("ann", "c1")
    desk:pass_with(19, "ann", "bob")
    assert.equal("assigned", desk:state("c1"))
    desk:pass_with(1, "ann", "bob")
    assert.same({ "waiting", "away" }, { desk:state("c1"), desk:status("ann") })
    assert.equal("c1", queue("bob"))
  end)

  it("whose wrap-up lasts 120 s ends by itself; three times it can be a minute longer", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    on("ann", "c1", "hangup")
    desk:pass_with(119, "ann")
    for n = 1, 3 do
      local draft = desk:as("ann", "PUT", "/calls/c1/wrap-up",
        { notes = "n" .. n, disposition = "SOLD", extend = true })
      assert.same({ 200, n }, { draft.status, draft.answer.extensions })
    end
    assert.equal("extensions_used",
      desk:as("ann", "PUT", "/calls/c1/wrap-up", { extend = true }).answer.error)
    desk:pass_with(180, "ann")
    assert.equal("wrap_up", desk:state("c1"))
    desk:pass_with(1, "ann")
    local call = desk:call("c1")
    assert.same({ "completed", "WRAP_UP_TIMEOUT", "n3", "available" }, { call.state,
      call.disposition, call.notes, desk:status("ann") })
    assert.equal("SOLD", call.events[#call.events].drafted)
  end)

  it("whose agent's browser is killed is first in the queue again when the grace is over", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    desk:pass_with(45, "bob")
    assert.equal("disconnected", desk:status("ann"))
    desk:pass_with(59, "bob")
    assert.equal("active", desk:state("c1"))
    desk:pass_with(2, "bob")
    assert.same({ "waiting", "offline" }, { desk:state("c1"), desk:status("ann") })
    assert.equal("c1", queue("bob"))
    assert.equal("active", accept("bob", "c1").answer.call.state)
  end)

  it("stays with an agent whose browser comes back within the grace", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    desk:as("ann", "POST", "/status/offline")
    desk:pass_with(50, "bob")
    assert.equal("disconnected", desk:status("ann"))
    assert.same({ "on_call", "c1" }, (function(answer)
      return { answer.status, answer.call_id }
    end)(desk:as("ann", "POST", "/status/heartbeat").answer))
    assert.equal("c1", desk:as("ann", "GET", "/calls/current").answer.call.call_id)
    desk:pass_with(100, "ann", "bob")
    assert.equal("active", desk:state("c1"))
  end)

  it("in wrap-up needs no room: its agent may leave it and has the whole time to write", function()
    start(livekit)
    desk:enqueue("c1", { room = "r" })
    accept("ann", "c1")
    local ann = { identity = "agent-" .. desk.ids.ann }
    hear("participant_joined", "r", ann)
    hear("participant_left", "r", { identity = "sip_1", kind = "SIP" })
    hear("participant_left", "r", ann)
    assert.equal("wrap_up", desk:status("ann"))
    desk:pass_with(100, "ann")
    assert.equal("wrap_up", desk:state("c1"))
  end)

  it("in wrap-up closes by itself when its agent is gone past the grace", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    desk:core("POST", "/calls/c1/customer-disconnected")
    assert.equal("wrap_up", desk:state("c1"))
    desk:as("ann", "POST", "/status/offline")
    desk:pass_with(61, "bob")
    assert.same({ "completed", "WRAP_UP_TIMEOUT" }, { desk:state("c1"),
      desk:call("c1").disposition })
  end)

  it("goes back to the queue with a note, and to a number only where there is a room", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    local sip = on("ann", "c1", "transfer", { kind = "sip", number = "+14155550100" })
    assert.same({ 502, "active" }, { sip.status, desk:state("c1") })
    assert.equal(422, on("ann", "c1", "transfer", { kind = "sip", number = "112" }).status)
    assert.equal(422, on("ann", "c1", "transfer", { kind = "sip" }).status)
    local back = on("ann", "c1", "transfer", { kind = "queue", note = "wants German" })
    assert.same({ "waiting", "wants German" }, { back.answer.state, back.answer.transfer.note })
    assert.equal("available", desk:status("ann"))
  end)

  it("is told once of each numbered message", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    local lines = { seq = 7, transcript = { { role = "customer", text = "one" } } }
    for n = 1, 3 do
      local answer = desk:core("POST", "/calls/c1/transcript", lines).answer
      assert.equal(n > 1, answer.duplicate)
    end
    desk:core("POST", "/calls/c1/transcript", { transcript = { { role = "agent", text = "two" } } })
    desk:core("POST", "/calls/c1/transcript", { transcript = { { role = "agent", text = "two" } } })
    desk:core("POST", "/calls/c1/events", { seq = 1, type = "core_lost" })
    desk:core("POST", "/calls/c1/events", { seq = 1, type = "core_lost" })
    desk:core("POST", "/calls/c1/recording", { recording_key = "a/b.wav" })
    local call, lost = desk:call("c1"), 0
    for _, event in ipairs(call.events) do
      lost = lost + (event.type == "core_lost" and 1 or 0)
    end
    assert.same({ 2, 1, "a/b.wav" }, { #call.transcript, lost, call.recording_key })
    assert.equal(404, desk:core("POST", "/calls/nothing/events", { seq = 1, type = "x" }).status)
    assert.equal(404, desk:core("POST", "/calls/nothing/customer-disconnected").status)
  end)

  it("is linked to the result of the bot's call", function()
    local service = require("services.desk")
    desk:enqueue("c1")
    assert.is_true(service.link(desk.app, { _id = "s-c1", status = "completed",
      disposition = "HANDED_OVER", transfer_method = "agent_desk" }))
    assert.equal("HANDED_OVER", desk:call("c1").bot_call.disposition)
    assert.is_true(service.link(desk.app, { _id = "other" }))
  end)

  it("is seen, joined and ended by supervisors", function()
    start(livekit)
    desk:enqueue("c1", { room = "r" })
    desk:enqueue("c2", { room = "r2" })
    accept("ann", "c1")
    local base = "/supervisor/calls/"
    assert.equal(409, desk:as("sue", "POST", base .. "c2/listen").status)
    assert.equal(403, desk:as("bob", "POST", base .. "c1/listen").status)
    local listen = desk:as("sue", "POST", base .. "c1/listen").answer
    local claims = require("cxb.jwt").verify(listen.media.token, livekit.LIVEKIT_API_SECRET,
      { now = api.now / 1000 })
    assert.same({ "supervisor-" .. desk.ids.sue, false, true }, { claims.sub,
      claims.video.canPublish, claims.video.hidden })
    assert.equal("whisper", desk:as("sue", "POST", base .. "c1/whisper").answer.mode)
    accept("bob", "c2")
    assert.equal("already_supervising",
      desk:as("sue", "POST", base .. "c2/barge-in").answer.error)
    hear("participant_left", "r", { identity = "supervisor-" .. desk.ids.sue })
    assert.equal("barge", desk:as("sue", "POST", base .. "c2/barge-in").answer.mode)
    local board = desk:as("sue", "GET", "/supervisor/dashboard").answer
    assert.same({ "on_call", "on_call" }, { board.agents[1].status, board.agents[2].status })
    assert.equal(2, #board.calls)
    assert.equal("force_ended",
      desk:as("sue", "POST", base .. "c1/force-end", { reason = "test" }).answer.state)
    assert.equal("available", desk:status("ann"))
  end)

  it("that a supervisor ends while they talk leaves the agent in wrap-up", function()
    desk:enqueue("c1")
    accept("ann", "c1")
    local path = "/supervisor/calls/c1/force-end"
    assert.equal("wrap_up", desk:as("sue", "POST", path, { reason = "x" }).answer.state)
    assert.equal("wrap_up", desk:as("sue", "POST", path).answer.state)
    on("ann", "c1", "end", { disposition = "D" })
    assert.equal(409, desk:as("sue", "POST", path, { reason = "x" }).status)
  end)

  it("is counted in the figures of its day and its agent", function()
    desk:enqueue("c1")
    desk:pass_with(10, "ann", "bob")
    accept("ann", "c1")
    desk:pass_with(30, "ann", "bob")
    on("ann", "c1", "hangup")
    desk:pass_with(10, "ann", "bob")
    on("ann", "c1", "end", { disposition = "D" })
    desk:enqueue("c2")
    desk:core("POST", "/calls/c2/customer-disconnected")
    desk:enqueue("c3")
    local all = desk:as("sue", "GET", "/metrics").answer
    assert.same({ 3, 1, 1, 10, 0.5, 0.5 }, { all.today_calls, all.answered, all.abandoned,
      all.average_wrap_up_seconds, all.abandon_rate, all.service_level })
    assert.same({ waiting = 1, active = 0 }, all.queue)
    assert.same({ available = 2, busy = 0 }, all.agents)
    local own = desk:as("ann", "GET", "/me/metrics").answer
    assert.same({ 1, 30, 10 }, { own.today_calls, own.average_handle_seconds,
      own.average_wait_seconds })
    assert.equal(0, desk:as("bob", "GET", "/me/metrics").answer.calls)
    local past = desk:as("sue", "GET", "/metrics?from=2020-01-01&to=2020-01-02").answer
    assert.same({ 0, 3 }, { past.calls, past.today_calls })
  end)

  it("is not for who was switched off meanwhile", function()
    desk:person("adam", "admin")
    desk:enqueue("c1")
    assert.equal(200, desk:as("adam", "POST", "/api/v1/users/" .. desk.ids.bob .. "/deactivate").status)
    local board = desk:as("sue", "GET", "/supervisor/dashboard").answer
    assert.same({ "available", "offline" }, { board.agents[1].status, board.agents[2].status })
    assert.equal(401, accept("bob", "c1").status)
    accept("ann", "c1")
    desk:person("root", "super_admin")
    local removed = desk:as("root", "DELETE", "/api/v1/users/" .. desk.ids.ann)
    assert.same({ 409, "on_call" }, { removed.status, removed.answer.error })
  end)

  it("goes on by its own timers while the cache is away", function()
    start(livekit)
    desk:enqueue("c1", { room = "r" })
    accept("ann", "c1")
    local gone = { code = "unavailable", message = "gone" }
    local function refuse()
      return nil, gone
    end
    local broken = { prefix = "x", get = refuse, call = refuse, script = refuse, add = refuse, del = refuse,
      publish = refuse }
    require("services.system.caches").use(desk.app, broken, desk.app.near_cache)
    assert.same({ 503, "cache_unavailable" }, (function(req)
      return { req.status, req.answer.error }
    end)(desk:as("bob", "POST", "/status/heartbeat")))
    assert.equal("queued", desk:enqueue("c2").status)
    desk:pass(20)
    assert.equal("waiting", desk:state("c1"))
    desk:pass(180)
    assert.same({ "timed_out", "timed_out" }, { desk:state("c1"), desk:state("c2") })
  end)
end)

describe("any order of events at the Agent Desk", function()
  local states = require("services.desk.states")
  local join_limit = (20 + 10) * 1000 -- and the longest step of the clock
  local wait_limit = (180 + 20 + 2) * 1000 -- the longest wait, an agent who does not join, ticks

  after_each(api.restore)

  local function one(list)
    return list[math.random(#list)]
  end

  local function check(desk, calls, told)
    local busy = {}
    for _, id in ipairs(calls) do
      local call = desk:call(id)
      assert(states.after[call.state] or states.is_finished(call.state), told)
      if call.state == "waiting" then
        assert(api.now - call.waiting_from <= wait_limit, told .. ": " .. id .. " waits too long")
      elseif call.state == "assigned" then
        assert(api.now - call.assigned_at <= join_limit, told .. ": " .. id .. " is not joined")
      end
      if call.state ~= "waiting" and not states.is_finished(call.state) then
        assert(not busy[call.agent_id], told .. ": an agent has two calls")
        busy[call.agent_id] = true
      end
    end
  end

  local function act(desk, calls, agents)
    local agent, id = one(agents), one(calls)
    local path = "/calls/" .. id .. "/"
    local choices = {
      function() desk:as(agent, "POST", path .. "accept") end,
      function() desk:as(agent, "POST", path .. "accept") end,
      function() desk:as(agent, "POST", path .. "decline") end,
      function() desk:as(agent, "POST", path .. "reject") end,
      function() desk:as(agent, "POST", path .. "hangup") end,
      function() desk:as(agent, "POST", path .. "end", { disposition = "D" }) end,
      function() desk:as(agent, "PUT", path .. "wrap-up", { extend = true }) end,
      function() desk:as(agent, "POST", path .. "transfer", { kind = "queue" }) end,
      function() desk:as(agent, "POST", "/status", { status = one({ "available", "away", "busy" }) }) end,
      function() desk:as(agent, "POST", "/status", { status = "available" }) end,
      function() desk:as(agent, "POST", "/status/heartbeat", { in_room = math.random(2) == 1 }) end,
      function() desk:as(agent, "POST", "/status/offline") end,
      function() desk:core("POST", path .. "customer-disconnected") end,
      function() desk:core("POST", path .. "events", { type = "core_lost" }) end,
      function() desk:enqueue(id) end,
      function()
        require("services.desk.intake").hear(desk.app, { room = { name = "room-" .. id },
          event = one({ "participant_joined", "participant_left" }),
          participant = { identity = "agent-" .. desk.ids[agent] } })
      end,
      function() desk:as("sue", "POST", "/supervisor/calls/" .. id .. "/force-end", { reason = "r" }) end,
    }
    -- What ends a call at once is rare, or little else would be seen.
    local n = math.random(#choices)
    if (n == 13 or n == 17) and math.random(6) > 1 then n = 1 end
    choices[n]()
  end

  it("leaves no caller waiting for ever and no agent with two calls", function()
    local seed = math.floor(cxb.time.now() % 1e6)
    for round = 1, 400 do
      api.install()
      math.randomseed(seed + round)
      local desk = Desk.new(round % 2 == 0 and livekit or nil)
      local agents, calls, over, serial = { "ann", "bob", "cid" }, {}, {}, 5
      for _, name in ipairs(agents) do desk:agent(name) end
      desk:person("sue", "supervisor")
      for n = 1, 5 do
        calls[n] = "c" .. n
        desk:enqueue(calls[n], { room = "room-" .. calls[n], priority = math.random(0, 100) })
      end
      local told = ("seed %d, round %d"):format(seed, round)
      for _ = 1, 120 do
        for _ = 1, math.random(0, 3) do act(desk, calls, agents) end
        desk:pass(one({ 1, 1, 1, 2, 5, 10 }))
        check(desk, calls, told)
        for n, id in ipairs(calls) do
          if states.is_finished(desk:state(id)) then
            over[#over + 1], serial = id, serial + 1
            calls[n] = "c" .. serial
            desk:enqueue(calls[n], { room = "room-" .. calls[n], priority = math.random(0, 100) })
          end
        end
      end
      -- From here on nobody does anything any more.
      desk:pass(45 + 60 + 180 + 20 + 5, function() check(desk, calls, told) end)
      assert(#over > 2, told .. ": little happened")
      for _, id in ipairs(calls) do over[#over + 1] = id end
      for _, id in ipairs(over) do
        assert(states.is_finished(desk:state(id)), ("%s: %s is %s"):format(told, id, desk:state(id)))
        assert(desk.app.store:get("calls", "agent-" .. id), told)
      end
      api.restore()
    end
  end)
end)
