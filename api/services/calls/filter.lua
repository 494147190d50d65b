-- What a list of calls is asked by (api.md §5.8), as a filter of the store.
local call_terms = require("services.calls.terms")
local calls = require("services.calls")
local errors = require("services.web.errors")
local shapes = require("schemas.call")

local M = {}

local WEEK_MS = 7 * 86400 * 1000

local id = { type = "string", format = "id" }
local word = { type = "string", minLength = 1, maxLength = 256 }
local flag = { type = "boolean" }
local time = { type = "string", format = "time" }
local seconds = { type = "number", minimum = 0 }

---Properties of the query string.
M.properties = {
  bot_id = id, campaign_id = id, status = shapes.status, call_type = shapes.call_type,
  disconnected_by = shapes.disconnected_by, direction = shapes.direction,
  disposition = word, sub_disposition = word, was_transferred = flag, has_recording = flag,
  min_duration = seconds, max_duration = seconds, from = time, to = time,
  number = {
    type = "string", minLength = 4, maxLength = 32,
    description = "a whole number with +, or its last digits, at least four",
  },
  q = { type = "string", minLength = 1, maxLength = 256, description = "all words were said" },
}

local equal = {
  "campaign_id", "status", "disconnected_by", "direction", "call_type", "disposition",
  "sub_disposition", "was_transferred",
}

local function bad(field, message)
  return errors.new(400, "invalid_query", ("Query: %s %s."):format(field, message),
    { fields = { { path = field, rule = "format", message = message } } })
end

local function number_of(number)
  local reversed = calls.reversed(number) or ""
  if number:sub(1, 1) == "+" then
    return reversed
  end
  return #reversed >= 4 and { prefix = reversed } or nil
end

---A key reaches its bots only; an empty list is every bot.
---@param wanted? string
---@return any condition on bot_id
function M.bots_of(principal, wanted)
  local allowed = principal and principal.kind == "key" and principal.bot_ids or {}
  if not allowed[1] then
    return wanted
  end
  for _, bot_id in ipairs(allowed) do
    if bot_id == wanted then
      return wanted
    end
  end
  return { ["in"] = wanted and {} or allowed }
end

---Whether a principal may see a call.
---@return boolean
function M.visible(principal, call)
  local allowed = principal and principal.kind == "key" and principal.bot_ids or {}
  for _, bot_id in ipairs(allowed) do
    if bot_id == call.bot_id then
      return true
    end
  end
  return not allowed[1]
end

---@param query table checked by M.properties
---@param principal? table
---@return table? filter, api.error? err
function M.of(query, principal)
  local filter = {
    bot_id = M.bots_of(principal, query.bot_id),
    started_at = { gte = query.from or (query.to or cxb.time.now()) - WEEK_MS, lte = query.to },
  }
  for _, name in ipairs(equal) do
    filter[name] = query[name]
  end
  if query.min_duration or query.max_duration then
    filter.call_duration_seconds = { gte = query.min_duration, lte = query.max_duration }
  end
  if query.number then
    filter.number_rev = number_of(query.number)
    if not filter.number_rev then
      return nil, bad("number", "has fewer than four digits")
    end
  end
  if query.q then
    local words = call_terms.words(query.q)
    if not words[1] then
      return nil, bad("q", "has no word")
    end
    filter.terms = { has_all = words }
  end
  if query.has_recording ~= nil then
    filter.recording_key = { exists = query.has_recording }
  end
  return filter
end

return M
