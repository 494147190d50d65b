-- stores: both
-- stores: both
local support = require("support.world")
local process = require("support.api_process")
local json = require("cxb.json")

-- Sends a request, waits until the answer lies at the socket, and does not read it.
local unread = [[
import socket, select, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
body = sys.argv[3].encode()
s.sendall(("POST /api/v1/call-results HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
  "X-CXB-Core-Secret: %s\r\nContent-Length: %d\r\n\r\n" % (sys.argv[2], len(body))).encode() + body)
select.select([s], [], [])
print("answered", flush=True)
sys.stdin.read()
]]

describe("results", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function post(body)
    return api:ask("POST", "/api/v1/call-results", { body = body })
  end

  local function call(id)
    return api:ask("GET", "/api/v1/calls/" .. id).answer
  end

  local function result(id, more)
    local out = {
      session_id = id, bot_id = "demo", caller_id = "+919876543210", disconnected_by = "customer",
      call_duration_seconds = 42.3, started_at = cxb.time.iso(),
      transcript = { { turn = 0, role = "bot", text = "Hello", start_ms = 1, end_ms = 2 } },
      events = json.array(),
    }
    for name, value in pairs(more or {}) do
      out[name] = value
    end
    return out
  end

  it("that arrive a thousand times at once leave one call, written once", function()
    local body = json.encode(result("thousand"))
    local answers = process.at_once(1000, function()
      local answer
      repeat
        answer = api:ask("POST", "/api/v1/call-results",
          { body = body, headers = { ["content-type"] = "application/json" } })
      until answer.status ~= 0 or answer.code ~= "refused"
      return answer
    end)
    local fresh = 0
    for _, answer in ipairs(answers) do
      assert.equal(200, answer.status)
      fresh = fresh + (answer.answer.duplicate and 0 or 1)
    end
    assert.equal(1, fresh)
    assert.equal(1, call("thousand").v)
  end)

  it("that differ and arrive at once are all merged", function()
    local answers = process.at_once(40, function(i)
      return post(result("merge", { ["field" .. i] = i }))
    end)
    for _, answer in ipairs(answers) do
      assert.same({ 200, false }, { answer.status, answer.answer.duplicate })
    end
    local extra = call("merge").extra
    for i = 1, 40 do
      assert.equal(i, extra["field" .. i])
    end
  end)

  it("stored when the API is killed before it is heard are one record after the next try", function()
    local body = json.encode(result("killed"))
    local client = world:start({ "python3", "-c", unread, api.socket, process.SECRET, body })
    process.wait_until("the answer", function()
      return client.log[1] == "answered"
    end)
    api.process:kill("KILL")
    api.process:wait()
    client:kill("KILL")
    api:run()
    local kept = call("killed")
    assert.equal("completed", kept.status)
    local again = api:ask("POST", "/api/v1/call-results",
      { body = body, headers = { ["content-type"] = "application/json" } })
    assert.same({ 200, true }, { again.status, again.answer.duplicate })
    assert.same(kept, call("killed"))
  end)

  it("acknowledged before a kill at any moment are there afterwards, each once", function()
    for round = 1, 8 do
      local acknowledged = {}
      local senders = {}
      for sender = 1, 4 do
        senders[sender] = cxb.task.spawn("sender", function()
          for n = 1, 1000 do
            local id = ("k%d-%d-%d"):format(round, sender, n)
            if post(result(id)).status ~= 200 then
              return id
            end
            acknowledged[#acknowledged + 1] = id
          end
        end)
      end
      process.wait_until("some acknowledged", function()
        return #acknowledged >= round * 3
      end)
      api.process:kill("KILL")
      api.process:wait()
      local unanswered = {}
      for sender = 1, 4 do
        unanswered[sender] = senders[sender]:wait(20000)
      end
      api:run()
      for _, id in ipairs(acknowledged) do
        assert.equal("completed", call(id).status, id)
      end
      for _, id in ipairs(unanswered) do
        assert.equal(200, post(result(id)).status)
        assert.equal("completed", call(id).status)
        assert.is_true(post(result(id)).answer.duplicate == false or call(id).v <= 2)
      end
    end
  end)

  it("come back as they were sent", function()
    local sent = result("whole", {
      answered_at = "2026-04-24T09:00:01.120Z", started_at = "2026-04-24T09:00:00.000Z",
      ended_at = "2026-04-24T09:00:43.420Z", has_customer_message = true, was_transferred = false,
      latency = { turns = 5, p50_ms = 820 }, usage_metrics = { stt_seconds = 41.5 },
      intents = { { t_ms = 2650, data = { list = json.array() } } },
      transcript = { { role = "customer", text = "जब — \"é\" \\ \n 😀" } },
    })
    assert.equal(200, post(sent).status)
    local kept = call("whole")
    for name, value in pairs(sent) do
      assert.equal(json.encode({ value }):gsub("[{}]", ""):len(),
        json.encode({ kept[name] }):gsub("[{}]", ""):len(), name)
      assert.same(value, kept[name], name)
    end
    assert.equal("2026-04-24T09:00:43.420Z", kept.completed_at)
  end)

  -- More than 16 MiB, a piece at a time.
  local function endless()
    local piece, left = ("x"):rep(1024 * 1024), 17
    return function()
      left = left - 1
      return left == 16 and '{"session_id":"bad","x":"' or left >= 0 and piece or nil
    end
  end

  it("that nobody can use are refused, with nothing stored", function()
    for _, case in ipairs({
      { 403, { secret = false, body = { session_id = "bad" } } },
      { 400, { body = "{", headers = { ["content-type"] = "application/json" } } },
      { 400, { body = "[]", headers = { ["content-type"] = "application/json" } } },
      { 415, { body = "x=1", headers = { ["content-type"] = "application/x-www-form-urlencoded" } } },
      { 422, { body = { bot_id = "demo" } } },
      { 422, { body = { session_id = "a b" } } },
      { 413, { body = endless(), headers = { ["content-type"] = "application/json" } } },
    }) do
      assert.equal(case[1], api:ask("POST", "/api/v1/call-results", case[2]).status)
    end
    assert.equal(404, api:ask("GET", "/api/v1/calls/bad").status)
    assert.equal(405, api:ask("GET", "/api/v1/call-results").status)
  end)

  it("of 8 MiB are kept", function()
    local text = ("word "):rep(1600)
    local turns = {}
    for i = 1, 1000 do
      turns[i] = { turn = i, role = "bot", text = text }
    end
    local body = json.encode(result("large", { transcript = turns }))
    assert.is_true(#body > 7 * 1024 * 1024)
    assert.equal(200, api:ask("POST", "/api/v1/call-results",
      { body = body, headers = { ["content-type"] = "application/json" } }).status)
    assert.equal(1000, #call("large").transcript)
    assert.is_nil(api:ask("GET", "/api/v1/calls?limit=200").body:find("word word", 1, true))
  end)
end)
