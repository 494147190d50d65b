-- What the store says on MongoDB's wire and how it takes what only a replica set answers: a server
-- of ours, told what to answer.
-- area: api

local json = require "cxb.json"
local Store = require "cxb.store"
local World = require "support.world"

local collections = {
  things = { prefix = "th", fields = { name = "s", at = "t" }, unique = { { "name" } } },
}

describe("the store on MongoDB's wire", function()
  local world, sim, store

  -- Answers of commands by name; those that open the store are given.
  local function open(answers)
    local all = {
      listCollections = { ok = 1, cursor = { id = 0, ns = "cxb.$cmd", firstBatch = json.array() } },
      listIndexes = { ok = 1, cursor = { id = 0, ns = "cxb.things", firstBatch = json.array() } },
    }
    for name, answer in pairs(answers or {}) do all[name] = answer end
    local port = world:port()
    sim = world:start({ "python3", cxb.root .. "/spec/support/mongo_sim.py", tostring(port),
      json.encode(all) }, { PATH = cxb.process.env("PATH") })
    World.wait_until("the server", function()
      if sim.ended then error(sim:output(), 0) end
      return sim.log[1]
    end)
    store = assert(Store.open({
      uri = ("mongodb://127.0.0.1:%d/?replicaSet=rs&retryWrites=true"):format(port),
      database = "cxb", collections = collections,
    }))
  end

  before_each(function()
    world = World.new()
  end)

  after_each(function()
    if store then store:close() end
    world:close()
  end)

  -- The commands of this name, as they came.
  local function sent(name)
    local out = {}
    for _, line in ipairs(sim.log) do
      local command = json.decode(line)
      if command[name] then out[#out + 1] = command end
    end
    return out
  end

  local writes = {
    insert = function() return store:insert("things", { name = "a", at = 1 }) end,
    insert_many = function() return store:insert_many("things", { { name = "a", at = 1 } }) end,
    update = function() return store:update("things", "x", { set = { at = 2 } }) end,
    update_many = function() return store:update_many("things", {}, { set = { at = 2 } }) end,
    upsert = function() return store:upsert("things", { name = "a" }, { set = { at = 2 } }) end,
    delete = function() return store:delete("things", "x") end,
    delete_many = function() return store:delete_many("things", {}) end,
    lease = function() return store:lease("things", {}, { owner = "o", ttl_ms = 1000 }) end,
  }
  local found = { ok = 1, value = { _id = "x", v = 2 } }
  local fine = { insert = { ok = 1, n = 1 }, update = { ok = 1, n = 1, nModified = 1 },
    delete = { ok = 1, n = 1 }, findAndModify = found }
  local of_write = { insert = "insert", insert_many = "insert", update = "findAndModify",
    update_many = "update", upsert = "findAndModify", delete = "delete", delete_many = "delete",
    lease = "findAndModify" }

  it("asks for a majority and its journal with every write, and repeats none by itself", function()
    open(fine)
    for name, write in pairs(writes) do
      local before = #sent(of_write[name])
      assert(write(), name)
      World.wait_until("the command of " .. name, function() -- the server's log follows its answers
        return #sent(of_write[name]) > before
      end)
      local commands = sent(of_write[name])
      assert.equal(before + 1, #commands, name)
      local command = commands[#commands]
      assert.same({ w = "majority", j = true, wtimeout = 5000 }, command.writeConcern, name)
      assert.is_nil(command.txnNumber, name)
    end
  end)

  it("takes a write that is not confirmed in time for one that was not done", function()
    local late = { code = 64, errmsg = "waiting for replication timed out" }
    local answers = {}
    for name, answer in pairs(fine) do
      answers[name] = { writeConcernError = late }
      for field, value in pairs(answer) do answers[name][field] = value end
    end
    open(answers)
    for name, write in pairs(writes) do
      local value, err = write()
      assert.is_nil(value, name)
      assert.equal("unavailable", err.code, name)
    end
  end)

  it("is unavailable while the primary steps down or shuts down, and a read, too", function()
    for _, code in ipairs({ 189, 10107, 91, 11602, 13435 }) do
      local refusal = { ok = 0, code = code, errmsg = "not primary" }
      open({ insert = refusal, find = refusal })
      local _, err = writes.insert()
      assert.same({ "unavailable", "unavailable" }, { err.code, err.cause }, code)
      _, err = store:get("things", "x")
      assert.equal("unavailable", err.code, code)
      store:close()
      sim:stop()
    end
  end)

  it("does not send a command again whose answer was lost", function()
    open({ insert = "close", find = "close" })
    for _, call in ipairs({ { "insert", writes.insert }, { "find", function()
      return store:get("things", "x")
    end } }) do
      local _, err = call[2]()
      assert.equal("unavailable", err.code)
      World.wait_until("what the server tells", function() return #sent(call[1]) > 0 end)
      assert.equal(1, #sent(call[1]))
    end
  end)

  it("fetches a list's further batches in the session of its first, whoever else asks", function()
    local function batch(name, id, doc)
      return { ok = 1, cursor = { id = id, ns = "cxb.things", [name] = { { _id = doc } } } }
    end
    open({ find = batch("firstBatch", 7, "a"), getMore = batch("nextBatch", 0, "b") })
    local tasks = {}
    for i = 1, 400 do
      tasks[i] = cxb.task.spawn("list", function()
        return #assert(store:find("things", {}))
      end)
    end
    for i = 1, 400 do assert.equal(2, tasks[i]:wait(60000)) end
    World.wait_until("what the server tells", function() return #sent("getMore") == 400 end)
    local open_in = {}
    for _, line in ipairs(sim.log) do
      local command = json.decode(line)
      if command.find then
        open_in[command.connection] = command.lsid.id
      elseif command.getMore then
        assert.same({ 7, "things", open_in[command.connection] },
          { command.getMore, command.collection, command.lsid.id })
      end
    end
  end)

  it("names the unique key that the server names", function()
    local wrong = { index = 0, code = 11000, keyPattern = { name = 1 },
      errmsg = 'E11000 duplicate key error collection: cxb.things index: name_1 dup key: { name: "a" }' }
    open({ insert = { ok = 1, n = 0, writeErrors = { wrong } },
      findAndModify = { ok = 0, code = 11000, keyPattern = { name = 1 }, errmsg = wrong.errmsg } })
    for _, name in ipairs({ "insert", "update", "lease" }) do
      local _, err = writes[name]()
      assert.same({ "duplicate", "name" }, { err.code, err.key }, name)
    end
    assert.same({ inserted = 0, duplicates = { 1 } }, writes.insert_many())
    assert.same({}, sent("count"))
  end)

  it("makes plain and unique indexes only", function()
    open()
    World.wait_until("what the server tells", function() return #sent("createIndexes") > 0 end)
    local made = sent("createIndexes")
    assert.equal(1, #made)
    assert.same({ { key = { name = 1 }, name = "name_1", unique = true } }, made[1].indexes)
  end)
end)
