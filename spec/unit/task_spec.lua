-- What waits for a task, in the real host.
describe("the deadline of a task", function()
  it("cancels what it waits for, and none that has no deadline any more", function()
    local late = cxb.task.spawn("late", function()
      cxb.task.deadline(30)
      local slept, why = cxb.time.sleep(60000)
      return slept, why, (select(2, cxb.task.park()))
    end)
    local early = cxb.task.spawn("early", function()
      cxb.task.deadline(30)
      cxb.task.deadline(nil)
      return cxb.time.sleep(2000)
    end)
    assert.same({ nil, "cancelled", "cancelled" }, { late:wait(30000) })
    assert.is_true(early:wait(30000))
  end)
end)

describe("the end of a task", function()
  it("is seen by every task that waits for it, and not by one that gave up", function()
    local go
    local task = cxb.task.spawn("worked on", function()
      go = cxb.task.self()
      return cxb.task.park()
    end)
    local seen, waiters = {}, {}
    for i = 1, 5 do
      waiters[i] = cxb.task.spawn("waiting", function()
        seen[i] = { task:wait(i == 2 and 1 or nil) }
      end)
    end
    for _ = 1, 20 do assert.same({ nil, "timeout" }, { task:wait(1) }) end -- places are used again
    assert.same({ nil, "timeout" }, seen[2])
    go:unpark("a", nil, "c")
    for i = 1, 5 do waiters[i]:wait(60000) end
    for _, i in ipairs({ 1, 3, 4, 5 }) do assert.same({ "a", nil, "c" }, seen[i]) end
    assert.same({ "a", nil, "c" }, { task:wait() })
  end)

  it("by an error is told to all", function()
    local go
    local task = cxb.task.spawn("failing", function()
      go = cxb.task.self()
      cxb.task.park()
      error({ code = "on purpose" })
    end)
    local seen, waiters = {}, {}
    for i = 1, 2 do
      waiters[i] = cxb.task.spawn("waiting", function()
        local _, code, trace = task:wait()
        seen[i] = { code, type(trace) }
      end)
    end
    cxb.time.sleep(1)
    go:unpark()
    for i = 1, 2 do waiters[i]:wait(60000) end
    assert.same({ { "error", "string" }, { "error", "string" } }, seen)
  end)
end)
