-- cxb.journal as scripts see it.

local World = require "support.world"

describe("cxb.journal", function()
  local world, dir

  before_each(function()
    world = World.new()
    dir = world:folder()
  end)

  after_each(function() world:close() end)

  it("gives records back in order, with their time", function()
    local path, before = dir .. "/journal/a.jnl", cxb.time.now()
    local journal = assert(cxb.journal.create(path))
    assert.is_true(journal:append("start", { session_id = "s1", nested = { text = "ü\n" } }))
    assert.is_true(journal:append("end", { n = 2 }))
    assert.is_true(journal:sync())
    local records = assert(cxb.journal.read(path))
    assert.equal(2, #records)
    assert.equal("start", records[1].kind)
    assert.same({ session_id = "s1", nested = { text = "ü\n" } }, records[1].data)
    assert.is_true(records[1].at >= before and records[1].at <= cxb.time.now())
    assert.equal("end", records[2].kind)
    assert.is_true(journal:close(true))
    assert.same({ nil, "not_found" }, { (cxb.journal.read(path)), (select(2, cxb.journal.read(path))) })
    assert.same({ nil, "closed" }, { (journal:append("x", {})), (select(2, journal:append("x", {}))) })
  end)

  it("refuses a name that is taken and data that is none", function()
    local journal = assert(cxb.journal.create(dir .. "/a.jnl"))
    local ok, code = cxb.journal.create(dir .. "/a.jnl")
    assert.is_nil(ok)
    assert.equal("duplicate", code)
    ok, code = journal:append("x", { f = print })
    assert.is_nil(ok)
    assert.equal("invalid", code)
    journal:close(true)
  end)

  it("of a killed process is found by one other, up to its last words", function()
    world:write(dir .. "/writer.lua", ([[
      local journal = assert(cxb.journal.create(%q))
      for i = 1, math.huge do
        journal:append("turn", { n = i })
        journal:sync()
        cxb.process.print(i .. "\n")
      end]]):format(dir .. "/j/killed.jnl"))
    local writer = world:start({ World.program, dir .. "/writer.lua" })
    World.wait_until("some records", function() return #writer.log > 20 end)
    assert.same({}, cxb.journal.orphans(dir .. "/j"))
    writer:kill("KILL")
    writer:wait()
    local said = tonumber(writer.log[#writer.log])
    assert.same({ dir .. "/j/killed.jnl" }, cxb.journal.orphans(dir .. "/j"))
    local records = assert(cxb.journal.read(dir .. "/j/killed.jnl"))
    assert.is_true(#records >= said)
    for i, record in ipairs(records) do assert.equal(i, record.data.n) end
    world:write(dir .. "/finder.lua", ([[cxb.process.print(#cxb.journal.orphans(%q))]])
      :format(dir .. "/j"))
    local finder = world:start({ World.program, dir .. "/finder.lua" })
    assert.equal(0, finder:wait())
    assert.equal("0", finder:output())
    cxb.fs.remove(dir .. "/j/killed.jnl")
    assert.same({}, cxb.journal.orphans(dir .. "/j"))
  end)
end)
