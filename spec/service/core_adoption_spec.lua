-- waits: 20
-- What a lost worker leaves is finished by its neighbours: real workers on one host, kill -9.

local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local World = require "support.world"
local dialler = require "support.dialler"

describe("a lost worker's", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world)
  end)
  after_each(function() world:close() end)

  -- (waits) The file of worker n is held by worker `by`: it lists its rows.
  local function await_rows(by, n, count, timeout_ms)
    return World.wait_until(("%d rows of worker %d"):format(count, n), function()
      local found = {}
      for _, item in ipairs(host:outbox(by)) do
        if item.id:match("^(%d+)%-") == tostring(n) then found[#found + 1] = item end
      end
      return #found == count and found
    end, timeout_ms or 30000)
  end

  it("rows are delivered by a neighbour within 10 s, with the same key and one more attempt",
    function()
      host:start(1)
      host:start(2)
      host:mode("503")
      host:short_call(1)
      local before = World.wait_until("a failed attempt", function()
        local rows = host:outbox(2)
        return rows[1] and rows[1].attempts >= 1 and rows[1].state == "ready" and rows[1]
      end)
      host:kill(1)
      local died = cxb.time.now()
      host:mode("200")
      local delivered = host:delivery(1)
      -- One delay of the outbox may have begun, the longest after so many failures.
      assert.is_true(delivered.at - died <= 10000 + 1000 * 2 ^ (#host:got() - 1))
      local keys = {}
      for _, d in ipairs(host:got()) do keys[d.key] = true end
      assert.same({ ["result:s1"] = true }, keys)
      assert.is_true(#host:got() > before.attempts)
      World.wait_until("the row taken over", function() -- the other's last attempt may have arrived
        return host:metric(2, "cxb_outbox_adopted_total") == 1
      end)
      World.wait_until("the gauge", function()
        return host:metric(2, 'cxb_outbox_rows{kind="result",state="ready"}') == 0
      end)
    end)

  it("journal becomes a result within 10 s, with what was said until then", function()
    host:start(1)
    host:start(2)
    local d = assert(host:call(1))
    d:speak(dialler.tone(400))
    host:session(1)
    host:kill(1)
    local died = cxb.time.now()
    local delivered = host:delivery(1)
    assert.is_true(delivered.at - died <= 10000)
    local result = json.decode(delivered.body)
    assert.equal("worker_lost", result.error)
    assert.equal("error", result.disconnected_by)
    assert.equal(d.stream_id, result.stream_id)
    World.wait_until("the journal's end", function()
      for _, name in ipairs(cxb.fs.list(host.state .. "/journal")) do
        if name:find("%.jnl$") then return false end
      end
      return true
    end)
    assert.equal(1, host:metric(2, "cxb_journal_recovered_total"))
    assert.equal(1, #host:got())
  end)

  it("journal becomes a result though another outbox cannot be read", function()
    host:start(1)
    host:start(2)
    assert(cxb.fs.mkdir(host.state .. "/outbox-9.db"))
    assert(host:call(1))
    host:session(1)
    host:kill(1)
    assert.equal("worker_lost", json.decode(host:delivery(1).body).error)
  end)

  it("journal whose result was committed makes no second one, also when that was delivered",
    function()
      host:start(1)
      local kept = host.dir .. "/kept"
      local d = assert(host:call(1))
      d:speak(dialler.tone(200))
      local names = World.wait_until("the journal", function()
        for _, name in ipairs(cxb.fs.list(host.state .. "/journal")) do
          if name:find("%.jnl$") then return name end
        end
      end)
      assert(os.execute(("cp %s/journal/%s %s"):format(host.state, names, kept)) == 0)
      d:hangup()
      host:delivery(1)
      host:idle(1)
      host:kill(1)
      assert(cxb.fs.rename(kept, host.state .. "/journal/" .. names)) -- as if it died before
      host:start(2)
      World.wait_until("the journal's end", function()
        return not cxb.fs.stat(host.state .. "/journal/" .. names)
      end)
      assert.equal(1, #host:got())
    end)

  it("rows are delivered also when it was told to end and could not get rid of them", function()
    host:start(1)
    host:mode("503")
    host:short_call(1)
    World.wait_until("an attempt", function() return #host:got() >= 1 end)
    host.workers[1]:kill("TERM")
    assert.equal(0, host.workers[1]:wait())
    host:start(2)
    await_rows(2, 1, 1)
    host:mode("200")
    assert.equal("result:s1", host:delivery(1).key)
  end)

  it("outbox goes back to it when it returns, while the API is silent", function()
    host:start(1)
    host:mode("silent")
    host:short_call(1)
    World.wait_until("the first attempt", function() return #host:got() == 1 end)
    host:kill(1)
    host:start(2)
    await_rows(2, 1, 1)
    World.wait_until("the neighbour's attempt", function() return #host:got() >= 2 end)
    host:mode("200")
    host:start(1)
    local delivered = host:delivery(1)
    assert.equal("result:s1", delivered.key)
    host:kill(2) -- whatever happens now happens in worker 1
    World.wait_until("done", function()
      local done = host:outbox(1, "done")[1]
      return done and done.attempts >= 3 and #host:outbox(1) == 0
    end)
  end)

  it("dead rows are still listed and replayed by its neighbour", function()
    host:start(1)
    host:mode("400", 1)
    host:short_call(1)
    World.wait_until("a dead row", function() return host:outbox(1, "dead")[1] end)
    host:kill(1)
    host:start(2)
    local row = await_rows(2, 1, 1)[1]
    assert.equal("dead", row.state)
    assert.equal("HTTP 400", row.last_error)
    assert.equal(200, host:post(2, "/outbox/" .. row.id .. "/replay").status)
    assert.equal("result:s1", host:delivery(1).key)
    assert.equal(404, host:post(2, "/outbox/1-999/replay").status)
    assert.equal(404, host:post(2, "/outbox/nonsense/replay").status)
    for _, method in ipairs({ "GET", "POST" }) do
      assert.equal(403, cxb.http.request({ method = method, url = "http+unix:" .. host:socket(2)
        .. ":/outbox" .. (method == "POST" and "/" .. row.id .. "/replay" or "") }).status)
    end
  end)

  it("damaged journal is set aside and looked at once", function()
    world:write(host.state .. "/journal/bad.jnl", ("no journal "):rep(20))
    host:start(2)
    World.wait_until("it to be set aside", function()
      return cxb.fs.stat(host.state .. "/journal/bad.jnl.corrupt")
    end)
    assert.is_nil(cxb.fs.stat(host.state .. "/journal/bad.jnl"))
    assert.same({}, host:got())
  end)
end)
