local callback_time = require("cxb.campaign.callback_time")
local times = require("cxb.times")
local tz = require("cxb.tz")

local ZONE = "Asia/Kolkata"

local function campaign(more)
  local window = { timezone = ZONE, start = "00:00", ["end"] = "00:00" }
  for key, value in pairs(more or {}) do
    window[key] = value
  end
  return { config = { time_window = window, contact_window = { enabled = false },
    redial_rules = { retry_delay_minutes = 45 } } }
end

-- Asked on Friday 2026-04-24 at 12:00 in Kolkata, the window open all day.
local NOON = times.parse("2026-04-24T12:00:00+05:30")

local phrases = {
  -- relative
  { "5 min", "24 12:05", "relative" }, { "in 2 hours", "24 14:00", "relative" },
  { "half an hour", "24 12:30", "relative" }, { "30 minute baad", "24 12:30", "relative" },
  { "aadhe ghante", "24 12:30", "relative" }, { "ek ghante", "24 13:00", "relative" },
  { "dedh ghante", "24 13:30", "relative" }, { "dhai ghante", "24 14:30", "relative" },
  { "thodi der", "24 12:30", "relative" }, { "Call me in an hour", "24 13:00", "relative" },
  { "after 10 minutes please", "24 12:10", "relative" }, { "do ghante baad", "24 14:00", "relative" },
  { "sawa ghante mein", "24 13:15", "relative" }, { "paune ghante", "24 12:45", "relative" },
  { "sade teen ghante", "24 15:30", "relative" }, { "1 hour 15 minutes", "24 13:15", "relative" },
  { "आधे घंटे", "24 12:30", "relative" }, { "डेढ़ घंटे बाद", "24 13:30", "relative" },
  { "१० मिनट बाद", "24 12:10", "relative" }, { "थोड़ी देर बाद", "24 12:30", "relative" },
  { "a little later", "24 12:30", "relative" }, { "20mins", "24 12:20", "relative" },
  -- clock
  { "5 pm", "24 17:00", "clock" }, { "17:30", "24 17:30", "clock" },
  { "5 baje", "24 17:00", "clock" }, { "sade paanch", "24 17:30", "clock" },
  { "sawa chaar", "24 16:15", "clock" }, { "paune chhe", "24 17:45", "clock" },
  { "11 am", "25 11:00", "clock" }, { "kal subah 9 baje", "25 09:00", "clock" },
  { "shaam 6 baje", "24 18:00", "clock" }, { "tomorrow at 4:30 pm", "25 16:30", "clock" },
  { "parso dopahar 2 baje", "26 14:00", "clock" }, { "5 o'clock", "24 17:00", "clock" },
  { "raat 9 baje", "24 21:00", "clock" }, { "monday 11 am", "27 11:00", "clock" },
  { "शाम 7 बजे", "24 19:00", "clock" }, { "साढ़े पाँच बजे", "24 17:30", "clock" },
  { "5.30 p.m.", "24 17:30", "clock" }, { "at 3", "24 15:00", "clock" },
  { "kal 10 baje", "25 10:00", "clock" }, { "dhai baje", "24 14:30", "clock" },
  { "12 pm tomorrow", "25 12:00", "clock" }, { "raat 12 baje", "25 00:00", "clock" },
  -- part of the day
  { "kal shaam", "25 18:00", "daypart" }, { "subah", "25 10:00", "daypart" },
  { "evening", "24 18:00", "daypart" }, { "dopahar", "24 14:00", "daypart" },
  { "raat", "24 20:00", "daypart" }, { "tomorrow morning", "25 10:00", "daypart" },
  { "parso subah", "26 10:00", "daypart" }, { "tonight", "24 20:00", "daypart" },
  { "aaj shaam", "24 18:00", "daypart" }, { "aaj subah", "25 10:00", "daypart" },
  { "कल शाम", "25 18:00", "daypart" }, { "परसों दोपहर", "26 14:00", "daypart" },
  { "monday evening", "27 18:00", "daypart" },
  -- day
  { "kal", "25 10:00", "day" }, { "do din baad", "26 10:00", "day" },
  { "do ghante", "24 14:00", "relative" }, { "parso", "26 10:00", "day" }, { "tomorrow", "25 10:00", "day" },
  { "day after tomorrow", "26 10:00", "day" }, { "Sunday", "26 10:00", "day" },
  { "friday", "1 10:00", "day" }, { "next week", "1 10:00", "day" },
  { "28 tarikh", "28 10:00", "day" }, { "15 tarikh", "15 10:00", "day" },
  { "15 May", "15 10:00", "day" }, { "May 3rd", "3 10:00", "day" }, { "2 din baad", "26 10:00", "day" },
  { "सोमवार को", "27 10:00", "day" }, { "अगले हफ्ते", "1 10:00", "day" },
  -- no clear time
  { "", "24 12:45", "NO_CLEAR_TIME_REASON" }, { "later", "24 12:45", "NO_CLEAR_TIME_REASON" },
  { "sometime", "24 12:45", "NO_CLEAR_TIME_REASON" },
  { "15 March", "24 12:45", "NO_CLEAR_TIME_REASON" },
  { "after 8 weeks", "24 12:45", "NO_CLEAR_TIME_REASON" },
  { "today", "24 12:45", "NO_CLEAR_TIME_REASON" }, { "99:99", "24 12:45", "NO_CLEAR_TIME_REASON" },
}

