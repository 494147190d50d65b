-- How calls end that need no analysis (core spec §6): which those are, and what they are called.
local M = {}

local defaults = {
  rnr = { "RNR", "RNR", "Call answered, customer did not respond" },
  no_customer_message = { "RNR", "RNR", "Call answered, customer did not respond" },
  voicemail = { "IVR", "MAIN_MESSAGE", "Voicemail or answering machine" },
  timeout = { "Not Connected", "DSCN_PARTIAL", "Maximum call duration reached" },
  error = { "Failed", "fallback", "System error" },
}
local parts = { "DISPOSITION", "SUB_DISPOSITION", "CALLING_REMARKS" }

local by_end = { error = "error", voicemail = "voicemail" }
local by_silent_end = { timeout = "timeout", RNR = "rnr" }
local without = { no_answer = true, rejected = true, outside_hours = true }
local shortest_ms = 5000

---@param facts table cxb.record, ended
---@return boolean analysed
---@return string? key of the disposition when it is not; nil: none
function M.judge(facts)
  local by, times = facts.fields.disconnected_by, facts.times
  if by_end[by] then
    return false, by_end[by]
  elseif without[by] then
    return false
  elseif not facts:heard_customer() then
    return false, by_silent_end[by] or "no_customer_message"
  end
  return times.answered ~= nil and times.ended - times.answered >= shortest_ms
end

---@param key string
---@param own? table the bot's auto_dispositions
---@return table<string, string>
function M.of(key, own)
  local given = own and own[key] or {}
  local out = {}
  for i, part in ipairs(parts) do
    local value = given[part]
    out[part] = type(value) == "string" and value ~= "" and value or defaults[key][i]
  end
  return out
end

return M
