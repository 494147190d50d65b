-- The words of a Lua text with where they stand: comments and blanks left out, a long text is one
-- word. What is no Lua ends the list; the compiler says why.
local M = {}

-- The end of a long bracket that begins at `at`; nil when there is none.
local function long_end(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then
    return nil
  end
  local _, close = text:find("]" .. level .. "]", at, true)
  return close or #text
end

local function string_end(text, at)
  local quote = text:sub(at, at)
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == "\\" then
      i = i + 1
    elseif c == quote or c == "\n" then
      return i
    end
    i = i + 1
  end
  return #text
end

local function comment_end(text, at)
  return long_end(text, at + 2) or (text:find("\n", at, true) or #text + 1) - 1
end

-- Kind and end of the word at `at`.
local function word(text, at)
  local c = text:sub(at, at)
  if c:match("[%a_]") then
    return "name", select(2, text:find("^[%w_]+", at))
  elseif c:match("%d") or text:match("^%.%d", at) then
    return "number", select(2, text:find("^[%w.]+", at))
  elseif c == '"' or c == "'" then
    return "string", string_end(text, at)
  elseif c == "[" and long_end(text, at) then
    return "string", long_end(text, at)
  elseif text:sub(at, at + 1) == "--" then
    return "comment", comment_end(text, at)
  end
  for _, operator in ipairs({ "...", "..", "==", "~=", "<=", ">=" }) do
    if text:sub(at, at + #operator - 1) == operator then
      return "operator", at + #operator - 1
    end
  end
  return "operator", at
end

---@class cxb.flowcheck.token
---@field kind "name"|"number"|"string"|"operator"
---@field text string
---@field at integer byte, from 1
---@field line integer
---@field column integer of its first byte, from 1

---@param text string
---@return cxb.flowcheck.token[]
function M.read(text)
  local out, at, line, line_start = {}, 1, 1, 1
  while at <= #text do
    local blank = select(2, text:find("^[ \t\r]+", at))
    if blank then
      at = blank + 1
    elseif text:sub(at, at) == "\n" then
      at, line, line_start = at + 1, line + 1, at + 1
    else
      local kind, last = word(text, at)
      local piece = text:sub(at, last)
      if kind ~= "comment" then
        out[#out + 1] = { kind = kind, text = piece, at = at, line = line,
          column = at - line_start + 1 }
      end
      local newline = 0
      for i in piece:gmatch("()\n") do
        newline, line = i, line + 1
      end
      line_start = newline > 0 and at + newline or line_start
      at = last + 1
    end
  end
  return out
end

return M
