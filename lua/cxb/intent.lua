-- Which of a few things somebody wants, from words a recogniser may have got wrong. An intent is a
-- list of phrases; a phrase matches when each of its words is found in what was said, exactly or
-- alike (by letters or by sound), or as two neighbouring words joined ("good bye"). Longer phrases
-- and closer words score higher.
local text = require("cxb.text")

local M = {}

local least_alike = 0.74

-- How well `word` is found among the words said; 0: not.
local function found(word, words)
  local best = 0
  for i, said in ipairs(words) do
    local alike = text.likeness(word, said)
    local following = words[i + 1]
    if alike < 1 and following and #word >= 6 then
      alike = math.max(alike, text.likeness(word, said .. following))
    end
    -- A stem counts as the word: "open" in "opening", "clos" in "closes".
    if alike < 0.95 and #word >= 4 and #said > #word and said:sub(1, #word) == word then
      alike = 0.95
    end
    best = math.max(best, alike)
  end
  return best >= least_alike and best or 0
end

local function phrase_score(phrase, words)
  local sum, count = 0, 0
  for _, word in ipairs(phrase) do
    local alike = found(word, words)
    if alike == 0 then
      return 0
    end
    sum, count = sum + alike, count + 1
  end
  return sum / count + 0.03 * (count - 1)
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
---@return number score about 0.74 to 1.1
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
