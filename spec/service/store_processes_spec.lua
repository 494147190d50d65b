-- One SQLite file in two processes, as API and Dialler share it.
local World = require "support.world"

local worker = [[
local path, owner, rounds = cxb.args[1], cxb.args[2], tonumber(cxb.args[3])
local store = assert(require("cxb.store").open({ path = path, collections = {
  things = {
    prefix = "th",
    fields = { name = "s", at = "t", terms = "a?", kind = "s?", lease = "o?", ["lease.until"] = "t?" },
    unique = { { "name" } },
    indexes = { { "lease.until" }, { "terms", "-at" }, { "kind", "-at" } },
    lists = { by = "at", words = "terms", fields = { "kind" } },
  },
} }))
local tasks = {}
for w = 1, 4 do
  tasks[w] = cxb.task.spawn("writer", function()
    for i = 1, rounds do
      local doc = assert(store:upsert("things", { name = "shared" }, { on_insert = { at = 1 } }))
      assert(store:update("things", doc._id, { inc = { n = 1 } }))
      assert(store:insert("things", { name = ("%s %d %d"):format(owner, w, i), at = i, kind = "k",
        terms = { "both", owner } }))
      local taken = assert(store:lease("things", { kind = "k" },
        { owner = owner, ttl_ms = 600000, limit = 1, set = { ["taken." .. owner] = true } }))
      assert(#taken <= 1)
    end
    return true
  end)
end
for _, task in ipairs(tasks) do
  assert(task:wait() == true)
end
cxb.process.print("done")
]]

describe("a store's file in two processes", function()
  local world, dir

  before_each(function()
    world = World.new()
    dir = world:folder()
    world:write(dir .. "/worker.lua", worker)
  end)

  after_each(function()
    world:close()
  end)

  it("loses no write of either and gives no lease to both", function()
    local rounds, running = 25, {}
    for i, owner in ipairs({ "api", "dialler" }) do
      running[i] = world:start({ World.program, dir .. "/worker.lua", dir .. "/cxb.db", owner,
        tostring(rounds) })
    end
    for _, process in ipairs(running) do
      assert.equal(0, process:wait(), process:output())
      assert.truthy(process:output():find("done", 1, true))
    end
    local store = assert(require("cxb.store").open({ path = dir .. "/cxb.db", collections = {
      things = {
        prefix = "th", fields = { name = "s", at = "t", terms = "a?", kind = "s?" },
        unique = { { "name" } }, indexes = { { "terms", "-at" }, { "kind", "-at" } },
        lists = { by = "at", words = "terms", fields = { "kind" } },
      },
    } }))
    assert.equal(8 * rounds, store:find("things", { name = "shared" })[1].n)
    assert.equal(8 * rounds, store:count("things", { kind = "k" }))
    assert.equal(4 * rounds, store:count("things", { terms = { has_all = { "both", "api" } } }))
    assert.equal(0, store:count("things", { ["taken.api"] = true, ["taken.dialler"] = true }))
    assert.equal(8 * rounds, store:count("things", { ["lease.token"] = 1 }))
    store:close()
  end)
end)
