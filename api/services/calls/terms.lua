-- The words of a call that it is found by (api.md §2.2): in lower case, each once, 400 at most.
local json = require("cxb.json")
local text = require("cxb.text")

local M = {}

local WORDS_MAX, BYTES_MAX = 400, 64

---How a transcript is read as opaque JSON (json.decode): its words come with it.
M.opaque = { words_of = "text", most = WORDS_MAX, longest = BYTES_MAX }

---The words of a text in the order they first come.
---@param source string
---@return string[]
function M.words(source)
  return text.distinct_words(source, WORDS_MAX, BYTES_MAX)
end

-- What was said, a line each.
local function lines_of(transcript)
  local lines = {}
  for _, entry in ipairs(transcript or {}) do
    lines[#lines + 1] = type(entry.text) == "string" and entry.text or nil
  end
  return table.concat(lines, "\n")
end

---@param transcript? {text?: string}[] or what M.opaque made of it
---@return string[]? terms nil: nothing was said
function M.of(transcript)
  local words = json.is_raw(transcript) and (transcript.words or {})
    or M.words(lines_of(transcript))
  return words[1] and words or nil
end

return M
