-- Digits as people say them and as they should be read back (English).
local text = require("cxb.text")

local M = {}

local digit_words = {
  zero = "0", oh = "0", o = "0", nought = "0", naught = "0", null = "0", ["nil"] = "0",
  one = "1", won = "1", two = "2", too = "2", to = "2", three = "3", tree = "3", free = "3",
  four = "4", ["for"] = "4", fore = "4", ["fo"] = "4", five = "5", fife = "5", fives = "5",
  six = "6", sicks = "6", sex = "6", sixth = "6", seven = "7", eight = "8", ate = "8", hate = "8",
  nine = "9", nein = "9", niner = "9", mine = "9", zeroes = "0", zeros = "0", ones = "1",
  twos = "2", threes = "3", fours = "4", sixes = "6", sevens = "7", eights = "8", nines = "9",
}

-- Words that are digits only beside other digits: alone they are ordinary English.
local shy = {
  o = true, oh = true, won = true, to = true, too = true, ["for"] = true, fore = true, fo = true,
  free = true, tree = true, ate = true, hate = true, mine = true, sex = true, null = true,
  ["nil"] = true, fife = true, sicks = true, sixth = true, nein = true,
}

local teens = {
  ten = 10, eleven = 11, twelve = 12, thirteen = 13, fourteen = 14, fifteen = 15, sixteen = 16,
  seventeen = 17, eighteen = 18, nineteen = 19,
}
local tens = {
  twenty = 20, thirty = 30, forty = 40, fourty = 40, fifty = 50, sixty = 60, seventy = 70,
  eighty = 80, ninety = 90,
}
local repeats = { double = 2, triple = 3, treble = 3 }

-- "4-2 1" and "42one" come apart into words; decimal points and thousands commas go.
local function tokens(said)
  said = said:lower():gsub("(%d),(%d%d%d)", "%1%2"):gsub("%-", " ")
  said = said:gsub("(%d)(%a)", "%1 %2"):gsub("(%a)(%d)", "%1 %2")
  return text.words(said)
end

local function small_number(words, i)
  local word = words[i]
  if teens[word] then
    return tostring(teens[word]), 1
  end
  local ten = tens[word]
  if ten then
    local unit = digit_words[words[i + 1] or ""]
    if unit and unit ~= "0" and not shy[words[i + 1]] then
      return tostring(ten + tonumber(unit)), 2
    end
    return tostring(ten), 1
  end
end

-- One reading at position i: digits, how many words it took, and whether it is surely a number.
local function reading(words, i)
  local word = words[i]
  if word:match("^%d+$") then
    return word, 1, true
  end
  if repeats[word] and words[i + 1] then
    local d, n = reading(words, i + 1)
    if d then
      return d:sub(1, 1):rep(repeats[word] - 1) .. d, n + 1, true
    end
  end
  local digits, count = small_number(words, i)
  if digits then
    return digits, count, true
  end
  if digit_words[word] then
    return digit_words[word], 1, not shy[word]
  end
end

local fillers = {
  ["and"] = true, um = true, uh = true, er = true, erm = true, hmm = true, dash = true,
  ["then"] = true, hyphen = true,
}

-- Runs of readings between ordinary words: {{digits=, certain=}, ..., first=, last=} with the
-- positions of the words they span.
local function runs_of(words)
  local runs, run, i = {}, nil, 1
  while i <= #words do
    local digits, count, certain = reading(words, i)
    if digits then
      run = run or { first = i }
      run[#run + 1] = { digits = digits, certain = certain }
      run.last = i + count - 1
      i = i + count
    else
      if run and not fillers[words[i]] then
        runs[#runs + 1], run = run, nil
      end
      i = i + 1
    end
  end
  runs[#runs + 1] = run
  return runs
end

local leads_in = { is = true, its = true, was = true, number = true, ["no"] = true, yes = true }

-- A homophone at the edge of a run, next to an ordinary word, is that word: "change it to one two".
local function digits_of(run, words)
  local from, to = 1, #run
  local before = words[run.first - 1]
  if before and not leads_in[before] then
    while from <= to and not run[from].certain do
      from = from + 1
    end
  end
  if run.last < #words then
    while to >= from and not run[to].certain do
      to = to - 1
    end
  end
  local out, certain = {}, false
  for i = from, to do
    out[#out + 1] = run[i].digits
    certain = certain or run[i].certain
  end
  return table.concat(out), certain
end

---True for a word that is surely a digit or number, written or spoken.
function M.is_digit_word(word)
  return word:match("^%d+$") ~= nil or teens[word] ~= nil or tens[word] ~= nil
    or (digit_words[word] ~= nil and not shy[word]) or repeats[word] ~= nil
end

---The longest run of spoken or written digits. Homophones (to, for, ate, won …) count when they
---stand among real digits, or when two or more of them are all that was said.
---@param said string
---@return string digits "" when there are none
function M.digits(said)
  local words = tokens(said)
  local best = ""
  for _, run in ipairs(runs_of(words)) do
    local digits, certain = digits_of(run, words)
    local alone = run.first == 1 and run.last == #words and #digits >= 2
    if (certain or alone) and #digits > #best then
      best = digits
    end
  end
  return best
end

---"4 2 1 7" → "4, 2, 1, 7." spoken digit by digit, in groups of three with a pause between.
---@param digits string
---@param group? integer 3
---@return string
function M.spell(digits, group)
  local names = { ["0"] = "zero", ["1"] = "one", ["2"] = "two", ["3"] = "three", ["4"] = "four",
    ["5"] = "five", ["6"] = "six", ["7"] = "seven", ["8"] = "eight", ["9"] = "nine" }
  group = group or 3
  local out, current = {}, {}
  for d in digits:gmatch("%d") do
    current[#current + 1] = names[d]
    if #current == group then
      out[#out + 1] = table.concat(current, " ")
      current = {}
    end
  end
  if #current > 0 then
    out[#out + 1] = table.concat(current, " ")
  end
  return table.concat(out, ", ")
end

return M
