-- The same calls in SQLite and on the Mongo wire (a server of ours, or MONGODB_URI's), the same lists
-- and searches asked of an API on each: the same answers, row by row.
--   cxbrt spec/soak/stores_agree.lua [CALLS]      (10,000: a hundredth of what SQLite is measured with)
-- Exit 1 when they differ. The Mongo-wire server of the tests reads whole collections: minutes.

package.path = cxb.root .. "/spec/?.lua;" .. package.path

local MongoServer = require("support.mongo_server")
local World = require("support.world")
local json = require("cxb.json")
local many_calls = require("support.many_calls")
local process = require("support.api_process")

cxb.log.level("error")
local CALLS, DAYS, ASKED = tonumber(cxb.args[1]) or 10000, 90, 3
local PATIENCE_MS = 300000

local world = World.new()

-- An API over a store that holds the calls; equal seeds make equal calls.
local function filled(options, env, now)
  local store = assert(require("cxb.store").open(options))
  math.randomseed(1)
  many_calls.fill(store, CALLS, DAYS, now)
  store:close()
  env.CXB_RATE_SCALE = "0"
  return process.start(world, { dir = options.path and options.path:match("^(.+)/state/"), env = env })
end

local function ask(api, query)
  local answer = api:ask("GET", "/api/v1/calls?" .. query)
  assert(answer.status == 200, query .. ": " .. tostring(answer.body))
  local rows = {}
  for i, item in ipairs(answer.answer.items) do
    item.created_at, item.updated_at = nil, nil -- of the row, not of the call
    rows[i] = json.encode(item, true)
  end
  return rows
end

local function compare(one, other)
  local differences, rows = 0, 0
  for _, question in ipairs(many_calls.questions(DAYS, CALLS)) do
    for _ = 1, ASKED do
      local query = question[2]()
      local ours, theirs = ask(one, query), ask(other, query)
      rows = rows + #ours
      if table.concat(ours, "\n") ~= table.concat(theirs, "\n") then
        differences = differences + 1
        print(("differs: %s (%s): %d rows and %d"):format(question[1], query, #ours, #theirs))
      end
    end
    print(("  %-46s asked %d times"):format(question[1], ASKED))
  end
  return differences, rows
end

local ok, why = xpcall(function()
  local now, dir = cxb.time.now(), world:folder()
  assert(cxb.fs.mkdir(dir .. "/state"))
  local sqlite = filled({ path = dir .. "/state/cxb.db" }, {}, now)
  local server = MongoServer.new(world):start()
  local env = server:env()
  env.MONGODB_URI = ("%s?socketTimeoutMS=%d"):format(env.MONGODB_URI, PATIENCE_MS)
  env.CXB_PUBLIC_URL, env.CXB_SECRETS_KEY = "http://127.0.0.1", ("A"):rep(43) .. "="
  local mongo = filled({ uri = env.MONGODB_URI, database = env.MONGODB_DB }, env, now)
  local differences, rows = compare(sqlite, mongo)
  print(("= %d calls in both stores: %d answers differ, %d rows compared"):format(CALLS, differences,
    rows))
  return differences
end, debug.traceback)
world:close()
if not ok then
  error(why, 0)
end
return why == 0 and 0 or 1
