-- The list of calls and the search in it over HTTP: 1,000,000 calls of 90 days in SQLite (api.md §8:
-- p99 ≤ 50 ms, any page), as many in the MongoDB that MONGODB_URI names. CALLS=n makes another
-- number. The Mongo-wire server of the tests is not measured: it reads whole collections where
-- MongoDB uses an index.

local MongoServer = require("support.mongo_server")
local World = require("support.world")
local call_stats = require("services.calls.stats")
local json = require("cxb.json")
local process = require("support.api_process")
local procs = require("support.procs")
local url = require("cxb.url")

cxb.log.level("error")
local CALLS = tonumber(cxb.process.env("CALLS") or "") or 1000000
local BATCH, DAYS, ASKED = 500, 90, 200
local DAY_MS = 86400000

local statuses = { "completed", "completed", "completed", "completed", "failed", "voicemail" }
local dispositions = { "SALE", "CALLBACK", "NOT_INTERESTED", "WRONG_NUMBER" }
local common = { "yes", "no", "please", "thank", "you", "the", "hello", "account", "number", "is" }

local function words()
  local out, seen = {}, {}
  for _ = 1, 40 do
    -- As in speech: few words are said in most calls, many in a handful.
    local word = math.random() < 0.3 and common[math.random(#common)]
      or "w" .. math.floor(20000 ^ math.random())
    if not seen[word] then
      seen[word] = true
      out[#out + 1] = word
    end
  end
  return out
end

local function a_call(i, total, now, days)
  local at = math.floor(now - (total - i) * days * DAY_MS / total)
  local number = ("+49151%08d"):format(math.random(0, 99999999))
  local status, bot = statuses[math.random(#statuses)], math.random(20)
  return {
    _id = ("%012x-%07d"):format(at, i), call_type = "bot", status = status,
    bot_id = "bot" .. bot, direction = "outgoing", started_at = at,
    completed_at = at + 60000, caller_id = number, customer_number = number,
    number_rev = number:sub(2):reverse(), call_duration_seconds = math.random(0, 600),
    disconnected_by = status == "failed" and "no_answer" or "customer",
    campaign_id = "cmp" .. bot, was_transferred = math.random(20) == 1 or nil,
    disposition = dispositions[math.random(#dispositions)], lat_bucket = math.random(10, 40),
    recording_key = "recordings/2026/04/24/" .. i .. ".wav", terms = words(),
    latency = { turns = 5, p50_ms = 800, p95_ms = 1100, total_avg_response_ms = 820 },
    transcript = { { role = "bot", text = ("some words of a bot "):rep(10) },
      { role = "user", text = ("some words of a caller "):rep(10) } },
  }
end

local function fill(store, total, days)
  local began, now = cxb.time.mono(), cxb.time.now()
  for first = 1, total, BATCH do
    local rows, count = json.array(), 0
    for i = first, math.min(first + BATCH - 1, total) do
      local call = a_call(i, total, now, days)
      local id = call._id
      call._id, count = nil, count + 1
      rows[count] = json.array({ id, call })
    end
    assert(store:insert_rows("calls", json.encode(rows)) == count)
    cxb.time.sleep(0) -- others may run
  end
  local seconds = (cxb.time.mono() - began) / 1000
  print(("%d calls in %.0f s (%.0f/s)"):format(total, seconds, total / seconds))
end

local function from(days)
  return "from=" .. url.escape(cxb.time.iso(cxb.time.now() - days * DAY_MS))
end

local function suffix(digits)
  return ("%0" .. digits .. "d"):format(math.random(0, 10 ^ digits - 1))
end

local whole = from(DAYS + 1)

-- Name, a query made anew each time; `beyond`: what the aim does not speak of.
local questions = {
  { "first page", function() return "" end },
  { "a page by number, up to 100,000 rows deep", function()
    return ("%s&limit=50&page=%d"):format(whole, math.random(1, 2000))
  end },
  { "of one bot and status, any page", function()
    return ("%s&bot_id=bot%d&status=completed&page=%d"):format(whole, math.random(20),
      math.random(1, 500))
  end },
  { beyond = true, "transferred and long, 7 days", function()
    return "was_transferred=true&min_duration=" .. math.random(500, 590)
  end },
  { beyond = true, "transferred and long, 90 days", function()
    return whole .. "&was_transferred=true&min_duration=" .. math.random(500, 590)
  end },
  { "number, 4 last digits, 90 days", function()
    return whole .. "&number=" .. suffix(4)
  end },
  { "number, 8 last digits, 90 days", function()
    return whole .. "&number=" .. suffix(8)
  end },
  { "number, whole", function()
    return whole .. "&number=%2B49151" .. suffix(8)
  end },
  { beyond = true, "a common word, 90 days, any page", function()
    return ("%s&q=%s&page=%d"):format(whole, common[math.random(#common)], math.random(1, 2000))
  end },
  { beyond = true, "two common words, 7 days", function()
    return "q=thank+you"
  end },
  { beyond = true, "a common and a rare word, 90 days", function()
    return ("%s&q=hello+w%d"):format(whole, math.random(10000, 19000))
  end },
}

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
    local ms, answer = ask(api, "/api/v1/calls?" .. whole
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
  fill(store, CALLS, DAYS)
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
      list[i] = ask(api, "/api/v1/calls/stats?group_by=bot&" .. from(range))
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
  fill(other, CALLS, DAYS)
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
