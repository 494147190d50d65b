-- Numbers, rupees and dates in Hindi words (Devanagari). Below a hundred every number has a word of
-- its own.
local indian = require("cxb.policy.indian")

local M = {}

local small = {
  [0] = "शून्य",
  "एक", "दो", "तीन", "चार", "पाँच",
  "छह", "सात", "आठ", "नौ", "दस",
  "ग्यारह", "बारह", "तेरह", "चौदह", "पंद्रह",
  "सोलह", "सत्रह", "अठारह", "उन्नीस", "बीस",
  "इक्कीस", "बाईस", "तेईस", "चौबीस", "पच्चीस",
  "छब्बीस", "सत्ताईस", "अट्ठाईस", "उनतीस", "तीस",
  "इकतीस", "बत्तीस", "तैंतीस", "चौंतीस", "पैंतीस",
  "छत्तीस", "सैंतीस", "अड़तीस", "उनतालीस", "चालीस",
  "इकतालीस", "बयालीस", "तैंतालीस", "चौवालीस", "पैंतालीस",
  "छियालीस", "सैंतालीस", "अड़तालीस", "उनचास", "पचास",
  "इक्यावन", "बावन", "तिरेपन", "चौवन", "पचपन",
  "छप्पन", "सत्तावन", "अट्ठावन", "उनसठ", "साठ",
  "इकसठ", "बासठ", "तिरेसठ", "चौंसठ", "पैंसठ",
  "छियासठ", "सड़सठ", "अड़सठ", "उनहत्तर", "सत्तर",
  "इकहत्तर", "बहत्तर", "तिहत्तर", "चौहत्तर", "पचहत्तर",
  "छिहत्तर", "सतहत्तर", "अठहत्तर", "उन्यासी", "अस्सी",
  "इक्यासी", "बयासी", "तिरासी", "चौरासी", "पचासी",
  "छियासी", "सत्तासी", "अट्ठासी", "नवासी", "नब्बे",
  "इक्यानवे", "बानवे", "तिरानवे", "चौरानवे", "पचानवे",
  "छियानवे", "सत्तानवे", "अट्ठानवे", "निन्यानवे",
}
local scales = { "करोड़", "लाख", "हज़ार", "सौ" }

M.months = { "जनवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून", "जुलाई", "अगस्त",
  "सितंबर", "अक्टूबर", "नवंबर", "दिसंबर" }

---@param n integer 0 … 10^14
---@return string "एक लाख पच्चीस हज़ार तीन सौ"
function M.number(n)
  if n < 100 then
    return small[n]
  end
  return indian.counted(n, scales, M.number)
end

local money = { rupee = { "रुपया", "रुपये" }, paisa = { "पैसा", "पैसे" }, joined = "%s %s" }

---@param rupees integer
---@param paise integer 0 … 99
---@return string "एक हज़ार रुपये पचास पैसे"
function M.money(rupees, paise)
  return indian.money(rupees, paise, money, M.number)
end

-- 1999 is उन्नीस सौ निन्यानवे, 2026 दो हज़ार छब्बीस.
local function year_words(year)
  local rest = year % 100
  if year < 1100 or year > 1999 then
    return M.number(year)
  end
  local head = M.number(math.floor(year / 100)) .. " सौ"
  return rest > 0 and head .. " " .. M.number(rest) or head
end

---@return string "चौबीस अप्रैल दो हज़ार छब्बीस"
function M.date(year, month, day)
  return ("%s %s %s"):format(day == 1 and "पहली" or M.number(day), M.months[month],
    year_words(year))
end

return M
