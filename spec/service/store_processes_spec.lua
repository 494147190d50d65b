-- One store in two processes, as API and Dialler share it: eight writers, four in each.
local json = require("cxb.json")
local stores = require("support.stores")
local World = require("support.world")

local collections = {
  things = {
    prefix = "th",
    fields = {
      name = "s", at = "t", terms = "a?", kind = "s?", lease = "o?", ["lease.until"] = "t?",
    },
    unique = { { "name" } },
    indexes = { { "lease.until" }, { "terms", "-at" }, { "kind", "-at" } },
    lists = { by = "at", words = "terms", fields = { "kind" } },
  },
}

local worker = [[
local json = require("cxb.json")
local options = json.decode(cxb.args[1])
local owner, rounds = cxb.args[2], tonumber(cxb.args[3])
local store = assert(require("cxb.store").open(options))

-- Writes this round's winner into a document that eight expect to be at the round before.
local function race(i)
  local doc, err
  repeat
    doc = assert(store:upsert("things", { name = "race" }, { on_insert = { at = 1, round = 0 } }))
    if doc.round >= i then
      return
    end
    doc, err = store:update("things", doc._id, { set = { round = i }, inc = { won = 1 } },
      { expect = { round = i - 1 } })
    assert(doc or err.code == "conflict", err and err.message)
  until doc
end

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
      race(i)
    end
    return true
  end)
end
for _, task in ipairs(tasks) do
  assert(task:wait() == true)
end
cxb.process.print("done")
]]

for _, backend in ipairs(stores) do
describe("one store in two processes on " .. backend.name, function()
  local world, dir, store

  before_each(function()
    if backend.skip then
      backend.skip()
    end
    world = World.new()
    dir = world:folder()
    world:write(dir .. "/worker.lua", worker)
    store = backend.open(collections)
  end)

  after_each(function()
    backend.close(store)
    world:close()
  end)

  it("loses no write of either, gives no lease to both and lets one win each round", function()
    local rounds, running = 12, {}
    local options = backend.address(store)
    options.collections = collections
    for i, owner in ipairs({ "api", "dialler" }) do
      running[i] = world:start({ World.program, dir .. "/worker.lua", json.encode(options), owner,
        tostring(rounds) })
    end
    for _, process in ipairs(running) do
      assert.equal(0, process:wait(120000), process:output())
      assert.truthy(process:output():find("done", 1, true))
    end
    assert.equal(8 * rounds, store:find("things", { name = "shared" })[1].n)
    assert.equal(rounds, store:find("things", { name = "race" })[1].won)
    assert.equal(8 * rounds, store:count("things", { kind = "k" }))
    assert.equal(4 * rounds, store:count("things", { terms = { has_all = { "both", "api" } } }))
    assert.equal(0, store:count("things", { ["taken.api"] = true, ["taken.dialler"] = true }))
    assert.equal(8 * rounds, store:count("things", { ["lease.token"] = 1 }))
  end)
end)
end
