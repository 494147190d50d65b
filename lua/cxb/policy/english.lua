-- Numbers, rupees and dates in English words, counted in lakh and crore as India does.
local indian = require("cxb.policy.indian")

local M = {}

local small = { [0] = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
  "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
  "eighteen", "nineteen" }
local tens = { [2] = "twenty", [3] = "thirty", [4] = "forty", [5] = "fifty", [6] = "sixty",
  [7] = "seventy", [8] = "eighty", [9] = "ninety" }
local scales = { "crore", "lakh", "thousand", "hundred" }
local ordinals = { one = "first", two = "second", three = "third", five = "fifth",
  eight = "eighth", nine = "ninth", twelve = "twelfth" }

M.months = { "January", "February", "March", "April", "May", "June", "July", "August",
  "September", "October", "November", "December" }

---@param n integer 0 … 10^14
---@return string "one lakh twenty-five thousand three hundred"
function M.number(n)
  if n < 20 then
    return small[n]
  elseif n < 100 then
    local unit = n % 10
    return tens[(n - unit) / 10] .. (unit > 0 and "-" .. small[unit] or "")
  end
  return indian.counted(n, scales, M.number)
end

local money = { rupee = { "rupee", "rupees" }, paisa = { "paisa", "paise" }, joined = "%s and %s" }

---@param rupees integer
---@param paise integer 0 … 99
---@return string "one thousand rupees and fifty paise"
function M.money(rupees, paise)
  return indian.money(rupees, paise, money, M.number)
end

local function ordinal(n)
  return (M.number(n):gsub("%a+$", function(last)
    return ordinals[last] or (last:match("y$") and last:gsub("y$", "ieth")) or last .. "th"
  end))
end

-- As a year is said: nineteen ninety-nine, two thousand five, twenty twenty-six.
local function year_words(year)
  local century, rest = math.floor(year / 100), year % 100
  if year >= 2000 and year < 2010 or rest == 0 and century % 10 == 0 then
    return M.number(year)
  elseif rest == 0 then
    return M.number(century) .. " hundred"
  end
  return M.number(century) .. (rest < 10 and " oh " or " ") .. M.number(rest)
end

---@return string "the twenty-fourth of April twenty twenty-six"
function M.date(year, month, day)
  return ("the %s of %s %s"):format(ordinal(day), M.months[month], year_words(year))
end

return M
