-- A document's text as pieces that can be found and told (api.md §5.16): of `size` characters at
-- most, each beginning `overlap` characters before the end of the one before. A piece ends at the
-- best boundary of its second half: a paragraph, a line, a sentence, a word.
local M = {}

local boundaries = { "\n\n", "\n", "।%s", "[.!?]%s", "%s" }

-- The byte after `n` characters from `at` (a character's first byte).
local function after_characters(text, at, n)
  local stop = at + n - 1
  while stop < #text do
    local _, continuation = text:sub(at, stop):gsub("[\128-\191]", "")
    local missing = n - (stop - at + 1 - continuation)
    if missing <= 0 then
      break
    end
    stop = stop + missing
  end
  while text:byte(stop + 1) and text:byte(stop + 1) >= 128 and text:byte(stop + 1) < 192 do
    stop = stop + 1
  end
  return math.min(stop, #text) + 1
end

-- The last match of a pattern that begins in [from, to); where the next piece may begin.
local function last_boundary(text, pattern, from, to)
  local found, at = nil, from
  while true do
    local first, last = text:find(pattern, at)
    if not first or first >= to then
      return found
    end
    found, at = math.min(last + 1, to), first + 1
  end
end

local function cut_at(text, at, limit)
  local half = at + math.floor((limit - at) / 2)
  for _, pattern in ipairs(boundaries) do
    local cut = last_boundary(text, pattern, half, limit)
    if cut and cut > at then
      return cut
    end
  end
  return limit
end

-- The first word that begins at or after `from`; `from` itself when none does before `to`.
local function word_start(text, from, to)
  while text:byte(from) and text:byte(from) >= 128 and text:byte(from) < 192 do
    from = from + 1
  end
  local blank = text:find("%s", from)
  local word = blank and text:find("%S", blank)
  return word and word < to and word or from
end

-- The first byte of the `n` characters that end before `cut`.
local function before_characters(text, cut, n, from)
  local at = cut
  while n > 0 and at > from do
    at = at - 1
    local byte = text:byte(at)
    if byte < 128 or byte >= 192 then
      n = n - 1
    end
  end
  return at
end

---Blank lines and blanks in a row become one; page breaks are paragraphs.
---@param text string
---@return string
function M.tidy(text)
  text = text:gsub("\r\n?", "\n"):gsub("\f", "\n\n"):gsub("[ \t]+", " "):gsub(" ?\n ?", "\n")
  text = text:gsub("\n\n\n+", "\n\n"):gsub("^%s+", "")
  local last = #text
  while last > 0 and text:find("^%s", last) do
    last = last - 1
  end
  return text:sub(1, last)
end

---@param text string tidy
---@param size integer characters
---@param overlap integer
---@return string[]
function M.split(text, size, overlap)
  overlap = math.min(overlap, math.floor(size / 2))
  local out, at = {}, 1
  while at <= #text do
    local limit = after_characters(text, at, size)
    local cut = limit > #text and limit or cut_at(text, at, limit)
    local piece = text:sub(at, cut - 1):match("^%s*(.-)%s*$")
    if piece ~= "" then
      out[#out + 1] = piece
    end
    if cut > #text then
      break
    end
    local from = overlap > 0 and before_characters(text, cut, overlap, at + 1) or cut
    at = overlap > 0 and word_start(text, from, cut) or cut
  end
  return out
end

return M
