-- Text of a wish to be called again as a list of meanings, by data/callback_words.lua.
local vocabulary = require("cxb.campaign.data.callback_words")

local M = {}

local PHRASE_MAX = 6 -- words

-- Phrase ("thodi der") → {kind = value, …}.
local phrases = {}

for kind, values in pairs(vocabulary) do
  for value, words in pairs(values) do
    for word in words:gmatch("%S+") do
      local phrase = word:gsub("_", " ")
      phrases[phrase] = phrases[phrase] or {}
      phrases[phrase][kind] = value
    end
  end
end

local NUKTA = "\224\164\188"
local composed = { ["\224\165\156"] = "\224\164\161", ["\224\165\157"] = "\224\164\162" }

-- Lower case, Devanagari digits as ours, letters with a nukta without it, punctuation gone.
local function plain(text)
  text = text:lower():gsub(NUKTA, ""):gsub("\224\165[\156\157]", composed)
  text = text:gsub("\224\165([\166-\175])", function(digit)
    return string.char(digit:byte() - 166 + 48)
  end)
  text = text:gsub("o'clock", "oclock"):gsub("a%.m%.?", "am"):gsub("p%.m%.?", "pm")
  text = text:gsub("(%d)%.(%d%d)", "%1:%2"):gsub("[,.!?;'\"()]", " "):gsub("\224\165\164", " ")
  text = text:gsub("(%d)(%a)", "%1 %2"):gsub("(%d)([\224-\255])", "%1 %2"):gsub("%-", " ")
  return text
end

-- "17:30" and "5" are meanings of their own; so are "15 th" and the like.
local function of_digits(word)
  local h, m = word:match("^(%d%d?):(%d%d)$")
  if h and tonumber(h) < 24 and tonumber(m) < 60 then
    return { time = tonumber(h) * 60 + tonumber(m), hours = tonumber(h) }
  end
  local n = word:match("^%d%d?%d?$")
  return n and { number = tonumber(n), digits = true } or nil
end

local ordinal = { th = true, st = true, nd = true, rd = true }

local function copy(meanings)
  local twin = {}
  for kind, value in pairs(meanings) do
    twin[kind] = value
  end
  return twin
end

---@param text string
---@return table[] meanings in order; words that mean nothing are left out
function M.read(text)
  local words, out = {}, {}
  for word in plain(text):gmatch("%S+") do
    words[#words + 1] = word
  end
  local i = 1
  while i <= #words do
    local found, taken = of_digits(words[i]), 1
    for n = math.min(PHRASE_MAX, #words - i + 1), 1, -1 do
      local phrase = phrases[table.concat(words, " ", i, i + n - 1)]
      if phrase and not found then
        found, taken = copy(phrase), n
      end
    end
    if ordinal[words[i]] and out[#out] and out[#out].digits then
      found = { date = 1 }
    end
    out[#out + 1] = found
    i = i + taken
  end
  return out
end

return M
