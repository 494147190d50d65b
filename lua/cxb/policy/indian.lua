-- How India counts, whatever the language: in hundreds, thousands, lakh and crore; in rupees and
-- paise.
local M = {}

local sizes = { 10000000, 100000, 1000, 100 }

---A number of 100 and more in words.
---@param n integer 100 … 10^14
---@param names string[] of crore, lakh, thousand and hundred
---@param number fun(n: integer): string the language's words of any number
---@return string
function M.counted(n, names, number)
  for i, size in ipairs(sizes) do
    if n >= size then
      local rest = n % size
      local head = ("%s %s"):format(number((n - rest) / size), names[i])
      return rest > 0 and head .. " " .. number(rest) or head
    end
  end
end

---Money in words: one of both, or the two joined.
---@param rupees integer
---@param paise integer 0 … 99
---@param words {rupee: string[], paisa: string[], joined: string} one and many; a format of two
---@param number fun(n: integer): string
---@return string
function M.money(rupees, paise, words, number)
  local function amount(n, unit)
    return number(n) .. " " .. unit[n == 1 and 1 or 2]
  end
  if paise == 0 then
    return amount(rupees, words.rupee)
  elseif rupees == 0 then
    return amount(paise, words.paisa)
  end
  return words.joined:format(amount(rupees, words.rupee), amount(paise, words.paisa))
end

return M
