-- Text that comes in pieces, cut into sentences as soon as each is sure to be whole, so that the
-- first can be spoken while the rest is still being thought. Numbers (1.5) and abbreviations stay
-- whole; a sentence of less than 12 characters joins the next. Nothing is lost but blanks between
-- sentences.
local length = require("cxb.text").length

local M = {}
M.__index = M

-- A full stop after these, or after a single letter, does not end a sentence.
local abbreviations = {}
for word in ([[mr mrs ms dr st no vs etc rs am pm ph prof jr sr inc ltd approx dept ext
  डॉ श्री रु प्रो]]):gmatch("%S+") do
  abbreviations[word] = true
end

-- Marks that end a sentence whatever follows: line end, danda, full-width full stop and its kin.
local sure_marks = { "\n", "।", "॥", "。", "！", "？" }

-- Without any mark a clause is spoken when it has become this long.
local clause_characters, most_characters = 200, 400

local function trim(text)
  return text:match("^%s*(.-)%s*$")
end

---@param o? {min?: integer} characters of the shortest sentence, 12
function M.new(o)
  return setmetatable({ rest = "", min = o and o.min or 12 }, M)
end

-- Whether the full stop at `stop` ends a sentence.
local function ends_here(text, stop)
  if text:sub(stop, stop) ~= "." then
    return true
  end
  local word = text:sub(1, stop - 1):match("([%a'\128-\255]+)$")
  return not (word and ((#word == 1 and word:match("%a")) or abbreviations[word:lower()]))
end

-- End of the nearest mark at or after `from`: first byte, last byte, and whether it is sure.
local function next_mark(text, from)
  local first = text:find("[.!?;]", from)
  local last, sure = first, false
  for _, mark in ipairs(sure_marks) do
    local a, b = text:find(mark, from, true)
    if a and (not first or a < first) then
      first, last, sure = a, b, true
    end
  end
  return first, last, sure
end

-- Where a long text without an end may be cut: after a comma, else between words.
local function clause_end(text)
  local size = length(text)
  if size < clause_characters then
    return nil
  end
  local comma = text:match("^.*[,:]()%s")
  if comma and comma > clause_characters / 4 then
    return comma - 1
  end
  return size >= most_characters and (text:match("^.*%S()%s") or #text + 1) - 1 or nil
end

-- The first whole sentence of `text`: its last byte; nil while none is sure.
local function first_end(self, text, complete)
  local at = 1
  while true do
    local first, last, sure = next_mark(text, at)
    if not first then
      return clause_end(text)
    end
    local stop = text:match("^[.!?;\"')%]]*()", last + 1) - 1
    local after = text:sub(stop + 1, stop + 1)
    if after == "" and not sure and not complete then
      return nil -- what follows may belong to it: "1." "5"
    end
    local whole = sure or after == "" or after:match("%s")
    if whole and (sure or ends_here(text, first))
      and length(trim(text:sub(1, stop))) >= self.min then
      return stop
    end
    at = stop + 1
  end
end

local function take(self, complete)
  local out = {}
  while true do
    local stop = first_end(self, self.rest, complete)
    if not stop or stop < 1 then
      return out
    end
    out[#out + 1] = trim(self.rest:sub(1, stop))
    self.rest = self.rest:sub(stop + 1)
  end
end

---@param piece string
---@return string[] sentences that are whole now
function M:push(piece)
  self.rest = self.rest .. piece
  return take(self, false)
end

---@return string[] what is left
function M:finish()
  local out = take(self, true)
  local rest = trim(self.rest)
  self.rest = ""
  if rest ~= "" then
    out[#out + 1] = rest
  end
  return out
end

---The sentences of a whole text; a short rest joins the one before it.
---@param text string
---@param min? integer
---@return string[]
function M.cut(text, min)
  local self = M.new({ min = min })
  local out = self:push(text)
  for _, sentence in ipairs(self:finish()) do
    out[#out + 1] = sentence
  end
  local last = out[#out]
  if #out > 1 and length(last) < self.min then
    out[#out] = nil
    out[#out] = out[#out] .. " " .. last
  end
  return out
end

return M
