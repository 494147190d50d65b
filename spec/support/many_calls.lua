-- A million calls for benchmarks and soaks: as many as wanted over some days, in any store, and the
-- lists that people ask for of them.
local json = require("cxb.json")
local url = require("cxb.url")

local M = {}

local BATCH = 500
local DEEPEST = 100000 -- rows that a page by number may lie behind
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

---(waits) Fills the collection, the last call a moment before `now`.
---@param store table
---@param total integer
---@param days integer the calls are spread over
---@param now? number UTC ms
function M.fill(store, total, days, now)
  local began = cxb.time.mono()
  now = now or cxb.time.now()
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

---The `from` of a query that begins so many days ago.
function M.from(days)
  return "from=" .. url.escape(cxb.time.iso(cxb.time.now() - days * DAY_MS))
end

local function suffix(digits)
  return ("%0" .. digits .. "d"):format(math.random(0, 10 ^ digits - 1))
end

---Questions about calls of `days` days: a name, a query made anew each time; `beyond`: what the aim
---of api.md §8 does not speak of.
---@param days integer
---@param total integer calls there are
---@return table[]
function M.questions(days, total)
  local whole, pages = M.from(days + 1), math.min(total, DEEPEST) / 50
  return {
    { "first page", function() return "" end },
    { "a page by number, up to 100,000 rows deep", function()
      return ("%s&limit=50&page=%d"):format(whole, math.random(pages))
    end },
    { "of one bot and status, any page", function()
      return ("%s&bot_id=bot%d&status=completed&page=%d"):format(whole, math.random(20),
        math.random(math.ceil(pages / 40)))
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
      return ("%s&q=%s&page=%d"):format(whole, common[math.random(#common)], math.random(pages))
    end },
    { beyond = true, "two common words, 7 days", function()
      return "q=thank+you"
    end },
    { beyond = true, "a common and a rare word, 90 days", function()
      return ("%s&q=hello+w%d"):format(whole, math.random(10000, 19000))
    end },
  }
end

return M
