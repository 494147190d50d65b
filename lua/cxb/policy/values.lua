-- Amounts and dates as CRMs write them, and as they are shown and said in a prompt.
local english = require("cxb.policy.english")
local hindi = require("cxb.policy.hindi")
local times = require("cxb.times")

local M = {}

local LARGEST = 10 ^ 13 -- rupees; in paise still exact

---"₹1,25,000.50", "Rs. 5000/-", "INR 5,000", 5000 → rupees and paise.
---@return integer? rupees, integer? paise nil when it is no amount
function M.amount(value)
  local text = tostring(value):gsub("₹", ""):gsub("%s", "")
  text = text:gsub("^[Rr][Ss]%.?", ""):gsub("^[Ii][Nn][Rr]", ""):gsub("/%-?$", ""):gsub(",", "")
  local whole, fraction = text:match("^(%d+)%.?(%d*)$")
  if not whole or #whole > 14 then
    return nil
  end
  local rupees = tonumber(whole)
  local paise = math.floor(tonumber("0." .. (fraction ~= "" and fraction or "0")) * 100 + 0.5)
  if paise == 100 then
    rupees, paise = rupees + 1, 0
  end
  if rupees > LARGEST then
    return nil
  end
  return rupees, paise
end

---1250000 → "12,50,000": the last three digits, then pairs.
---@return string
function M.grouped(n)
  local digits = ("%d"):format(n)
  local head, tail = digits:match("^(%d*)(%d%d%d)$")
  if not head or head == "" then
    return digits
  end
  head = head:reverse():gsub("(%d%d)", "%1,"):reverse():gsub("^,", "")
  return head .. "," .. tail
end

local month_numbers = {}
for i, name in ipairs(english.months) do
  month_numbers[name:sub(1, 3):lower()] = i
end

local function checked(year, month, day)
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not year or not month or not day or year < 1900 or year > 2199 then
    return nil
  end
  local ok = times.parse(("%04d-%02d-%02dT00:00:00Z"):format(year, month, day))
  if ok then
    return year, month, day
  end
end

---"2026-04-24", "24/04/2026", "24-Apr-2026", "24 April 2026", "April 24, 2026", also with a time
---behind it. Day before month where both are digits: these are Indian dates.
---@return integer? year, integer? month, integer? day nil when it is no date
function M.date(value)
  local text = tostring(value):match("^%s*(.-)%s*$")
  local year, month, day = text:match("^(%d%d%d%d)[-/.](%d%d?)[-/.](%d%d?)%f[%D]")
  if year then
    return checked(year, month, day)
  end
  day, month, year = text:match("^(%d%d?)[-/.](%d%d?)[-/.](%d%d%d%d)%f[%D]")
  if day then
    return checked(year, month, day)
  end
  local name
  day, name, year = text:match("^(%d%d?)[a-z]*[-%s]+(%a%a%a)%a*[-,%s]+(%d%d%d%d)%f[%D]")
  if not day then
    name, day, year = text:match("^(%a%a%a)%a*%s+(%d%d?)[a-z]*,?%s+(%d%d%d%d)%f[%D]")
  end
  if not day then
    return nil
  end
  return checked(year, month_numbers[name:lower()], day)
end

local kinds = {}

function kinds.amount(value)
  local rupees, paise = M.amount(value)
  if not rupees then
    return nil
  end
  return {
    shown = "₹" .. M.grouped(rupees) .. (paise > 0 and (".%02d"):format(paise) or ""),
    en = english.money(rupees, paise), hi = hindi.money(rupees, paise),
  }
end

function kinds.date(value)
  local year, month, day = M.date(value)
  if not year then
    return nil
  end
  return {
    shown = ("%d %s %d"):format(day, english.months[month], year),
    en = english.date(year, month, day), hi = hindi.date(year, month, day),
  }
end

function kinds.number(value)
  local n = tonumber((tostring(value):gsub(",", "")))
  if not n or n < 0 or n ~= math.floor(n) or n > LARGEST then
    return nil
  end
  return { shown = ("%d"):format(n), en = english.number(n), hi = hindi.number(n) }
end

---A value of a kind as it is shown and said. One that cannot be read as its kind is shown as it is.
---@param kind "amount"|"date"|"number"|"text"
---@return {shown: string, en?: string, hi?: string}
function M.spoken(kind, value)
  local found = kinds[kind] and kinds[kind](value)
  if found then
    return found
  end
  if type(value) == "number" and value == math.floor(value) then
    return { shown = ("%d"):format(value) }
  end
  return { shown = tostring(value) }
end

return M
