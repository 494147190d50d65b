-- Which of a few things somebody wants, from words a recogniser may have got wrong. An intent is a
-- list of phrases; a phrase matches when each of its words is found in what was said, exactly or
-- alike (by letters or by sound), or as two neighbouring words joined ("good bye"). Longer phrases
-- and closer words score higher.
local text = require("cxb.text")

local M = {}

local least_alike = 0.76

-- How alike a word of a phrase and one that was said are; `following` was said next.
local function alike(word, said, following)
  local best = text.likeness(word, said)
  if best < 1 and following and #word >= 6 then
    best = math.max(best, text.likeness(word, said .. following))
  end
  -- A stem counts as the word ("open" in "opening"), a long word inside another nearly does.
  if best < 0.95 and #word >= 4 and #said > #word and said:sub(1, #word) == word then
    best = 0.95
  elseif best < 0.85 and #word >= 6 and said:find(word, 1, true) then
    best = 0.85
  end
  return best
end

-- How well `word` is found among the words said, and where; 0: not.
local function found(word, words)
  local best, where = 0, nil
  for i, said in ipairs(words) do
    local a = alike(word, said, words[i + 1])
    if a > best then
      best, where = a, i
    end
  end
  if best < least_alike then
    return 0
  end
  return best, where
end

-- The words of a phrase may lie apart, but count a little less the farther they do.
local function phrase_score(phrase, words)
  local sum, first, last = 0, nil, nil
  for _, word in ipairs(phrase) do
    local a, where = found(word, words)
    if a == 0 then
      return 0
    end
    sum = sum + a
    first, last = math.min(first or where, where), math.max(last or where, where)
  end
  local count = #phrase
  return sum / count + 0.03 * (count - 1) - 0.01 * math.max(0, last - first + 1 - count)
end

---@param table_of table<string, string[]> intent → phrases
---@return table matcher
function M.compile(table_of)
  local list = {}
  for name, phrases in pairs(table_of) do
    for _, phrase in ipairs(phrases) do
      list[#list + 1] = { name = name, words = text.words(phrase) }
    end
  end
  table.sort(list, function(a, b)
    if a.name ~= b.name then
      return a.name < b.name
    end
    return table.concat(a.words, " ") < table.concat(b.words, " ")
  end)
  return list
end

---@param matcher table of M.compile
---@param said string
---@return string? name the best intent, nil when none matches
---@return number score about 0.76 to 1.1
function M.match(matcher, said)
  local words = text.words(said)
  local best, score = nil, 0
  for _, phrase in ipairs(matcher) do
    local s = phrase_score(phrase.words, words)
    if s > score then
      best, score = phrase.name, s
    end
  end
  return best, score
end

return M
