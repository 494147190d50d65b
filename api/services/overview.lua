-- What the first page of the Console shows (api.md §5.1): a range of days, the same range before,
-- and how it is now.
local call_latency = require("services.calls.latency")
local call_series = require("services.calls.series")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local system_settings = require("services.system.settings")

local M = {}

local DAY_MS = 86400000

-- From, to and how long before the former range was.
local function span(range, zone, now)
  local today = call_series.today(zone, now)
  if range == "today" then
    return today, now, DAY_MS
  end
  local days = range == "7d" and 7 or 30
  return now - days * DAY_MS, now, days * DAY_MS
end

local function percentile(groups, share)
  local buckets, total, sum = {}, 0, 0
  for _, group in ipairs(groups) do
    if group.by.lat_bucket then
      buckets[#buckets + 1] = group
      total = total + group.count
    end
  end
  table.sort(buckets, function(a, b)
    return a.by.lat_bucket < b.by.lat_bucket
  end)
  for _, group in ipairs(buckets) do
    sum = sum + group.count
    if sum >= total * share then
      return call_latency.middle(group.by.lat_bucket)
    end
  end
end

-- (waits)
local function calls(app, from, to, zone)
  local answer, refused = call_series.of(app, { from = from, to = to, bucket = "day",
    group_by = "status", tz = zone, filter = {} })
  if not answer then
    return nil, refused
  end
  local groups, err = app.store:group("calls",
    { started_at = { gte = from, lt = to }, call_type = { ne = "test" } }, { "lat_bucket" })
  if not groups then
    return nil, errors.of_store(err)
  end
  local out = answer.totals
  out.by_status = {}
  for _, group in ipairs(answer.groups) do
    out.by_status[group.key] = group.calls
  end
  out.latency_p50_ms, out.latency_p95_ms = percentile(groups, 0.5), percentile(groups, 0.95)
  return out
end

-- (waits) Counts by what stands in `wanted`: name → collection and filter.
local function counts(store, wanted)
  local out = {}
  for name, what in pairs(wanted) do
    local n, err = store:count(what[1], what[2])
    if not n then
      return nil, errors.of_store(err)
    end
    out[name] = n
  end
  return out
end

-- (waits) What happened in a span beside the calls.
local function happened(store, from, to)
  local during = { gte = from, lt = to }
  return counts(store, {
    campaigns_started = { "campaigns", { started_at = during } },
    campaigns_completed = { "campaigns", { completed_at = during } },
    desk_calls = { "agent_desk_calls", { enqueued_at = during } },
    delivered = { "crm_deliveries", { state = "delivered", delivered_at = during } },
  })
end

-- (waits) What is so now.
local function now_is(store)
  return counts(store, {
    campaigns_running = { "campaigns", { status = "running" } },
    desk_waiting = { "agent_desk_calls", { state = "waiting" } },
    desk_active = { "agent_desk_calls", { state = { ["in"] = { "assigned", "active" } } } },
    outbox_pending = { "crm_deliveries", { state = { ["in"] = { "pending", "sending" } } } },
    outbox_dead = { "crm_deliveries", { state = "dead" } },
    calls_live = { "calls", { status = "in_progress" } },
  })
end

-- (waits) What the fleet has; nil when it cannot be asked.
local function fleet_now(app)
  local hosts = fleet.hosts(app)
  if not hosts then
    return nil
  end
  local out = { hosts = #hosts, capacity = 0, active_calls = 0, available = 0 }
  for _, host in ipairs(hosts) do
    out.capacity = out.capacity + host.max
    out.active_calls = out.active_calls + host.calls
    out.available = out.available + (host.draining and 0 or host.available)
  end
  return out
end

-- (waits)
local function range_of(app, from, to, zone)
  local out, err = calls(app, from, to, zone)
  local more
  if out then
    more, err = happened(app.store, from, to)
  end
  if not more then
    return nil, err
  end
  return { from = from, to = to, calls = out, campaigns_started = more.campaigns_started,
    campaigns_completed = more.campaigns_completed, desk_calls = more.desk_calls,
    deliveries = more.delivered }
end

---(waits)
---@param range "today"|"7d"|"30d"
---@return table? answer, api.error? err
function M.get(app, range)
  local settings, failed = system_settings.get(app)
  if not settings then
    return nil, errors.of_store(failed)
  end
  local zone, now = settings.display_timezone or "UTC", cxb.time.now()
  local from, to, back = span(range, zone, now)
  local current, err = range_of(app, from, to, zone)
  local previous, state
  if current then
    previous, err = range_of(app, from - back, to - back, zone)
  end
  if previous then
    state, err = now_is(app.store)
  end
  if not state then
    return nil, err
  end
  state.fleet = fleet_now(app)
  return { range = range, tz = zone, now = state, current = current, previous = previous }
end

return M
