-- What an operation of the document store costs on each back end: time of one after the other, and
-- of sixteen at once; CPU of this process an operation. The Mongo-wire server is the tests'
-- (FerretDB over SQLite), or the MongoDB of MONGODB_URI.
package.path = cxb.root .. "/spec/?.lua;" .. package.path

local at_end = require("support.at_end")
local procs = require("support.procs")
local stores = require("support.stores")

local N, AT_ONCE = 100, 16

local collections = {
  things = {
    prefix = "th",
    fields = { name = "s", at = "t", state = "s", lease = "o?", ["lease.until"] = "t?" },
    unique = { { "name" } },
    indexes = { { "state", "-at" }, { "lease.until" } },
  },
}

local body = ("x"):rep(2000)

local function doc(i)
  return { name = "n" .. i, at = i, state = i % 2 == 0 and "even" or "odd", body = body,
    list = { { role = "bot", text = "Hello", start_ms = i }, { role = "user", text = "Yes" } } }
end

local function sure(value, err)
  return value or error(err.code .. ": " .. err.message)
end

local function operations(store)
  local ids = {}
  return {
    { "insert 2 KiB", function(i) ids[i] = sure(store:insert("things", doc(i)))._id end },
    { "get", function(i) sure(store:get("things", ids[i])) end },
    { "update, expected state", function(i)
      sure(store:update("things", ids[i], { set = { state = "seen" }, inc = { n = 1 } },
        { expect = { name = "n" .. i } }))
    end },
    { "upsert of one there", function(i)
      sure(store:upsert("things", { name = "n" .. i }, { set = { state = "odd" } }))
    end },
    { "find 20 of an index", function()
      sure(store:find("things", { state = "odd" }, { sort = { "-at" }, limit = 20 }))
    end },
    { "lease 1", function()
      sure(store:lease("things", { state = "odd" }, { owner = "o", ttl_ms = 600000,
        sort = { "-at" } }))
    end },
  }
end

-- Runs fn(1…N), `width` at a time: times in ms, wall time and CPU of all in ms.
local function measure(fn, width)
  local times, following = {}, 0
  local pid = cxb.process.pid
  local began, cpu = cxb.time.mono(), procs.cpu_ms(pid)
  local tasks = {}
  for w = 1, width do
    tasks[w] = cxb.task.spawn("bench", function()
      while following < N do
        following = following + 1
        local i, from = following, cxb.time.mono()
        fn(i)
        times[#times + 1] = cxb.time.mono() - from
      end
    end)
  end
  for _, task in ipairs(tasks) do task:wait(600000) end
  return times, cxb.time.mono() - began, procs.cpu_ms(pid) - cpu
end

for _, backend in ipairs(stores) do
  if backend.skip then backend.skip() end
  local store = backend.open(collections)
  print(("%s, %d operations each"):format(backend.name, N))
  for _, operation in ipairs(operations(store)) do
    local name, fn = operation[1], operation[2]
    local times = measure(fn, 1)
    if name:match("^insert") then store:delete_many("things", {}) end
    local _, wall, cpu = measure(fn, AT_ONCE)
    print(("= %s, %s: p50 %.2f ms, p99 %.2f ms; %d at once %.0f/s, %.2f ms of our CPU each")
      :format(backend.name, name, procs.quantile(times, 0.5), procs.quantile(times, 0.99), AT_ONCE,
      N / wall * 1000, cpu / N))
  end
  backend.close(store)
end
at_end.run()
return 0
