-- Figures of the Agent Desk (api.md §5.17): now, and over whole days of the display time zone.
local errors = require("services.web.errors")
local people = require("services.desk.people")
local presence = require("services.desk.presence")
local system_settings = require("services.system.settings")
local times = require("cxb.times")
local tz = require("cxb.tz")

local M = {}

local DAY_MS, DAYS_MAX, PAGE = 86400000, 92, 1000
local SERVICE_MS = 20000 -- answered within this: the service level

local date = { type = "string", format = "date" }
local number, integer = { type = "number", nullable = true }, { type = "integer" }

M.query = { type = "object", properties = { from = date, to = date } }

local figures = {
  today_calls = integer, calls = integer, answered = integer, abandoned = integer,
  timed_out = integer, average_wait_seconds = number, average_handle_seconds = number,
  average_wrap_up_seconds = number, abandon_rate = number, service_level = number,
  from = { type = "string" }, to = { type = "string" },
}
M.own_shape = { type = "object", title = "DeskAgentMetrics", properties = figures }
M.shape = { type = "object", title = "DeskMetrics", properties = {
  queue = { type = "object", properties = { waiting = integer, active = integer } },
  agents = { type = "object", properties = { available = integer, busy = integer } },
} }
for name, property in pairs(figures) do
  M.shape.properties[name] = property
end

local function midnight(text, zone)
  local y, m, d = text:match("^(%d+)-(%d+)-(%d+)$")
  return tz.utc(zone, times.days(tonumber(y), tonumber(m), tonumber(d)), 0)
end

-- (waits) The range asked for as times; today when none is.
local function range(ctx)
  local settings, err = system_settings.get(ctx.app)
  if not settings then
    return nil, errors.of_store(err)
  end
  local zone = settings.display_timezone
  local wall = tz.wall(zone, cxb.time.now())
  local today = ("%04d-%02d-%02d"):format(wall.year, wall.month, wall.day)
  local out = { from_day = ctx.query.from or ctx.query.to or today }
  out.to_day = ctx.query.to or today
  out.from, out.to = midnight(out.from_day, zone), midnight(out.to_day, zone) + DAY_MS
  out.today = midnight(today, zone)
  if out.to <= out.from or out.to - out.from > DAYS_MAX * DAY_MS then
    return nil, errors.new(400, "invalid_query",
      ("Query: from and to are at most %d days, in order."):format(DAYS_MAX))
  end
  return out
end

local function add(sum, value)
  if value then
    sum.n, sum.ms = sum.n + 1, sum.ms + value
  end
end

local function average(sum)
  return sum.n > 0 and math.floor(sum.ms / sum.n / 100 + 0.5) / 10 or nil
end

local function share(part, whole)
  return whole > 0 and math.floor(part / whole * 1000 + 0.5) / 1000 or nil
end

local fields = { "state", "enqueued_at", "wait_ms", "handle_ms", "wrap_up_ms", "first_active_at" }

-- (waits) Sums over the calls of a range.
local function sums(app, filter, days)
  local out = { calls = 0, answered = 0, abandoned = 0, timed_out = 0, quick = 0,
    wait = { n = 0, ms = 0 }, handle = { n = 0, ms = 0 }, wrap_up = { n = 0, ms = 0 } }
  filter.enqueued_at = { gte = days.from, lt = days.to }
  local after
  repeat
    local calls, cursor = app.store:find("agent_desk_calls", filter,
      { sort = { "-enqueued_at" }, limit = PAGE, after = after, fields = fields })
    if not calls then
      return nil, errors.of_store(cursor)
    end
    for _, call in ipairs(calls) do
      out.calls = out.calls + 1
      local answered = call.first_active_at ~= nil
      out.answered = out.answered + (answered and 1 or 0)
      out.quick = out.quick + (answered and (call.wait_ms or 0) <= SERVICE_MS and 1 or 0)
      if call.state == "abandoned" or call.state == "timed_out" then
        out[call.state] = out[call.state] + 1
      end
      add(out.wait, call.wait_ms)
      add(out.handle, call.handle_ms)
      add(out.wrap_up, call.wrap_up_ms)
    end
    after = cursor
  until not after
  return out
end

local function told(s, days)
  return {
    from = days.from_day, to = days.to_day, today_calls = s.today, calls = s.calls,
    answered = s.answered, abandoned = s.abandoned, timed_out = s.timed_out,
    average_wait_seconds = average(s.wait), average_handle_seconds = average(s.handle),
    average_wrap_up_seconds = average(s.wrap_up),
    abandon_rate = share(s.abandoned, s.answered + s.abandoned),
    service_level = share(s.quick, s.answered + s.abandoned),
  }
end

-- (waits) Figures of the range, and how many calls there were today whatever it is.
local function of_range(ctx, filter)
  local days, err = range(ctx)
  if not days then
    return nil, err
  end
  local s
  s, err = sums(ctx.app, filter, days)
  if not s then
    return nil, err
  end
  filter.enqueued_at = { gte = days.today }
  s.today, err = ctx.app.store:count("agent_desk_calls", filter)
  return s.today and told(s, days), err and errors.of_store(err)
end

---(waits) An agent's own figures.
function M.own(ctx)
  return of_range(ctx, { agent_id = ctx.principal.id })
end

-- (waits) Who is here now.
local function now_is(app)
  local here, err = people.here(app)
  if not here then
    return nil, err
  end
  local out = { waiting = 0, active = 0, available = 0, busy = 0 }
  for _, call in ipairs(here.calls) do
    local kind = call.state == "waiting" and "waiting" or "active"
    out[kind] = out[kind] + (call.state ~= "wrap_up" and 1 or 0)
  end
  for id, agent in pairs(here.agents) do
    local status = presence.status(agent, here.with_call[id], cxb.time.now(),
      here.timers.heartbeat_ttl * 1000)
    if status == "available" then
      out.available = out.available + 1
    elseif presence.is_online(status) then
      out.busy = out.busy + 1
    end
  end
  return out
end

---(waits) The desk's figures.
function M.all(ctx)
  local out, err = of_range(ctx, {})
  local here
  if out then
    here, err = now_is(ctx.app)
  end
  if not here then
    return nil, err
  end
  out.queue = { waiting = here.waiting, active = here.active }
  out.agents = { available = here.available, busy = here.busy }
  return out
end

return M
