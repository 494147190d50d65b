-- cxbctl outbox against real workers with rows that are dead, waiting and adopted.

local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local World = require "support.world"
local platform = require "support.platform"

describe("cxbctl outbox", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world)
  end)
  after_each(function() world:close() end)

  local function run(...)
    return platform.cxbctl(world, { CXB_RUN_DIR = host.dir, CXB_STATE_DIR = host.state,
      CXB_EXE = World.program, CXB_TTY = "0" }, { "outbox", ... })
  end

  local function object(...)
    local words = { ... }
    words[#words + 1] = "--json"
    local code, text = run(unpack(words))
    return code, assert(json.decode(text), text)
  end

  -- (waits) A dead row of worker n.
  local function dead_row(n)
    host:mode("400", 1)
    host:short_call(n)
    return World.wait_until("a dead row", function()
      for _, item in ipairs(host:outbox(n, "dead")) do
        if item.id:find("^" .. n) then return item end
      end
    end)
  end

  it("lists, shows, retries and purges rows of all workers of the host", function()
    host:start(1)
    host:start(2)
    local first, second = dead_row(1), dead_row(2)
    local code, text = run("list")
    assert.equal(0, code)
    for _, word in ipairs({ first.id, second.id, "result", "dead", "s1", "s2", "HTTP 400" }) do
      assert.truthy(text:find(word, 1, true), word)
    end
    local answer
    code, answer = object("list", "--state", "ready")
    assert.equal(0, code)
    assert.same({}, answer.items)
    code, answer = object("show", second.id)
    assert.equal(0, code)
    assert.equal("s2", answer.item.session_id)
    assert.equal("customer", json.decode(answer.item.body).disconnected_by)
    code, text = run("show", first.id)
    assert.equal(0, code)
    assert.truthy(text:find('"session_id":"s1"', 1, true))
    code, answer = object("retry", first.id, "9-9")
    assert.equal(1, code)
    assert.same({ ok = false, retried = { first.id }, missing = { "9-9" } }, answer)
    assert.equal("result:s1", host:delivery(1).key)
    code, answer = object("purge", "--dead")
    assert.equal(0, code)
    assert.same({ ok = true, removed = 1 }, answer)
    code, text = run("list")
    assert.equal(0, code)
    assert.equal("nothing waits", text)
  end)

  it("finds the rows of a lost worker with its neighbour", function()
    host:start(1)
    local row = dead_row(1)
    host:kill(1)
    host:start(2)
    World.wait_until("the row", function()
      local _, answer = object("list")
      return answer.items and answer.items[1] and answer.items[1].id == row.id
    end)
    local code, answer = object("retry", row.id)
    assert.equal(0, code)
    assert.same({ row.id }, answer.retried)
    assert.equal("result:s1", host:delivery(1).key)
  end)

  it("exits 2 for what it does not understand and 1 where no worker answers", function()
    for _, words in ipairs({ {}, { "frob" }, { "show" }, { "show", "1-1", "1-2" }, { "retry" },
      { "purge" }, { "list", "1-1" }, { "list", "--state", "odd" } }) do
      local code, text = run(unpack(words))
      assert.equal(2, code, table.concat(words, " "))
      assert.is_true(#text > 0)
    end
    for _, words in ipairs({ { "list" }, { "show", "1-1" }, { "retry", "1-1" }, { "purge", "--dead" } }) do
      local code, answer = object(unpack(words))
      assert.equal(1, code)
      assert.is_false(answer.ok)
    end
    local code, text = run("--help")
    assert.equal(0, code)
    assert.truthy(text:find("example: cxbctl outbox list", 1, true))
  end)
end)
