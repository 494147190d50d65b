-- The list of calls and the search in it over HTTP: 1,000,000 calls of 90 days in SQLite (api.md §8:
-- p99 ≤ 50 ms, any page), as many in the MongoDB that MONGODB_URI names. CALLS=n makes another
-- number. The Mongo-wire server of the tests is not measured: it reads whole collections where
-- MongoDB uses an index; that it gives the same answers spec/soak/stores_agree.lua shows.

local MongoServer = require("support.mongo_server")
local World = require("support.world")
local call_stats = require("services.calls.stats")
local json = require("cxb.json")
local many_calls = require("support.many_calls")
local process = require("support.api_process")
local procs = require("support.procs")
local url = require("cxb.url")

cxb.log.level("error")
local CALLS = tonumber(cxb.process.env("CALLS") or "") or 1000000
local DAYS, ASKED = 90, 200
local questions = many_calls.questions(DAYS, CALLS)

local function ask(api, path)
  local began = cxb.time.mono()
  local answer = api:ask("GET", path)
  assert(answer.status == 200, answer.body)
  return cxb.time.mono() - began, answer.answer
end

local function measure(api, what, asked, wanted)
  local all, beyond = {}, {}
  for _, question in ipairs(wanted) do
    local list, found, sum = {}, 0, question.beyond and beyond or all
    for i = 1, asked do
      local ms, answer = ask(api, "/api/v1/calls?" .. question[2]())
      list[i], sum[#sum + 1] = ms, ms
      found = found + #answer.items
    end
    print(("  %-46s p50 %7.2f  p99 %7.2f ms  %5.1f rows"):format(question[1],
      procs.quantile(list, 0.5), procs.quantile(list, 0.99), found / asked))
  end
  print(("= %s, list and number: p50 %.2f, p99 %.2f ms (aim p99 50)"):format(what,
    procs.quantile(all, 0.5), procs.quantile(all, 0.99)))
  print(("= %s, words and filters no index has: p50 %.2f, p99 %.2f ms"):format(what,
    procs.quantile(beyond, 0.5), procs.quantile(beyond, 0.99)))
end

local function by_cursor(api, what, pages)
  local list, after = {}, nil
  for i = 1, pages do
    local ms, answer = ask(api, "/api/v1/calls?" .. many_calls.from(DAYS + 1)
      .. (after and "&after=" .. url.escape(after) or ""))
    list[i], after = ms, answer.next
    if not after or after == json.null then
      break
    end
  end
  print(("= %s: p50 %.2f, p99 %.2f ms over %d pages (aim p99 50)"):format(what,
    procs.quantile(list, 0.5), procs.quantile(list, 0.99), #list))
end

local world = World.new()
local env = { CXB_RATE_SCALE = "0" }

local function sqlite()
  local dir = world:folder()
  assert(cxb.fs.mkdir(dir .. "/state"))
  local store = assert(require("cxb.store").open({ path = dir .. "/state/cxb.db" }))
  -- What the lists need is made at once at the end, as for a file of an older version.
  for _, name in ipairs({ "insert", "delete", "update" }) do
    assert(store.backend.db:exec("DROP TRIGGER calls_lists_" .. name))
  end
  many_calls.fill(store, CALLS, DAYS)
  store:close()
  local began = cxb.time.mono()
  store = assert(require("cxb.store").open({ path = dir .. "/state/cxb.db" }))
  print(("lists of %d calls made anew in %.0f s"):format(CALLS, (cxb.time.mono() - began) / 1000))
  began = cxb.time.mono()
  repeat
    assert(call_stats.run({ store = store }))
    local now = cxb.time.now()
  until assert(call_stats.complete_to(store, now)) == call_stats.live_from(now)
  print(("statistics of %d hours in %.0f s"):format(DAYS * 24, (cxb.time.mono() - began) / 1000))
  store:close()
  local api = process.start(world, { dir = dir, env = env })
  measure(api, ("SQLite, %d calls"):format(CALLS), ASKED, questions)
  by_cursor(api, ("SQLite, %d calls, page after page"):format(CALLS), 500)
  for _, range in ipairs({ 7, DAYS }) do
    local list = {}
    for i = 1, 20 do
      list[i] = ask(api, "/api/v1/calls/stats?group_by=bot&" .. many_calls.from(range))
    end
    print(("= SQLite, statistics of %d days by bot: p50 %.1f ms"):format(range,
      procs.quantile(list, 0.5)))
  end
end

local function mongodb()
  local mongo = MongoServer.new(world):start()
  env.MONGODB_URI, env.CXB_PUBLIC_URL = mongo.uri, "http://127.0.0.1"
  env.CXB_SECRETS_KEY, env.MONGODB_DB = ("A"):rep(43) .. "=", "cxbbench"
  local other = assert(require("cxb.store").open({ uri = mongo.uri, database = env.MONGODB_DB }))
  many_calls.fill(other, CALLS, DAYS)
  measure(process.start(world, { env = env }), ("MongoDB, %d calls"):format(CALLS), ASKED,
    questions)
  other.backend:drop()
  other:close()
end

local ok, why = xpcall(function()
  sqlite()
  if MongoServer.given() then
    mongodb()
  end
end, debug.traceback)
world:close()
if not ok then
  error(why, 0)
end
return 0
