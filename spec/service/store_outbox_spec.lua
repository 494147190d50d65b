-- waits: 35
-- The outbox over real HTTP to receivers that fail in the ways receivers do.

local json = require "cjson.safe"
local World = require "support.world"

describe("the outbox", function()
  local world, dir, box, receiver, url

  -- What the receiver does is in the path: /<status>/<how often>[/<Retry-After>], then 200. At
  -- /die it dies without answering, once; /shut is answered 503 until MARK is there.
  local HANDLER = [[
    local count = {}
    return function(req, seen, body)
      local status, times, wait = req.path:match("^/(%w+)/?(%d*)/?(.*)$")
      count[req.path] = (count[req.path] or 0) + 1
      if times ~= "" and count[req.path] > tonumber(times) then return req:respond(200, "{}") end
      if status == "silent" then return cxb.time.sleep(60000) end
      if status == "die" and not io.open(MARK) then
        io.open(MARK, "w"):close()
        cxb.process.kill(cxb.process.pid, "KILL")
        return cxb.time.sleep(60000)
      elseif status == "die" then
        status = 200
      elseif status == "shut" then
        status = io.open(MARK) and 200 or 503
      end
      if wait == "date" then
        wait = os.date("!%a, %d %b %Y %H:%M:%S GMT", math.ceil(cxb.time.now() / 1000) + 2)
      end
      req:respond(tonumber(status), "{}", wait ~= "" and { ["retry-after"] = wait } or nil)
    end]]

  local function receive(port)
    receiver = world:server("tcp:127.0.0.1:" .. port,
      (HANDLER:gsub("MARK", ("%q"):format(dir .. "/mark"))))
    url = "http://127.0.0.1:" .. port
  end

  before_each(function()
    world = World.new()
    dir = world:folder()
    receive(world:port())
    box = assert(cxb.outbox.open(dir .. "/outbox-1.db", {
      headers = function(row)
        return { ["x-cxb-core-secret"] = "hush", ["idempotency-key"] = "mine", ["x-row"] = row.kind }
      end,
    }))
  end)

  after_each(function()
    box:close()
    world:close()
  end)

  local function put(session, path, more)
    local row = { kind = "result", session_id = session, url = url .. path,
      body = json.encode({ session_id = session }) }
    for key, value in pairs(more or {}) do row[key] = value end
    return box:put(row)
  end

  local function state(id)
    for _, name in ipairs({ "ready", "sending", "done", "dead" }) do
      for _, row in ipairs(assert(box:list(name))) do
        if row.id == id then return name, row end
      end
    end
  end

  local function await(id, wanted)
    World.wait_until(wanted, function() return state(id) == wanted end)
  end

  it("delivers a row with its key, the secret of the moment and nothing else of its own", function()
    local id = assert(put("s1", "/200", { headers = { ["x-extra"] = "1" } }))
    await(id, "done")
    local request = receiver.seen()[1]
    assert.equal("POST", request.method)
    assert.equal('{"session_id":"s1"}', request.body)
    assert.equal("result:s1", request.headers["idempotency-key"])
    assert.equal("application/json", request.headers["content-type"])
    assert.equal("cxbrt/" .. cxb.version, request.headers["user-agent"])
    assert.equal("hush", request.headers["x-cxb-core-secret"])
    assert.equal("result", request.headers["x-row"])
    assert.equal("1", request.headers["x-extra"])
    for _, file in ipairs(cxb.fs.list(dir)) do
      assert.is_nil(world:read(dir .. "/" .. file):find("hush", 1, true))
    end
  end)

  it("refuses a second result of a session at the door", function()
    assert(put("s1", "/200"))
    local id, code = put("s1", "/200")
    assert.is_nil(id)
    assert.equal("duplicate", code)
  end)

  it("tries again after 5xx, 408, 425 and 3xx, with the same key", function()
    local ids = {}
    for i, status in ipairs({ "500", "503", "408", "425", "302" }) do
      ids[i] = assert(put("s" .. i, "/" .. status .. "/2"))
    end
    for _, id in ipairs(ids) do await(id, "done") end
    local keys = {}
    for _, request in ipairs(receiver.seen()) do
      local key = request.headers["idempotency-key"]
      keys[key] = (keys[key] or 0) + 1
    end
    assert.same({ ["result:s1"] = 3, ["result:s2"] = 3, ["result:s3"] = 3, ["result:s4"] = 3,
      ["result:s5"] = 3 }, keys)
  end)

  it("buries what is refused for good, says why, and sends it when told to", function()
    local id = assert(put("s1", "/403/1"))
    await(id, "dead")
    local _, row = state(id)
    assert.equal("HTTP 403", row.last_error)
    assert.equal(1, row.attempts)
    assert.equal('{"session_id":"s1"}', box:get(id))
    assert.is_true(box:replay(id))
    await(id, "done")
    assert.same({ nil, "not_found" }, { (box:replay(id)), (select(2, box:replay(id))) })
    local other = assert(put("s2", "/400"))
    await(other, "dead")
    assert.equal(1, box:stats().dead)
    assert.equal(1, box:purge())
    assert.is_nil(state(other))
  end)

  it("counts its rows and attempts by kind", function()
    local function shown(line) return cxb.metrics.render("worker"):find(line, 1, true) end
    await(assert(put("s1", "/403", { kind = "handoff" })), "dead")
    World.wait_until("the gauge", function()
      return shown('cxb_outbox_rows{kind="handoff",state="dead"} 1')
    end)
    assert.truthy(shown('cxb_outbox_attempts_total{kind="handoff",result="dead"} 1'))
  end)

  it("waits as long as it is asked to, in seconds or until a date", function()
    local ids = { assert(put("s1", "/429/1/2")), assert(put("s2", "/503/1/date")) }
    local from = cxb.time.mono()
    for _, id in ipairs(ids) do await(id, "done") end
    assert.is_true(cxb.time.mono() - from >= 1900)
    assert.equal(4, #receiver.seen())
  end)

  it("delivers again what a receiver stored without answering", function()
    local id = assert(put("s1", "/silent/1"))
    await(id, "sending")
    World.wait_until("the request", function() return receiver.seen()[1] end)
    await(assert(put("s2", "/200")), "done") -- others are not held up
    await(id, "done")
    local seen = receiver.seen()
    assert.equal(3, #seen)
    assert.equal(seen[1].body, seen[3].body)
    assert.equal(seen[1].headers["idempotency-key"], seen[3].headers["idempotency-key"])
  end)

  it("keeps rows while nobody listens and delivers them when somebody does", function()
    local id = assert(put("s1", "/die"))
    receiver:wait()
    assert.is_true(receiver.ended)
    local later = assert(put("s2", "/200"))
    World.wait_until("a refused attempt", function()
      local _, row = state(later)
      return row and row.last_error == "connection refused"
    end)
    assert.equal(2, box:stats().ready + box:stats().sending)
    receive(url:match("%d+$"))
    await(id, "done")
    await(later, "done")
    assert.equal(2, #receiver.seen())
  end)

  it("writes to a file address by rename, under the day and the session", function()
    local id = assert(put("s/1", "", { url = "file:" .. dir .. "/results" }))
    await(id, "done")
    local day = cxb.time.iso():sub(1, 10):gsub("-", "/")
    local names = assert(cxb.fs.list(dir .. "/results/" .. day))
    assert.equal(1, #names)
    assert.truthy(names[1]:find("^s_1%x%x%x%x%x%x%x%x%.json$"))
    local text = world:read(dir .. "/results/" .. day .. "/" .. names[1])
    assert.same({ session_id = "s/1" }, json.decode(text))
  end)

  it("tries every row once more when it is flushed", function()
    local id = assert(put("s1", "/shut"))
    World.wait_until("a long wait", function()
      local _, row = state(id)
      return row and row.state == "ready" and row.next_at > cxb.time.iso(cxb.time.now() + 3000)
    end)
    assert(io.open(dir .. "/mark", "w")):close() -- at once: no attempt is under way
    assert.is_true(box:flush(60000))
    assert.equal("done", (state(id)))
  end)

  it("of a killed process is delivered by the next one that opens it", function()
    local path, port = dir .. "/outbox-2.db", url:match("%d+$")
    receiver:kill("KILL")
    receiver:wait()
    world:write(dir .. "/worker.lua", ([[
      local box = assert(cxb.outbox.open(%q))
      for i = 1, 3000 do
        assert(box:put { kind = "result", session_id = "k" .. i, url = %q, body = "{}" })
        cxb.process.print(i .. "\n")
      end
      cxb.time.sleep(600000)]]):format(path, url .. "/200"))
    local worker = world:start({ World.program, dir .. "/worker.lua" })
    World.wait_until("some rows", function() return #worker.log >= 30 end)
    local busy, code = cxb.outbox.open(path)
    assert.is_nil(busy)
    assert.equal("busy", code)
    worker:kill("KILL")
    worker:wait()
    local said = tonumber(worker.log[#worker.log])
    receive(port)
    local heir = assert(cxb.outbox.open(path))
    World.wait_until("all rows", function()
      return heir:stats().ready + heir:stats().sending == 0
    end)
    local keys, count = {}, 0
    for _, request in ipairs(receiver.seen()) do
      local key = request.headers["idempotency-key"]
      count = count + (keys[key] and 0 or 1)
      keys[key] = true
    end
    assert.is_true(count >= said)
    for i = 1, said do assert.is_true(keys["result:k" .. i]) end
    heir:close()
  end)

  it("works on a row before it is sent: claim, keep, finish, once", function()
    assert.same({}, { box:claim_analysis() })
    local id = assert(put("s1", "/200", { work = "analysis qc" }))
    assert.equal("analysis", box:list()[1].state)
    assert.equal(1, box:stats().analysis)
    local claim = assert(box:claim_analysis())
    assert.same({ id = id, session_id = "s1", attempts = 1, work = "analysis qc",
      body = '{"session_id":"s1"}' }, claim)
    assert.same({}, { box:claim_analysis() })
    assert.is_true(box:keep_analysis(id, "qc"))
    assert.same({}, receiver.seen())
    assert.is_true(box:finish(id, '{"session_id":"s1","qc_analysis":{}}'))
    await(id, "done")
    assert.equal('{"session_id":"s1","qc_analysis":{}}', receiver.seen()[1].body)
    assert.same({ nil, "not_found" }, { (box:finish(id)), (select(2, box:finish(id))) })
    local other = assert(put("s2", "/200", { work = "x" }))
    assert(box:claim_analysis(0))
    assert.equal(2, assert(box:claim_analysis(0)).attempts)
    assert.is_true(box:finish(other))
    await(other, "done")
    assert.equal('{"session_id":"s2"}', receiver.seen()[2].body)
  end)

  it("asks the newest generation for headers, after a reload too", function()
    local newer = assert(cxb.outbox.open(dir .. "/outbox-1.db", {
      headers = function() return { ["x-cxb-core-secret"] = "newer" } end,
    }))
    await(assert(put("s1", "/200")), "done")
    assert.equal("newer", receiver.seen()[1].headers["x-cxb-core-secret"])
    newer:close()
    await(assert(put("s2", "/200")), "done")
    assert.equal("hush", receiver.seen()[2].headers["x-cxb-core-secret"])
  end)

  it("does not send without its headers when their function fails", function()
    local newer = assert(cxb.outbox.open(dir .. "/outbox-1.db", {
      headers = function() error("no secret yet") end,
    }))
    local id = assert(put("s1", "/200"))
    World.wait_until("two attempts", function()
      local _, row = state(id)
      return row and row.attempts >= 2
    end)
    assert.same({}, receiver.seen())
    newer:close()
    await(id, "done")
  end)
end)
