-- The words of a call that it is found by (api.md §2.2): in lower case, each once, 400 at most.
local text = require("cxb.text")

local M = {}

local WORDS_MAX, BYTES_MAX = 400, 64

---The words of a text in the order they first come.
---@param source string
---@return string[]
function M.words(source)
  local out, seen = {}, {}
  for _, word in ipairs(text.words(source)) do
    if #word <= BYTES_MAX and not seen[word] then
      seen[word] = true
      out[#out + 1] = word
    end
  end
  return out
end

---@param transcript? {text?: string}[]
---@return string[]? terms nil: nothing was said
function M.of(transcript)
  local lines = {}
  for i, entry in ipairs(transcript or {}) do
    lines[i] = type(entry.text) == "string" and entry.text or ""
  end
  local words = M.words(table.concat(lines, " "))
  for i = #words, WORDS_MAX + 1, -1 do
    words[i] = nil
  end
  return words[1] and words or nil
end

return M
