-- When a caller wants to be called again: the first rule that fits (a span from now, a time of
-- day, a part of the day, a day), else the campaign's retry delay; then clipped to the windows.
local times = require("cxb.times")
local tz = require("cxb.tz")
local windows = require("cxb.campaign.windows")
local words = require("cxb.campaign.callback_words")

local M = {
  NO_CLEAR_TIME_REASON = "NO_CLEAR_TIME_REASON",
  OUTSIDE_WINDOW_REASON = "OUTSIDE_WINDOW_REASON",
}

local MINUTE, HOUR, DAY_MS = 60000, 3600000, 86400000
local DAY_HOUR = 10 -- a day without a time
local MAX_DAYS = 30
local RETRY_DELAY_MINUTES = 30

-- The first meaning of a kind; where it is.
local function first(list, kind, from)
  for i = from or 1, #list do
    if list[i][kind] ~= nil then
      return list[i][kind], i
    end
  end
end

-- The count that ends before position `at`: "sade paanch" is 5.5, "paune chhe" 5.75.
local function count_before(list, at)
  local word = list[at - 1]
  if not word then
    return nil
  elseif not word.number then
    return word.plus and 1 + word.plus or word.minus and 1 - word.minus or nil
  end
  local modifier = list[at - 2] or {}
  return word.number + (modifier.plus or 0) - (modifier.minus or 0)
end

-- Rule 1: a number of minutes or hours, or a vague little while.
local function relative(list, requested_at)
  local vague = first(list, "short")
  if vague then
    return requested_at + vague * MINUTE
  end
  local total, found = 0, false
  for i, word in ipairs(list) do
    local size = word.unit == "minute" and MINUTE or word.unit == "hour" and HOUR
    local n = size and count_before(list, i)
    if n then
      total, found = total + n * size, true
    end
  end
  return found and total > 0 and requested_at + total or nil
end

-- The calendar day that is named, as days since 1970; nil: none.
local function named_day(list, today)
  local month, at = first(list, "month")
  local by_date, date_at = first(list, "date")
  local number = list[(at or date_at or 0) - 1] or {}
  if not number.number and at then
    number = list[at + 1] or {} -- "March 15"
  end
  if (month or by_date) and number.digits then
    local year, this_month = times.date(today)
    local wanted = month or this_month
    for k = 0, month and 1 or 12 do
      local m = month and wanted or (wanted - 1 + k) % 12 + 1
      local y = month and year + k or year + math.floor((wanted - 1 + k) / 12)
      local day = times.days(y, m, number.number)
      local _, m2 = times.date(day)
      if day >= today and m2 == m then
        number.taken = true
        return day
      end
    end
  end
  local weekday = first(list, "weekday")
  if weekday then
    return today + (weekday - 1 - (today + 3) % 7 - 1) % 7 + 1
  end
  local offset = first(list, "day")
  if offset then
    return today + offset
  end
  local unit, unit_at = first(list, "unit")
  if unit == "day" or unit == "week" then
    local n = count_before(list, unit_at)
    if n then
      list[unit_at - 1].taken = true
      return today + math.floor(n * (unit == "week" and 7 or 1) + 0.5)
    end
  end
end

-- Minutes of the day that a bare hour can mean, by what stands beside it.
local function readings(minute, half)
  local hour = math.floor(minute / 60)
  if hour > 12 or hour == 0 then
    return { minute }
  elseif half == "am" then
    return { minute % 720 }
  elseif half == "pm" or (half == "night" and hour >= 6 and hour < 12) then
    return { minute % 720 + 720 }
  elseif half == "night" then
    return { minute % 720 }
  end
  return { minute % 720, minute % 720 + 720 }
end

-- The clock time that is named, in minutes; `certain` when it is written as one.
local function named_minute(list)
  local time, at = first(list, "time")
  if time then
    return time, true, at
  end
  for i, word in ipairs(list) do
    local following = list[i + 1] or {}
    local beside = following.clock or following.half
    local n = word.number and not word.taken and not following.unit and not following.month
      and not following.date and count_before(list, i + 1)
    local modified = list[i - 1] and (list[i - 1].plus or list[i - 1].minus)
    local announced = list[i - 1] and (list[i - 1].clock or list[i - 1].part or list[i - 1].day)
    if n and n >= 0.5 and n < 24 and (beside or modified or announced) then
      return n * 60, beside ~= nil
    end
  end
end

-- Rule 2: a clock time, on the day named, else at the next such time inside the window.
local function clock(list, now, day, zone, window)
  local minute = named_minute(list)
  if not minute then
    return nil
  end
  local half = first(list, "half")
  local today = day or now.day
  local best, inside
  for k = 0, day and 0 or 1 do
    for _, reading in ipairs(readings(minute, half)) do
      local past_midnight = half == "night" and reading < 360 and 1 or 0
      local at = tz.utc(zone, today + k + past_midnight, reading)
      if at > now.at and not best then
        best = at
      end
      if at > now.at and not inside and windows.is_open(window, at) then
        inside = at
      end
    end
  end
  return inside or best or tz.utc(zone, today + 1, readings(minute, half)[1])
end

-- Rule 3: a part of the day.
local function daypart(list, now, day, zone)
  local hour = first(list, "part")
  if not hour then
    return nil
  end
  local at = tz.utc(zone, day or now.day, hour * 60)
  if at <= now.at then
    at = tz.utc(zone, (day or now.day) + 1, hour * 60)
  end
  return at
end

-- Rule 4: a day and nothing else; today says nothing.
local function day_only(day, now, zone)
  if day and day > now.day then
    return tz.utc(zone, day, DAY_HOUR * 60)
  end
end

local function by_rules(text, requested_at, zone, window)
  local list = words.read(text)
  local now = { at = requested_at }
  now.day = math.floor((requested_at / 1000 + tz.offset(zone, requested_at)) / 86400)
  local at = relative(list, requested_at)
  if at then
    return at, "relative"
  end
  local day = named_day(list, now.day)
  at = clock(list, now, day, zone, window)
  if at then
    return at, "clock"
  end
  at = daypart(list, now, day, zone)
  if at then
    return at, "daypart"
  end
  return day_only(day, now, zone), "day"
end

---@param preferred_time_text? string what the caller said
---@param requested_at number ms
---@param campaign table
---@param zone_key? string zones of the contact joined by "|"
---@return {at: number?, reason: string} at nil: the windows never open; reason: the rule that
---fitted, NO_CLEAR_TIME_REASON or OUTSIDE_WINDOW_REASON
function M.resolve(preferred_time_text, requested_at, campaign, zone_key)
  local config = campaign.config or {}
  local window = windows.of_campaign(config)
  local text = type(preferred_time_text) == "string" and preferred_time_text:sub(1, 400) or ""
  local at, reason = by_rules(text, requested_at, window.zone, window)
  if not at or at > requested_at + MAX_DAYS * DAY_MS then
    local delay = (config.redial_rules or {}).retry_delay_minutes or RETRY_DELAY_MINUTES
    at, reason = requested_at + delay * MINUTE, M.NO_CLEAR_TIME_REASON
  end
  local open = windows.next_open(windows.of(config, zone_key), at)
  if open ~= at then
    at, reason = open, M.OUTSIDE_WINDOW_REASON
  end
  return { at = at, reason = reason }
end

return M
