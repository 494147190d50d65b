local support = require("support.world")

describe("the supervisor", function()
  local supervisor = require("cxbctl.supervisor")
  local pids = require("cxbctl.pids")
  local world = support.new()
  local sup, lines

  before_each(function()
    lines = {}
    sup = supervisor.new({
      log_dir = world:folder(),
      on_line = function(name, line) lines[#lines + 1] = name .. ": " .. line end,
      on_change = function() end,
    })
  end)
  after_each(function()
    sup:signal(".", "KILL")
    assert.is_true(sup:wait_stopped(".", 60000))
    world:close()
  end)

  local function add(name, script, ready)
    assert(sup:add({ name = name, args = { "sh", "-c", script }, env = {}, ready = ready }))
    return sup.children[name]
  end
  local function said(text)
    for _, line in ipairs(lines) do
      if line:find(text, 1, true) then return true end
    end
  end

  it("starts a child that was killed again, under a new id", function()
    local child = add("core-1", "exec tail -f /dev/null")
    local first = support.wait_until("its start", function() return child.pid end)
    cxb.process.kill(first, "KILL")
    support.wait_until("its restart", function() return child.pid and child.pid ~= first end)
    assert.equal(1, child.restarts)
    assert.is_true(said("ended by signal 9; again in 200 ms"))
  end)

  it("waits longer each time for a child that ends at once", function()
    add("core-1", "exit 1")
    support.wait_until("the third pause", function() return said("again in 800 ms") end)
    assert.is_true(said("again in 200 ms") and said("again in 400 ms"))
  end)

  it("starts a worker that ended by itself, to be fresh, again without a word", function()
    local child = add("core-1", "exit 0")
    support.wait_until("a restart", function() return child.restarts > 0 end)
    assert.is_nil(said("ended with 0"))
  end)

  it("does not start a child again that says a restart will not help", function()
    local child = add("core-9", "echo worker id 9 is above the count 4; exit 78")
    support.wait_until("its end", function() return child.state == "failed" end)
    assert.equal(0, child.restarts)
    assert.is_true(said("it will not be started again"))
    assert.is_true(said("worker id 9 is above the count 4"))
  end)

  it("says why a child that ended at its start is not ready", function()
    add("api", "echo JWT_SECRET is too short >&2; exit 1", function() return false end)
    local ok, why = sup:wait_ready("api", 60000)
    assert.is_nil(ok)
    assert.matches("JWT_SECRET is too short", why, 1, true)
  end)

  it("says what did not answer when time is over", function()
    add("api", "exec tail -f /dev/null", function() return false, "answers 503" end)
    local ok, why = sup:wait_ready("api", 1500)
    assert.is_nil(ok)
    assert.matches("answers 503", why, 1, true)
  end)

  it("waits longer for a child that says it works on it", function()
    local asked = 0
    add("api", "exec tail -f /dev/null", function()
      asked = asked + 1
      return asked == 100, "answers 503", asked < 99
    end)
    assert.is_true((sup:wait_ready("api", 1500)))
  end)

  it("stops the children that are named and leaves the others", function()
    local worker, api = add("core-1", "exec tail -f /dev/null"), add("api", "exec tail -f /dev/null")
    support.wait_until("both", function() return worker.pid and api.pid end)
    sup:signal("^core%-", "TERM")
    assert.is_true(sup:wait_stopped("^core%-", 60000))
    assert.is_nil(worker.pid)
    assert.is_string(pids.started(api.pid))
  end)

  it("does not start a child that is told to stop while it waits for its restart", function()
    local child = add("core-1", "exit 1")
    support.wait_until("the pause", function() return said("again in 200 ms") end)
    sup:signal(".", "TERM")
    assert.is_true(sup:wait_stopped(".", 60000))
    assert.equal("stopped", child.state)
    assert.is_nil(child.pid)
  end)

  it("keeps what a child writes, on both outputs, in its log file", function()
    add("speech", "echo out; echo err >&2; exec tail -f /dev/null")
    local path = sup.opts.log_dir .. "/speech.log"
    assert.same("out\nerr\n", support.wait_until("both lines", function()
      local text = world:read(path)
      return text:find("err", 1, true) and text
    end))
  end)
end)
