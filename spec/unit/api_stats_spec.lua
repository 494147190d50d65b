-- Statistics of calls: what `call_stats` and the calls of the last hours say together.
local api = require("spec.support.api")
local dirty_hours = require("services.results.dirty_hours")
local times = require("cxb.times")

local HOUR = 3600000

describe("statistics of calls", function()
  local app, call_stats, call_series, serial

  before_each(function()
    api.install()
    app, serial = api.app(), 0
    call_stats, call_series = require("services.calls.stats"), require("services.calls.series")
  end)

  after_each(api.restore)

  local function call(at, fields)
    serial = serial + 1
    local doc = { _id = "s" .. serial, started_at = at, call_type = "bot", status = "completed",
      bot_id = "b", call_duration_seconds = 10 }
    for name, value in pairs(fields or {}) do
      doc[name] = value
    end
    return assert(app.store:insert("calls", doc))
  end

  local function series(from, to, more)
    local query = { from = from, to = to, bucket = "day", group_by = "status", tz = "UTC",
      filter = {} }
    for name, value in pairs(more or {}) do
      query[name] = value
    end
    return assert(call_series.of(app, query))
  end

  it("are the same from the store as counted anew, whatever the zone and the groups", function()
    math.randomseed(7)
    local states = { "completed", "failed", "voicemail", "in_progress" }
    for _ = 1, 300 do
      call(api.now - math.random(0, 60 * HOUR), { status = states[math.random(4)],
        bot_id = "b" .. math.random(3), was_transferred = math.random(4) == 1 or nil,
        call_type = math.random(9) == 1 and "test" or "bot",
        call_duration_seconds = math.random(0, 100) })
    end
    local function all()
      local out = {}
      for _, zone in ipairs({ "UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York" }) do
        for _, bucket in ipairs({ "hour", "day" }) do
          for _, group_by in ipairs({ "status", "bot" }) do
            out[#out + 1] = series(api.now - 48 * HOUR, api.now + 1,
              { tz = zone, bucket = bucket, group_by = group_by })
          end
        end
      end
      return out
    end
    local counted = all()
    assert(call_stats.run(app))
    assert.is_true(call_stats.complete_to(app.store, api.now) > api.now - 3 * HOUR)
    assert.same(counted, all())
    assert.is_true(counted[1].totals.calls > 100)
  end)

  it("have days that begin at the zone's midnight, also of 23 and 25 hours", function()
    local function starts(zone, from, to)
      local out = {}
      for i, entry in ipairs(series(times.parse(from), times.parse(to),
        { tz = zone }).series) do
        out[i] = times.format(entry.at):sub(1, 16)
      end
      return table.concat(out, " ")
    end
    assert.equal("2026-04-21T18:30 2026-04-22T18:30",
      starts("Asia/Kolkata", "2026-04-22T00:00:00Z", "2026-04-23T00:00:00Z"))
    assert.equal("2026-03-27T23:00 2026-03-28T23:00 2026-03-29T22:00",
      starts("Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"))
    assert.equal("2025-10-24T22:00 2025-10-25T22:00 2025-10-26T23:00",
      starts("Europe/Berlin", "2025-10-25T12:00:00Z", "2025-10-27T12:00:00Z"))
  end)

  it("follow a call that changes later, once its hour is marked", function()
    local at = api.now - 30 * HOUR
    local doc = call(at, { status = "in_progress" })
    assert(call_stats.run(app))
    assert(app.store:update("calls", doc._id, { set = { status = "failed" } }))
    assert(dirty_hours.of_call(app, doc))
    local function failed()
      return series(at - HOUR, at + HOUR).groups[1].key
    end
    assert.equal("in_progress", failed())
    assert(call_stats.run(app))
    assert.equal("in_progress", failed(), "a mark made just now is left for the next run")
    api.now = api.now + 2000
    assert(call_stats.run(app))
    assert.equal("failed", failed())
    assert.equal(1, app.store:count("call_stats", {}))
    for name in pairs(app.store:get("system_runtime", "stats").state) do
      assert.equal("next", name)
    end
  end)

  it("count a call of now at once, a test call never", function()
    assert(call_stats.run(app))
    call(api.now - 1000)
    call(api.now - 1000, { call_type = "test" })
    local totals = series(api.now - HOUR, api.now + 1).totals
    assert.same({ 1, 1, 10, 1 }, { totals.calls, totals.connected, totals.average_seconds,
      totals.connected_rate })
  end)

  it("are read a day at a time, without a gap, as months of them are many", function()
    for hours = 1, 120, 7 do
      call(api.now - hours * HOUR)
    end
    assert(call_stats.run(app))
    local group, spans = app.store.group, {}
    rawset(app.store, "group", function(store, collection, filter, ...)
      if collection == "call_stats" then
        spans[#spans + 1] = { filter.hour.gte, filter.hour.lt }
      end
      return group(store, collection, filter, ...)
    end)
    local from = api.now - 119.5 * HOUR
    assert.equal(17, series(from, api.now).totals.calls)
    assert.equal(from - from % HOUR, spans[1][1])
    for i, span in ipairs(spans) do
      assert.is_true(span[2] - span[1] <= 24 * HOUR)
      assert.equal(span[2], (spans[i + 1] or { call_stats.live_from(api.now) })[1])
    end
    assert.is_true(#spans >= 5)
  end)

  it("refuse a time with too many hours", function()
    local _, err = call_series.of(app, { from = api.now - 1001 * HOUR, to = api.now,
      bucket = "hour", group_by = "status", tz = "UTC", filter = {} })
    assert.same({ 400, "invalid_query" }, { err.status, err.code })
  end)

  it("are shown for a range beside the same range before", function()
    local overview = require("services.overview")
    local day = 24 * HOUR
    for i = 1, 10 do
      call(api.now - HOUR, { lat_bucket = i, status = i > 8 and "failed" or "completed" })
    end
    call(api.now - day - HOUR, { lat_bucket = 100 })
    call(api.now - 8 * day)
    assert(app.store:insert("campaigns", { name = "c", bot_id = "b", status = "running",
      started_at = api.now - 2 * day, number_pool = {}, config = {}, run_number = 1 }))
    local today = assert(overview.get(app, "today"))
    assert.same({ 10, 8, 0.8, 2 }, { today.current.calls.calls, today.current.calls.connected,
      today.current.calls.connected_rate, today.current.calls.by_status.failed })
    assert.same({ 275, 525 }, { today.current.calls.latency_p50_ms,
      today.current.calls.latency_p95_ms })
    assert.same({ 1, 5025, 1, 0 }, { today.previous.calls.calls,
      today.previous.calls.latency_p50_ms, today.now.campaigns_running,
      today.current.campaigns_started })
    local week = assert(overview.get(app, "7d"))
    assert.same({ 11, 1, 1 }, { week.current.calls.calls, week.previous.calls.calls,
      week.current.campaigns_started })
  end)
end)
