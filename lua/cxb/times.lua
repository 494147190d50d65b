-- Times on the wire are RFC 3339 text with a zone; in Lua they are milliseconds since 1970, UTC.
local M = {}

local floor = math.floor

---Days from 1970-01-01 to a date of the proleptic Gregorian calendar
---(howardhinnant.github.io/date_algorithms.html, days_from_civil).
---@return integer
function M.days(year, month, day)
  if month <= 2 then
    year = year - 1
  end
  local era = floor(year / 400)
  local yoe = year - era * 400
  local doy = floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + yoe * 365 + floor(yoe / 4) - floor(yoe / 100) + doy - 719468
end

---The date of a day counted from 1970-01-01 (civil_from_days of the same source).
---@return integer year, integer month, integer day
function M.date(days)
  days = days + 719468
  local era = floor(days / 146097)
  local doe = days - era * 146097
  local yoe = floor((doe - floor(doe / 1460) + floor(doe / 36524) - floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + floor(yoe / 4) - floor(yoe / 100))
  local mp = floor((5 * doy + 2) / 153)
  local month = mp + (mp < 10 and 3 or -9)
  return yoe + era * 400 + (month <= 2 and 1 or 0), month, doy - floor((153 * mp + 2) / 5) + 1
end

local month_days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

---@param text string "2026-04-24T09:00:00.000Z", "2026-04-24T14:30:00+05:30"
---@return number? ms nil when it is not a time with a zone
function M.parse(text)
  local year, month, day, hour, minute, second, fraction, zone =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(%.?%d*)([Zz+-][%d:]*)$")
  if not year or fraction == "." or (fraction ~= "" and fraction:sub(1, 1) ~= ".") then
    return nil
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if month < 1 or month > 12 or day < 1 or day > month_days[month] or hour > 23 or minute > 59
    or second > 60 then
    return nil
  end
  local days = M.days(year, month, day)
  if select(2, M.date(days)) ~= month then
    return nil
  end
  local offset = 0
  if not zone:match("^[Zz]$") then
    local sign, oh, om = zone:match("^([+-])(%d%d):(%d%d)$")
    if not sign or tonumber(oh) > 23 or tonumber(om) > 59 then
      return nil
    end
    offset = (tonumber(oh) * 60 + tonumber(om)) * (sign == "-" and -1 or 1)
  end
  local seconds = days * 86400 + hour * 3600 + (minute - offset) * 60 + second
  return seconds * 1000 + floor((tonumber(fraction) or 0) * 1000 + 0.5)
end

-- The day that was written last: the times of an answer are mostly of one.
local last_day, last_date

local function date_text(days)
  if days ~= last_day then
    last_day, last_date = days, ("%04d-%02d-%02dT"):format(M.date(days))
  end
  return last_date
end

---@param ms number
---@return string "2026-04-24T09:00:00.000Z"
function M.format(ms)
  ms = floor(ms + 0.5)
  local days = floor(ms / 86400000)
  local rest = ms - days * 86400000
  return ("%s%02d:%02d:%02d.%03dZ"):format(date_text(days), floor(rest / 3600000),
    floor(rest / 60000) % 60, floor(rest / 1000) % 60, rest % 1000)
end

return M
