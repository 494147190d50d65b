-- Calls over time (api.md §5.8): totals, groups and a series in buckets of a zone's hours or days.
local call_stats = require("services.calls.stats")
local errors = require("services.web.errors")
local json = require("cxb.json")
local tz = require("cxb.tz")

local M = {}

local QUARTER_MS, HOUR_MS, DAY_MS, BUCKETS_MAX = 900000, 3600000, 86400000, 1000
local COUNTERS = { "calls", "connected", "transferred", "seconds" }

---Fields by the words of the query.
M.groups = {
  status = "status", bot = "bot_id", campaign = "campaign_id", disposition = "disposition",
}

-- The beginning of the local hour or day a moment is in.
local function floor(zone, ms, size)
  local offset = tz.offset(zone, ms) * 1000
  local start = ms + offset - (ms + offset) % size - offset
  -- The clock may have changed since midnight.
  return size == DAY_MS and start + offset - tz.offset(zone, start) * 1000 or start
end

-- The next one: the middle of the next day is never its neighbour.
local function after(zone, start, size)
  return size == DAY_MS and floor(zone, start + 36 * HOUR_MS, DAY_MS) or start + HOUR_MS
end

local function empty()
  return { calls = 0, connected = 0, transferred = 0, seconds = 0 }
end

local connected = { completed = true, in_progress = true }

local function add(into, row, status)
  into.calls = into.calls + row.calls
  into.seconds = into.seconds + row.seconds
  into.transferred = into.transferred + row.transferred
  if connected[status] then
    into.connected = into.connected + row.calls
  end
end

local function finished(counters)
  counters.average_seconds = counters.calls > 0 and counters.seconds / counters.calls or 0
  counters.connected_rate = counters.calls > 0 and counters.connected / counters.calls or 0
  return counters
end

-- The buckets of a span, oldest first.
local function buckets(query)
  local size = query.bucket == "day" and DAY_MS or HOUR_MS
  local list, at = {}, floor(query.tz, query.from, size)
  while at < query.to do
    if #list == BUCKETS_MAX then
      return nil, errors.new(400, "invalid_query",
        ("Query: more than %d buckets; ask for a shorter time or for days."):format(BUCKETS_MAX))
    end
    local entry = empty()
    entry.at, entry.groups = at, {}
    list[#list + 1] = entry
    at = after(query.tz, at, size)
  end
  return list
end

-- Adds what one moment's calls are to everything they belong to.
local function collector(list, query)
  local totals, groups, field = empty(), {}, M.groups[query.group_by]
  local position = 1
  return function(at, row)
    if list[position].at > at then
      position = 1
    end
    while list[position + 1] and list[position + 1].at <= at do
      position = position + 1
    end
    local status, key = row.by.status, row.by[field] or ""
    groups[key] = groups[key] or empty()
    add(totals, row, status)
    add(groups[key], row, status)
    add(list[position], row, status)
    local at_once = list[position].groups
    at_once[key] = (at_once[key] or 0) + row.calls
  end, totals, groups
end

-- (waits) Whole hours out of call_stats, by their quarters: a day at a time, as months of them are
-- many, and others want their turn.
local function stored(store, query, from, to, take)
  local filter = {}
  for name, value in pairs(query.filter) do
    filter[name] = value
  end
  local field, sums = M.groups[query.group_by], {}
  for quarter = 0, 3 do
    for _, name in ipairs({ "calls_", "seconds_", "transferred_" }) do
      sums[#sums + 1] = name .. quarter
    end
  end
  local keys = { "hour", "status", field ~= "status" and field or nil }
  for first = from - from % HOUR_MS, to - 1, DAY_MS do
    filter.hour = { gte = first, lt = math.min(first + DAY_MS, to) }
    local rows, err = store:group("call_stats", filter, keys, sums)
    if not rows then
      return nil, err
    end
    for _, row in ipairs(rows) do
      for quarter = 0, 3 do
        local at = row.by.hour + quarter * QUARTER_MS
        if row.sum["calls_" .. quarter] > 0 and at >= from and at < query.to then
          take(at, {
            by = row.by, calls = row.sum["calls_" .. quarter],
            seconds = row.sum["seconds_" .. quarter],
            transferred = row.sum["transferred_" .. quarter],
          })
        end
      end
    end
  end
  return true
end

-- (waits) From the calls themselves, bucket by bucket.
local function live(store, query, list, from, take)
  local field = M.groups[query.group_by]
  for i, entry in ipairs(list) do
    local begin, over = math.max(entry.at, from), list[i + 1] and list[i + 1].at or query.to
    if begin < over then
      local rows, err = call_stats.count(store, begin, over, query.filter,
        { "status", field ~= "status" and field or nil })
      if not rows then
        return nil, err
      end
      for _, row in ipairs(rows) do
        take(begin, row)
      end
    end
  end
  return true
end

local names_of = { bot = "bots", campaign = "campaigns" }

-- (waits) Groups, largest first, with the names of what they stand for.
local function listed(store, groups, group_by)
  local list = json.array()
  for key, counters in pairs(groups) do
    local doc = names_of[group_by] and key ~= "" and store:get(names_of[group_by], key)
    counters.key, counters.name = key, doc and doc.name or nil
    list[#list + 1] = finished(counters)
  end
  table.sort(list, function(a, b)
    return a.calls > b.calls or (a.calls == b.calls and a.key < b.key)
  end)
  return list
end

---@class api.call_series.query
---@field from number ms; counted from the quarter of an hour it is in
---@field to number ms
---@field bucket "hour"|"day"
---@field group_by "status"|"bot"|"campaign"|"disposition"
---@field tz string
---@field filter table bot_id, campaign_id
---@param query api.call_series.query
---@return {totals: table, groups: table[], series: table[]}? answer, api.error? err
function M.of(app, query)
  query.from = query.from - query.from % QUARTER_MS
  local list, refused = buckets(query)
  if not list then
    return nil, refused
  elseif not list[1] then
    return { totals = finished(empty()), groups = json.array(), series = json.array() }
  end
  local take, totals, groups = collector(list, query)
  local complete, err = call_stats.complete_to(app.store, cxb.time.now())
  local ok = complete ~= nil
  if ok and query.from < complete then
    ok, err = stored(app.store, query, query.from, math.min(complete, query.to), take)
  end
  if ok then
    ok, err = live(app.store, query, list, math.max(query.from, complete), take)
  end
  if not ok then
    return nil, errors.of_store(err)
  end
  for _, entry in ipairs(list) do
    finished(entry)
  end
  return {
    totals = finished(totals), series = json.array(list),
    groups = listed(app.store, groups, query.group_by),
  }
end

---The schema of counters, with more properties.
function M.schema(more)
  local properties = {
    average_seconds = { type = "number" }, connected_rate = { type = "number" },
  }
  for _, name in ipairs(COUNTERS) do
    properties[name] = { type = "number" }
  end
  for name, property in pairs(more or {}) do
    properties[name] = property
  end
  return { type = "object", properties = properties }
end

---The beginning of today in a zone.
---@return number ms
function M.today(zone, now)
  return floor(zone, now, DAY_MS)
end

return M
