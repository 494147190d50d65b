-- Words, what was heard of them, and how alike two words are.
local splitter = require("cxb.words")

local M = {}

---Lower-case words without punctuation; digits are words; apostrophes are dropped (i'm → im).
---@type fun(text: string): string[]
M.words = splitter.words

---The words of a text in the order they first come, each once: the first `most` (512 at most) that
---have at most `longest` bytes.
---@type fun(text: string, most: integer, longest: integer): string[]
M.distinct_words = splitter.distinct

---@return integer
function M.count_words(text)
  return #M.words(text)
end

---@return integer characters, not bytes
function M.length(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

---At most `max` characters of text, cut at a word.
---@return string text, boolean cut
function M.limit_characters(text, max)
  if M.length(text) <= max then
    return text, false
  end
  local at = 1
  for _ = 1, max do
    at = text:find("[^\128-\191]", at + 1) or #text + 1
  end
  local cut = text:sub(1, at - 1)
  return cut:match("^(.*%S)%s+%S*$") or cut, true
end

---At most `max` bytes of text, cut at a word and never inside a UTF-8 character.
function M.limit(text, max)
  if #text <= max then
    return text, false
  end
  local cut = text:sub(1, max)
  while cut ~= "" and text:byte(#cut + 1) and text:byte(#cut + 1) >= 0x80
    and text:byte(#cut + 1) < 0xC0 do
    cut = cut:sub(1, -2)
  end
  return cut:match("^(.*%S)%s+%S*$") or cut, true
end

---The part of `text` that was heard, cut at a word boundary by share of time.
---@param heard number
---@param whole number same unit
function M.heard(text, heard, whole)
  if whole <= 0 or heard <= 0 then
    return ""
  end
  if heard >= whole then
    return text
  end
  local bytes = math.floor(#text * heard / whole + 0.5)
  local best = 0
  for stop in text:gmatch("()%s") do
    if stop - 1 <= bytes then
      best = stop - 1
    end
  end
  return text:sub(1, best)
end

---The part of `text` that was heard, by the times of its words: a word counts when half of it was.
---@param text string
---@param timed {start_ms: number, end_ms: number}[] its words
---@param heard number ms
function M.heard_by_words(text, timed, heard)
  local count = 0
  for _, word in ipairs(timed) do
    count = count + ((word.start_ms + word.end_ms) / 2 <= heard and 1 or 0)
  end
  local ends = {}
  for stop in text:gmatch("%S+()") do
    ends[#ends + 1] = stop - 1
  end
  local n = #ends == #timed and count or math.floor(#ends * count / math.max(1, #timed) + 0.5)
  return n > 0 and text:sub(1, ends[n]) or ""
end

---Number of single-letter changes between two words, neighbours swapped counting as one.
function M.distance(a, b)
  local la, lb = #a, #b
  local before, previous = {}, {}
  for j = 0, lb do
    previous[j] = j
  end
  for i = 1, la do
    local current = { [0] = i }
    local ca = a:byte(i)
    for j = 1, lb do
      local cb = b:byte(j)
      local cost = ca == cb and 0 or 1
      local best = math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + cost)
      if i > 1 and j > 1 and ca == b:byte(j - 1) and a:byte(i - 1) == cb then
        best = math.min(best, before[j - 2] + 1)
      end
      current[j] = best
    end
    before, previous = previous, current
  end
  return previous[lb]
end

-- Consonant classes of English: what a recogniser on a telephone line mixes up falls together.
local classes = {
  b = "p", p = "p", f = "f", v = "f", c = "k", k = "k", q = "k", g = "k", x = "ks", s = "s",
  z = "s", d = "t", t = "t", j = "j", l = "l", m = "n", n = "n", r = "r",
}

---A rough key of how an English word sounds: first vowel kept as "a", other vowels dropped.
---@return string
function M.sound(word)
  word = word:lower():gsub("[^a-z]", "")
  word = word:gsub("^kn", "n"):gsub("^wr", "r"):gsub("^wh", "w"):gsub("ph", "f"):gsub("ght", "t")
    :gsub("tion", "shn"):gsub("ck", "k"):gsub("c([eiy])", "s%1"):gsub("dg", "j")
    :gsub("g([eiy])", "j%1"):gsub("ch", "j"):gsub("sh", "j"):gsub("th", "t")
  local out, last = {}, nil
  for i = 1, #word do
    local c = word:sub(i, i)
    local key = classes[c]
    if i == 1 and not key then
      key = c:match("[aeiouy]") and "a" or c
    end
    if key and key ~= last then
      out[#out + 1] = key
    end
    last = key
  end
  return table.concat(out)
end

---How alike two words are, 0–1: 1 equal, 0.9 same sound, else by letters changed.
function M.likeness(a, b)
  if a == b then
    return 1
  end
  local longest = math.max(#a, #b)
  if longest < 4 then
    return 0
  end
  local letters = 1 - M.distance(a, b) / longest
  local sa, sb = M.sound(a), M.sound(b)
  if #sa >= 3 and sa == sb and letters >= 0.4 then
    return math.max(0.9, letters)
  end
  return letters
end

return M
