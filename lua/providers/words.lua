-- Times of words out of times of characters, which come in pieces that may end within a word.
local M = {}
M.__index = M

---@param emit fun(words: {text: string, start_ms: number, end_ms: number}[])
function M.new(emit)
  return setmetatable({ emit = emit, letters = {} }, M)
end

-- The word under way is over.
local function close(self, out)
  if #self.letters > 0 then
    out[#out + 1] = {
      text = table.concat(self.letters), start_ms = self.start_ms, end_ms = self.end_ms,
    }
    self.letters = {}
  end
end

local function pass(self, out)
  if #out > 0 then
    self.emit(out)
  end
end

---@param chars string[]
---@param starts number[] ms from offset_ms
---@param lengths? number[] ms
---@param offset_ms number of the utterance
function M:add(chars, starts, lengths, offset_ms)
  local out = {}
  for i, char in ipairs(chars) do
    local at = tonumber(starts[i])
    if type(char) ~= "string" or not at then
      break
    elseif char:find("^%s*$") then
      close(self, out)
    else
      if #self.letters == 0 then
        self.start_ms = offset_ms + at
      end
      self.letters[#self.letters + 1] = char
      self.end_ms = offset_ms + at + (lengths and tonumber(lengths[i]) or 0)
    end
  end
  pass(self, out)
end

---Gives out the last word.
function M:finish()
  local out = {}
  close(self, out)
  pass(self, out)
end

return M
