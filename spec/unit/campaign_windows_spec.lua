local times = require("cxb.times")
local tz = require("cxb.tz")
local windows = require("cxb.campaign.windows")

local function at(text)
  return times.parse(text)
end

local function campaign(zone, from, to, more)
  local window = { timezone = zone, start = from, ["end"] = to }
  for key, value in pairs(more or {}) do
    window[key] = value
  end
  return { time_window = window, contact_window = { enabled = false } }
end

local function opens(config, zone_key, text)
  local open = windows.next_open(windows.of(config, zone_key), at(text))
  return open and times.format(open):sub(1, 16)
end

describe("a wall time", function()
  it("that summer time leaves out is the first moment after the gap", function()
    local day = times.days(2026, 3, 29)
    assert.equal("2026-03-29T01:00:00.000Z", times.format(tz.utc("Europe/Berlin", day, 150)))
    assert.equal("2026-03-29T00:59:00.000Z", times.format(tz.utc("Europe/Berlin", day, 119)))
    assert.equal("2026-03-29T01:00:00.000Z", times.format(tz.utc("Europe/Berlin", day, 180)))
  end)

  it("that comes twice is the earlier for a start and the later for an end", function()
    local day = times.days(2026, 10, 25)
    assert.equal("2026-10-25T00:30:00.000Z", times.format(tz.utc("Europe/Berlin", day, 150)))
    assert.equal("2026-10-25T01:30:00.000Z", times.format(tz.utc("Europe/Berlin", day, 150, true)))
  end)

  it("is the inverse of the wall clock in every zone at every hour around its changes", function()
    for _, zone in ipairs({ "Asia/Kolkata", "Europe/Berlin", "America/New_York",
      "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham", "UTC" }) do
      for ms = at("2026-01-01T00:30:00Z"), at("2026-12-31T00:00:00Z"), 5400000 * 3 do
        local w = tz.wall(zone, ms)
        local day, minute = times.days(w.year, w.month, w.day), w.hour * 60 + w.minute
        local early, late = tz.utc(zone, day, minute), tz.utc(zone, day, minute, true)
        assert.is_true(early == ms or late == ms, zone .. times.format(ms))
      end
    end
  end)
end)

describe("a window", function()
  it("counts its start and not its end", function()
    local window = windows.of_campaign(campaign("Asia/Kolkata", "09:00", "18:00"))
    assert.is_false(windows.is_open(window, at("2026-04-24T03:29:59Z")))
    assert.is_true(windows.is_open(window, at("2026-04-24T03:30:00Z")))
    assert.is_true(windows.is_open(window, at("2026-04-24T12:29:59Z")))
    assert.is_false(windows.is_open(window, at("2026-04-24T12:30:00Z")))
  end)

  it("over midnight belongs to the day it began on", function()
    local config = campaign("UTC", "22:00", "02:00", { days = { "fri" } })
    local window = windows.of_campaign(config)
    assert.is_true(windows.is_open(window, at("2026-04-24T22:00:00Z")))
    assert.is_true(windows.is_open(window, at("2026-04-25T01:59:00Z")))
    assert.is_false(windows.is_open(window, at("2026-04-25T22:00:00Z")))
    assert.is_false(windows.is_open(window, at("2026-04-24T01:00:00Z")))
    assert.equal("2026-05-01T22:00", opens(config, nil, "2026-04-25T02:00:00Z"))
  end)

  it("is closed on a holiday from midnight to midnight", function()
    local config = campaign("Asia/Kolkata", "20:00", "04:00", { holidays = { "2026-04-25" } })
    local window = windows.of_campaign(config)
    assert.is_true(windows.is_open(window, at("2026-04-24T18:29:00Z")))
    assert.is_false(windows.is_open(window, at("2026-04-24T18:30:00Z")))
    assert.equal("2026-04-26T14:30", opens(config, nil, "2026-04-24T18:30:00Z"))
  end)

  it("keeps to the later of two equal times at its end and the earlier at its start", function()
    local window = windows.of_campaign(campaign("Europe/Berlin", "00:00", "02:30"))
    assert.is_true(windows.is_open(window, at("2026-10-25T00:45:00Z")))
    assert.is_true(windows.is_open(window, at("2026-10-25T01:29:00Z")))
    assert.is_false(windows.is_open(window, at("2026-10-25T01:30:00Z")))
    assert.equal("2026-03-29T01:00",
      opens(campaign("Europe/Berlin", "02:15", "06:00"), nil, "2026-03-29T00:00:00Z"))
  end)

  it("that never opens is told", function()
    assert.is_nil(opens(campaign("UTC", "09:00", "10:00", { days = {} }), nil,
      "2026-04-24T00:00:00Z"))
    local config = campaign("Asia/Kolkata", "09:00", "10:00")
    config.contact_window = { enabled = true, start = "08:00", ["end"] = "09:00" }
    assert.is_nil(opens(config, "Asia/Kolkata", "2026-04-24T00:00:00Z"))
  end)
end)

describe("a contact", function()
  it("is called when both windows are open, in every zone its number may lie in", function()
    local config = campaign("Asia/Kolkata", "09:00", "22:00")
    config.contact_window = { enabled = true, start = "08:00", ["end"] = "21:00" }
    assert.equal("2026-04-24T06:00", opens(config, "Europe/Berlin", "2026-04-24T04:00:00Z"))
    assert.equal("2026-04-24T12:00", opens(config, "America/New_York|Europe/Berlin",
      "2026-04-24T06:30:00Z"))
    assert.equal("2026-04-25T12:00", opens(config, "America/New_York", "2026-04-24T16:30:00Z"))
  end)
end)
