-- Why a server refused a request, for logs: a short word of its own. Its sentences stay out, for
-- they quote what was sent: what people said, a key.
local json = require("cxb.json")

local M = {}

local longest = 64

local function first_word(from)
  if type(from) ~= "table" then
    return nil
  end
  for _, name in ipairs({ "code", "status", "type" }) do
    local word = from[name]
    if type(word) == "string" and word:match("^[%w_%-.]+$") and #word <= longest then
      return word
    end
  end
end

---@param answer {status: integer, body?: string}
---@return string "HTTP 429: rate_limit_exceeded", "HTTP 500"
function M.text(answer)
  local body = json.decode(answer.body or "")
  local value = type(body) == "table" and (body[1] or body) or {}
  local word = type(value) == "table"
    and (first_word(value.error) or first_word(value.detail)) or nil
  return ("HTTP %d%s"):format(answer.status, word and ": " .. word or "")
end

return M
