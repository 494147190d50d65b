-- Statistics of calls (api.md §5.8). `call_stats` has the calls of each hour, counted by what they
-- agree in and by quarters of the hour; an hour is always rewritten whole, so a repeat does no
-- harm. The last two hours are counted from the calls themselves whenever somebody asks.
local M = {}

local QUARTER_MS, HOUR_MS = 900000, 3600000
local LIVE_HOURS, HOURS_A_RUN, SETTLED_MS = 2, 500, 1000

local KEYS = { "bot_id", "campaign_id", "status", "disposition" }

local function hour_of(ms)
  return ms - ms % HOUR_MS
end

---From here on calls are counted themselves.
---@return number ms
function M.live_from(now)
  return hour_of(now) - (LIVE_HOURS - 1) * HOUR_MS
end

local function with(list, ...)
  local out = { unpack(list) }
  for _, item in ipairs({ ... }) do
    out[#out + 1] = item
  end
  return out
end

---(waits) Counts calls that began in a span; test calls count nowhere.
---@param filter table more conditions
---@param keys string[]
---@return {by: table, calls: integer, seconds: number, transferred: integer}[]? rows, table? err
function M.count(store, from, to, filter, keys)
  local wanted = { started_at = { gte = from, lt = to }, call_type = { ne = "test" } }
  for name, value in pairs(filter) do
    wanted[name] = value
  end
  local groups, err = store:group("calls", wanted, with(keys, "was_transferred"),
    { "call_duration_seconds" })
  for i, group in ipairs(groups or {}) do
    groups[i] = {
      by = group.by, calls = group.count, seconds = group.sum.call_duration_seconds,
      transferred = group.by.was_transferred and group.count or 0,
    }
  end
  return groups, err
end

local function empty_row()
  local row = {}
  for quarter = 0, 3 do
    for _, name in ipairs({ "calls_", "seconds_", "transferred_" }) do
      row[name .. quarter] = 0
    end
  end
  return row
end

local function name_of(row)
  local parts = {}
  for i, field in ipairs(KEYS) do
    parts[i] = row[field]
  end
  return table.concat(parts, "\n")
end

-- (waits) The rows of an hour by their key.
local function counted(store, hour)
  local rows = {}
  for quarter = 0, 3 do
    local from = hour + quarter * QUARTER_MS
    local groups, err = M.count(store, from, from + QUARTER_MS, {}, KEYS)
    if not groups then
      return nil, err
    end
    for _, group in ipairs(groups) do
      local key = { hour = hour }
      for _, field in ipairs(KEYS) do
        key[field] = group.by[field] or ""
      end
      local name = name_of(key)
      rows[name] = rows[name] or { key = key, set = empty_row() }
      for _, counter in ipairs({ "calls", "seconds", "transferred" }) do
        local field = counter .. "_" .. quarter
        rows[name].set[field] = rows[name].set[field] + group[counter]
      end
    end
  end
  return rows
end

local function same(doc, set)
  for name, value in pairs(set) do
    if doc[name] ~= value then
      return false
    end
  end
  return true
end

-- (waits) What an hour has in the store by the key of its rows.
local function stored(store, hour)
  local rows, after = {}, nil
  repeat
    local docs, next_or_err = store:find("call_stats", { hour = hour },
      { sort = { "hour" }, limit = 500, after = after })
    if not docs then
      return nil, next_or_err
    end
    for _, doc in ipairs(docs) do
      rows[name_of(doc)] = doc
    end
    after = next_or_err
  until not after
  return rows
end

---(waits) Writes an hour anew; what is not counted any more goes.
---@return true?, table? err
function M.rewrite(store, hour)
  local rows, err = counted(store, hour)
  local old
  if rows then
    old, err = stored(store, hour)
  end
  if not old then
    return nil, err
  end
  local fresh, gone = {}, {}
  for name, row in pairs(rows) do
    local doc, ok = old[name], true
    old[name] = nil
    if not doc then
      for field, value in pairs(row.key) do
        row.set[field] = value
      end
      fresh[#fresh + 1] = row.set
    elseif not same(doc, row.set) then
      ok, err = store:update("call_stats", doc._id, { set = row.set })
    end
    if not ok then
      return nil, err
    end
  end
  for _, doc in pairs(old) do
    gone[#gone + 1] = doc._id
  end
  local done
  done, err = store:insert_many("call_stats", fresh)
  if done and gone[1] then
    done, err = store:delete_many("call_stats", { _id = { ["in"] = gone } })
  end
  return done and true, err
end

-- Hours that were marked, with their marks; one made just now waits for the next run.
local function marked(state, now)
  local hours = {}
  for name, mark in pairs(state) do
    local hour = tonumber(name:match("^h(%d+)$"))
    if hour and mark < now - SETTLED_MS then
      hours[#hours + 1] = { hour = hour, name = name, mark = mark }
    end
  end
  table.sort(hours, function(a, b)
    return a.hour < b.hour
  end)
  return hours
end

-- (waits) The first hour that was never counted; nil: none.
local function uncounted(store, state)
  if state.next then
    return state.next
  end
  local first, err = store:find("calls", {}, { sort = { "started_at" }, limit = 1,
    fields = { "started_at" } })
  if not first then
    return nil, err
  end
  return first[1] and hour_of(first[1].started_at)
end

-- (waits) Counts hours that nobody marked: calls may be older than their statistics.
local function catch_up(store, state, live_from)
  local hour, err = uncounted(store, state)
  if err then
    return nil, err
  end
  local to = math.min(live_from, (hour or live_from) + HOURS_A_RUN * HOUR_MS)
  -- The hour that went last is written once more: nobody marks a result of the last two hours.
  for at = math.min(hour or live_from, live_from - HOUR_MS), to - 1, HOUR_MS do
    local ok
    ok, err = M.rewrite(store, at)
    if not ok then
      return nil, err
    end
  end
  if hour and to > hour then
    return store:upsert("system_runtime", { _id = "stats" }, { set = { ["state.next"] = to } })
  end
  return true
end

---(waits) The job: marked hours, and what was never counted.
---@return true?, table? err
function M.run(app)
  local store, now = app.store, cxb.time.now()
  local doc, err = store:get("system_runtime", "stats")
  if not doc and err.code ~= "not_found" then
    return nil, err
  end
  local state = doc and doc.state or {}
  for _, item in ipairs(marked(state, now)) do
    local ok
    ok, err = M.rewrite(store, item.hour)
    if not ok then
      return nil, err
    end
    store:update("system_runtime", "stats", { unset = { "state." .. item.name } },
      { expect = { ["state." .. item.name] = item.mark } })
  end
  return catch_up(store, state, M.live_from(now))
end

---(waits) Up to where `call_stats` is complete.
---@return number? ms, table? err
function M.complete_to(store, now)
  local doc, err = store:get("system_runtime", "stats")
  if not doc and err.code ~= "not_found" then
    return nil, err
  end
  return math.min(doc and doc.state and doc.state.next or 0, M.live_from(now))
end

return M
