-- A bot's active hours: days and a daily window on the wall clock of the bot's zone. Start counts,
-- end does not; an end at or before the start is over midnight, and then the window belongs to the
-- day it began on.
local tz = require("cxb.tz")

local M = {}

local names = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" }

local function minutes(text)
  local h, m = text:match("^(%d%d):(%d%d)$")
  return tonumber(h) * 60 + tonumber(m)
end

---@param hours? {enabled: boolean, days: string[], start_time: string, end_time: string}
---@param zone string
---@param now number ms
---@return boolean open, string? why
function M.open(hours, zone, now)
  if type(hours) ~= "table" or not hours.enabled then
    return true
  end
  local days = {}
  for _, day in ipairs(hours.days) do
    days[day] = true
  end
  local wall = tz.wall(zone, now)
  local minute = wall.hour * 60 + wall.minute
  local from, to = minutes(hours.start_time), minutes(hours.end_time)
  local today, yesterday = days[names[wall.weekday]], days[names[(wall.weekday + 5) % 7 + 1]]
  local open
  if from < to then
    open = today and minute >= from and minute < to
  else
    open = (today and minute >= from) or (yesterday and minute < to)
  end
  if open then
    return true
  end
  return false, ("outside_active_hours: %s %02d:%02d in %s, open %s to %s on %s"):format(
    names[wall.weekday], wall.hour, wall.minute, tz.known(zone) and zone or "UTC",
    hours.start_time, hours.end_time, table.concat(hours.days, " "))
end

return M
