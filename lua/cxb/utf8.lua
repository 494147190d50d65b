-- Whether a text is UTF-8.
local M = {}

local function tail(byte)
  return byte and byte >= 0x80 and byte <= 0xBF
end

---Position of the first byte that is not UTF-8 (RFC 3629); nil when all is well.
---@param text string
---@return integer?
function M.first_bad(text)
  local at = text:find("[\128-\255]")
  while at do
    local a, b, c, d = text:byte(at, at + 3)
    local size
    if a >= 0xC2 and a <= 0xDF and tail(b) then
      size = 2
    elseif a >= 0xE0 and a <= 0xEF and tail(b) and tail(c)
      and not (a == 0xE0 and b < 0xA0) and not (a == 0xED and b > 0x9F) then
      size = 3
    elseif a >= 0xF0 and a <= 0xF4 and tail(b) and tail(c) and tail(d)
      and not (a == 0xF0 and b < 0x90) and not (a == 0xF4 and b > 0x8F) then
      size = 4
    else
      return at
    end
    at = text:find("[\128-\255]", at + size)
  end
end

return M
