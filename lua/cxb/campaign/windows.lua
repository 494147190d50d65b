-- When a contact may be called: the campaign's window in the campaign's zone, and the contact's in
-- each zone its number may lie in. A pure function of its arguments.
--
-- A window is {zone=, start=, stop=, days=, holidays=}: minutes of the day; start counts, stop does
-- not; a stop at or before the start is over midnight and belongs to the day it began on. A holiday
-- of the zone's calendar is closed from midnight to midnight.
local times = require("cxb.times")
local tz = require("cxb.tz")

local M = {}

local DAY_NAMES = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" }
M.DAY_NAMES = DAY_NAMES
M.DEFAULT_ZONE = "Asia/Kolkata"

local DAY_MS = 86400000
local SEARCH_DAYS = 366

local function minutes(text)
  local h, m = text:match("^(%d%d):(%d%d)$")
  return tonumber(h) * 60 + tonumber(m)
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list or {}) do
    set[item] = true
  end
  return set
end

---The campaign's own window.
---@param config table of a campaign
function M.of_campaign(config)
  local window = config.time_window or {}
  return {
    zone = window.timezone or M.DEFAULT_ZONE, start = minutes(window.start or "09:00"),
    stop = minutes(window["end"] or "18:00"), days = set_of(window.days or DAY_NAMES),
    holidays = set_of(window.holidays),
  }
end

---All windows that must be open at once.
---@param config table of a campaign
---@param zone_key? string zones of the contact joined by "|"
---@param more? {start: integer, stop: integer} hours of the jurisdiction, in the contact's zones
function M.of(config, zone_key, more)
  local list = { M.of_campaign(config) }
  local own = config.contact_window or {}
  for zone in (zone_key or ""):gmatch("[^|]+") do
    local window = { zone = zone, days = set_of(DAY_NAMES), holidays = list[1].holidays }
    if own.enabled ~= false then
      window.start, window.stop = minutes(own.start or "08:00"), minutes(own["end"] or "21:00")
      list[#list + 1] = window
    end
    if more then
      list[#list + 1] = { zone = zone, days = window.days, holidays = window.holidays,
        start = more.start, stop = more.stop }
    end
  end
  return list
end

local function is_holiday(window, day)
  return window.holidays[("%04d-%02d-%02d"):format(times.date(day))] == true
end

-- Days since 1970 of the zone's calendar.
local function day_at(zone, ms)
  return math.floor((ms / 1000 + tz.offset(zone, ms)) / 86400)
end

-- Whether the window of this day is one at all.
local function has_day(window, day)
  return window.days[DAY_NAMES[(day + 3) % 7 + 1]] and not is_holiday(window, day)
end

local function edges(window, day)
  local over = window.stop <= window.start and 1 or 0
  return tz.utc(window.zone, day, window.start),
    tz.utc(window.zone, day + over, window.stop, true)
end

---Whether one window is open.
---@return boolean
function M.is_open(window, ms)
  local today = day_at(window.zone, ms)
  if is_holiday(window, today) then
    return false
  end
  for day = today - 1, today do
    if has_day(window, day) then
      local from, to = edges(window, day)
      if ms >= from and ms < to then
        return true
      end
    end
  end
  return false
end

---Whether all windows of a list are open.
---@return boolean
function M.all_open(list, ms)
  for _, window in ipairs(list) do
    if not M.is_open(window, ms) then
      return false
    end
  end
  return true
end

-- The first moment from `ms` on at which one window is open.
local function next_of(window, ms, limit)
  if M.is_open(window, ms) then
    return ms
  end
  local today = day_at(window.zone, ms)
  for day = today, today + SEARCH_DAYS do
    if has_day(window, day) then
      local from = edges(window, day)
      if from > limit then
        return nil
      elseif from >= ms then
        return from
      end
    end
  end
  return nil
end

---The first moment from `ms` on at which all windows are open; nil: none within 366 days.
---@return number?
function M.next_open(list, ms)
  local limit = ms + SEARCH_DAYS * DAY_MS
  local at = ms
  while true do
    local moved = false
    for _, window in ipairs(list) do
      local open = next_of(window, at, limit)
      if not open then
        return nil
      end
      moved = moved or open > at
      at = open
    end
    if not moved then
      return at
    end
  end
end

---When the window that is open, or opens next on this day, closes: the cut-off of a single day.
---@param ms number a moment of the day
---@return number
function M.cut_off(window, ms)
  local _, to = edges(window, day_at(window.zone, ms))
  return to
end

return M
