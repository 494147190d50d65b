-- Local times of IANA zones from the system's compiled zone files (TZif, RFC 8536): transitions
-- as stored, beyond the last one the POSIX rule at the end of the file.
local times = require("cxb.times")

local M = { folder = "/usr/share/zoneinfo" }

local floor = math.floor
local zones = {}

local function be(data, at, size)
  local n = data:byte(at) >= 128 and -1 or 0
  for i = at, at + size - 1 do
    n = n * 256 + data:byte(i)
  end
  return n
end

-- Seconds of "[+-]hh[:mm[:ss]]".
local function clock(text)
  local sign, h, m, s = text:match("^([+-]?)(%d+):?(%d*):?(%d*)$")
  local seconds = tonumber(h) * 3600 + (tonumber(m) or 0) * 60 + (tonumber(s) or 0)
  return sign == "-" and -seconds or seconds
end

local function month_rule(text)
  local month, week, day, at = text:match("^M(%d+)%.(%d)%.(%d)/?([%d:+-]*)$")
  return month and {
    month = tonumber(month), week = tonumber(week), day = tonumber(day),
    at = at ~= "" and clock(at) or 7200,
  }
end

local name = "%a+"

-- "CET-1CEST,M3.5.0,M10.5.0/3" → offsets east of UTC and the two changes of a year.
local function posix_rule(text)
  text = text:gsub("<[^>]*>", "ZONE")
  local offset, rest = text:match("^" .. name .. "([%d:+-]+)(.*)$")
  if not offset then
    return nil
  end
  local rule = { standard = -clock(offset) }
  local dst, first, second = rest:match("^" .. name .. "([%d:+-]*),([^,]+),([^,]+)$")
  if dst then
    rule.summer = dst ~= "" and -clock(dst) or rule.standard + 3600
    rule.from, rule.to = month_rule(first), month_rule(second)
    if not rule.from or not rule.to then
      rule.summer = nil
    end
  end
  return rule
end

-- Seconds since 1970, local clock, of the change a rule makes in a year.
local function change(rule, year)
  local first = times.days(year, rule.month, 1)
  local weekday = (first + 4) % 7
  local day = first + (rule.day - weekday) % 7 + (rule.week - 1) * 7
  local next_month = rule.month == 12 and times.days(year + 1, 1, 1)
    or times.days(year, rule.month + 1, 1)
  while day >= next_month do
    day = day - 7
  end
  return day * 86400 + rule.at
end

local function by_rule(rule, seconds)
  if not rule.summer then
    return rule.standard
  end
  local year = times.date(floor((seconds + rule.standard) / 86400))
  local from = change(rule.from, year) - rule.standard
  local to = change(rule.to, year) - rule.summer
  local summer
  if from < to then
    summer = seconds >= from and seconds < to
  else
    summer = seconds >= from or seconds < to
  end
  return summer and rule.summer or rule.standard
end

local function parse(data)
  if data:sub(1, 4) ~= "TZif" or data:byte(5) < 0x32 then
    return nil
  end
  local function counts(at)
    local out = {}
    for i = 0, 5 do
      out[i + 1] = be(data, at + 20 + 4 * i, 4)
    end
    return unpack(out) -- isutcnt isstdcnt leapcnt timecnt typecnt charcnt
  end
  local isut, isstd, leap, time, kinds, chars = counts(1)
  local at = 45 + time * 5 + kinds * 6 + chars + leap * 8 + isstd + isut
  isut, isstd, leap, time, kinds, chars = counts(at)
  local body = at + 44
  local zone = { moments = {}, offsets = {} }
  local types = body + time * 9
  local function offset_of(kind)
    return be(data, types + kind * 6, 4)
  end
  for i = 0, time - 1 do
    zone.moments[i + 1] = be(data, body + i * 8, 8)
    zone.offsets[i + 1] = offset_of(data:byte(body + time * 8 + i))
  end
  zone.before = kinds > 0 and offset_of(0) or 0
  local tail = types + kinds * 6 + chars + leap * 12 + isstd + isut
  zone.rule = posix_rule(data:match("^\n([^\n]*)\n", tail) or "")
  return zone
end

-- Zone names come from people: only names that stay inside the folder are looked up.
local function load(zone)
  if type(zone) ~= "string" or #zone > 64 or not zone:match("^%a[%w_+/-]*$") then
    return nil
  end
  local file = io.open(M.folder .. "/" .. zone, "rb")
  local data = file and file:read("*a")
  if file then
    file:close()
  end
  return data and parse(data) or nil
end

local function find(zone)
  if zones[zone] == nil and zone ~= nil then
    zones[zone] = load(zone) or false
  end
  return zones[zone] or nil
end

---@return boolean whether the zone is known
function M.known(zone)
  return zone == "UTC" or find(zone) ~= nil
end

---Seconds east of UTC at a moment; 0 (UTC) for a zone nobody knows.
---@param zone string "Asia/Kolkata"
---@param ms number
---@return integer
function M.offset(zone, ms)
  local found = find(zone)
  if not found then
    return 0
  end
  local seconds, moments = floor(ms / 1000), found.moments
  if #moments == 0 or seconds >= moments[#moments] then
    if found.rule then
      return by_rule(found.rule, seconds)
    end
    return found.offsets[#moments] or found.before
  end
  local low, high = 0, #moments
  while high - low > 1 do
    local middle = floor((low + high) / 2)
    if moments[middle] <= seconds then
      low = middle
    else
      high = middle
    end
  end
  return low == 0 and found.before or found.offsets[low]
end

---The moment a zone's wall clock shows a time of day. A time that a change to summer time leaves
---out means the first moment after it; one that comes twice means the first, or with `late` the
---second.
---@param zone string
---@param day integer days since 1970-01-01 (cxb.times.days)
---@param minute integer of the day, may be beyond it
---@param late? boolean
---@return number ms
function M.utc(zone, day, minute, late)
  local naive = day * 86400 + minute * 60
  local before = M.offset(zone, (naive - 93600) * 1000)
  local after = M.offset(zone, (naive + 93600) * 1000)
  local first, second = naive - math.max(before, after), naive - math.min(before, after)
  local first_holds = first + M.offset(zone, first * 1000) == naive
  local second_holds = second + M.offset(zone, second * 1000) == naive
  if first_holds and second_holds then
    return (late and second or first) * 1000
  elseif first_holds or second_holds then
    return (first_holds and first or second) * 1000
  end
  while second - first > 1 do
    local middle = floor((first + second) / 2)
    if M.offset(zone, middle * 1000) == before then
      first = middle
    else
      second = middle
    end
  end
  return second * 1000
end

---The wall clock of a zone: year, month, day, hour, minute, second, weekday (1 Monday … 7 Sunday).
---@return table<string, integer>
function M.wall(zone, ms)
  local seconds = floor(ms / 1000) + M.offset(zone, ms)
  local days = floor(seconds / 86400)
  local year, month, day = times.date(days)
  local rest = seconds - days * 86400
  return {
    year = year, month = month, day = day, hour = floor(rest / 3600),
    minute = floor(rest / 60) % 60, second = rest % 60, weekday = (days + 3) % 7 + 1,
  }
end

return M
