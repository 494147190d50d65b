-- luacheck: globals wrk done request init
-- wrk, and pace beside it: one kind of request, named by the first argument, its figures as one line.
-- The second is what tells the results of one run from those of another.
local kind = "json"
local secret, token, bot = os.getenv("CXBCORE_SECRET"), os.getenv("BENCH_TOKEN"), os.getenv("BENCH_BOT")
local n, tag = 0, 0

local words = {}
for i = 1, 40 do words[i] = ("word%d and what follows it"):format(i) end
local line = table.concat(words, " ", 1, 6)
local lines = {}
for i = 1, 95 do
  lines[i] = ('{"role":"%s","text":"%s","at":"2026-04-24T09:00:%02dZ","offset_ms":%d}'):format(
    i % 2 == 0 and "user" or "assistant", line, i % 60, i * 700)
end
-- About 20 KiB, as a call of three minutes gives it.
local transcript = table.concat(lines, ",")

local order = [[{"id":"o-1029384756","customer":{"name":"Asha Rao","city":"Pune","vip":true},"items":[]]
  .. [[{"sku":"A1","count":2,"price":12.5},{"sku":"B2","count":1,"price":99},{"sku":"C3","count":10,"price":0.75}],]]
  .. [["note":"leave at the door"}]]

local internal = { ["X-CXBCore-Secret"] = secret, ["Content-Type"] = "application/json" }
local function result(path)
  n = n + 1
  return wrk.format("POST", path, internal, ('{"session_id":"bench-%d-%d","caller_id":'
    .. '"+919876543210","call_duration_seconds":181.5,"disconnected_by":"customer","transcript":[%s],'
    .. '"post_call_analysis":{"DISPOSITION":"INTERESTED"},"recording_key":"2026/04/24/x.wav"}'):format(
    tag, n, transcript))
end

local requests = {
  json = function()
    return wrk.format("POST", "/json", { ["Content-Type"] = "application/json" }, order)
  end,
  read = function()
    return wrk.format("GET", "/api/v1/users/" .. os.getenv("BENCH_USER"), { Authorization = "Bearer " .. token })
  end,
  config = function()
    return wrk.format("GET", "/api/v1/config/" .. bot .. "?caller_id=%2B919876543210", internal)
  end,
  result = function()
    return result("/api/v1/call-results")
  end,
  checked = function()
    return result("/checked/api/v1/call-results")
  end,
  health = function()
    return wrk.format("GET", "/health/live")
  end,
}

function init(args)
  kind, tag = args[1], args[2] or "0"
end

function request() return requests[kind]() end

function done(summary, latency)
  local errors = summary.errors
  io.write(("FIGURES %.0f %d %d %d\n"):format(summary.requests / (summary.duration / 1e6),
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