local function shown(ms, zone)
  local w = tz.wall(zone or ZONE, ms)
  return ("%d %02d:%02d"):format(w.day, w.hour, w.minute)
end

describe("a wish to be called again", function()
  it("is understood by the table of phrases", function()
    for _, case in ipairs(phrases) do
      local answer = callback_time.resolve(case[1], NOON, campaign())
      assert.equal(case[2] .. " " .. case[3], shown(answer.at) .. " " .. answer.reason, case[1])
    end
  end)

  it("never lies in the past, nor more than thirty days ahead, at any hour of the day", function()
    for _, hour in ipairs({ "00:10", "07:59", "12:00", "18:00", "23:50" }) do
      local now = times.parse("2026-04-24T" .. hour .. ":00+05:30")
      for _, case in ipairs(phrases) do
        local answer = callback_time.resolve(case[1], now, campaign())
        assert.is_true(answer.at > now, case[1] .. " " .. hour)
        assert.is_true(answer.at <= now + 30 * 86400000, case[1] .. " " .. hour)
      end
    end
  end)

  it("keeps to the wall clock on the days summer time begins and ends", function()
    local berlin = campaign({ timezone = "Europe/Berlin" })
    local answer = callback_time.resolve("kal shaam", times.parse("2026-03-28T12:00:00Z"), berlin)
    assert.equal("29 18:00", shown(answer.at, "Europe/Berlin"))
    answer = callback_time.resolve("2 hours", times.parse("2026-10-25T00:00:00Z"), berlin)
    assert.equal("25 03:00", shown(answer.at, "Europe/Berlin"))
    answer = callback_time.resolve("02:30", times.parse("2026-03-29T00:30:00Z"), berlin)
    assert.equal("29 03:00", shown(answer.at, "Europe/Berlin"))
  end)

  it("outside of the windows becomes their next opening, and says so", function()
    local office = campaign({ start = "09:00", ["end"] = "18:00",
      days = { "mon", "tue", "wed", "thu", "fri" }, holidays = { "2026-04-27" } })
    local answer = callback_time.resolve("kal shaam", NOON, office)
    assert.equal("28 09:00 OUTSIDE_WINDOW_REASON", shown(answer.at) .. " " .. answer.reason)
    answer = callback_time.resolve("8 baje", NOON, office)
    assert.equal("OUTSIDE_WINDOW_REASON", answer.reason)
    answer = callback_time.resolve("17:00", NOON, office)
    assert.equal("24 17:00 clock", shown(answer.at) .. " " .. answer.reason)
    office.config.contact_window = { enabled = true, start = "08:00", ["end"] = "21:00" }
    answer = callback_time.resolve("1 hour", NOON, office, "America/New_York")
    assert.equal("24 17:30 OUTSIDE_WINDOW_REASON", shown(answer.at) .. " " .. answer.reason)
  end)

  it("that no window ever allows has no time", function()
    local answer = callback_time.resolve("kal", NOON, campaign({ days = {} }))
    assert.is_nil(answer.at)
    assert.equal("OUTSIDE_WINDOW_REASON", answer.reason)
  end)

  it("may be any text at all", function()
    for _, text in ipairs({ ("kal "):rep(500), "\255\254", "1 2 3 4 5", "99999999999999", "of of",
      "half", "baje", "am pm", "31 tarikh", "0 min", "-5 min" }) do
      assert.is_true(callback_time.resolve(text, NOON, campaign()).at > NOON, text)
    end
    assert.equal("NO_CLEAR_TIME_REASON", callback_time.resolve(nil, NOON, campaign()).reason)
    assert.equal("NO_CLEAR_TIME_REASON", callback_time.resolve({}, NOON, campaign()).reason)
  end)
end)
