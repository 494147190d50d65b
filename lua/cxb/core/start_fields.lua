-- Fields of the POSTs that start a call (core spec §2): what each may be, and how numbers are
-- written. Unknown fields are ignored; of several bad ones the first of the list is named.
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local utf8 = require("cxb.utf8")

local M = {}

local EVENT_BYTES = 16 * 1024

---A telephone number as it is dialled: blanks, dashes and brackets are dropped; "+…" and "0…" stay;
---8 to 15 other digits get "+".
---@param text string
---@return string? number nil when it is none
function M.number(text)
  local digits = text:gsub("[%s%-()%[%]]", "")
  if digits:match("^%+%d+$") and #digits <= 16 then
    return digits
  elseif not digits:match("^%d+$") or #digits > 15 then
    return nil
  elseif digits:sub(1, 1) == "0" then
    return digits
  end
  return #digits >= 8 and "+" .. digits or nil
end

local function matching(pattern, max, rule)
  return function(value)
    if type(value) == "string" and #value <= max and value:match(pattern) then
      return value
    end
    return nil, rule
  end
end

local function text(max)
  local rule = ("a text of 1 to %d bytes"):format(max)
  return function(value)
    local good = type(value) == "string" and value ~= "" and #value <= max
      and not value:find("%c") and not utf8.first_bad(value)
    return good and value or nil, rule
  end
end

local function number(value)
  local kept = type(value) == "string" and M.number(value)
  return kept or nil, "a telephone number such as +919876543210"
end

local function event(value)
  if type(value) ~= "table" or json.is_array(value) then
    return nil, "an object"
  end
  local encoded = json.encode(value, true)
  return #encoded <= EVENT_BYTES and encoded or nil, "at most 16 KiB of JSON"
end

local function config_url(value, c)
  if type(value) ~= "string" or not outgoing.is_http(value) or #value > 2048 then
    return nil, "an http or https URL"
  end
  return outgoing.config_url_allowed(c, value) and value or nil,
    "an address that CXB_CONFIG_URL_ALLOW names"
end

local function flag(value)
  if type(value) == "boolean" then
    return value
  end
  return nil, "true or false"
end

local bot_id = matching("^[%w_-]+$", 64, "1 to 64 characters of A-Z a-z 0-9 _ -")
local call_id = matching("^[%w._-]+$", 128, "1 to 128 characters of A-Z a-z 0-9 . _ -")
local room_name = text(256)

-- {name, rule, required, default}
local lists = {
  dispatch = {
    { "room_name", room_name, true }, { "caller_number", number, true },
    { "dialed_number", number, true }, { "call_id", call_id }, { "final", flag, false, false },
  },
  dialout = {
    { "bot_id", bot_id, true }, { "to_number", number, true }, { "from_number", number },
    { "connected_event", event }, { "config_url", config_url },
  },
  attach = {
    { "room_name", room_name, true }, { "bot_id", bot_id, true }, { "to_number", number },
    { "from_number", number }, { "config_url", config_url }, { "connected_event", event },
    { "campaign_call_id", call_id },
  },
  widget = {
    { "bot_id", bot_id, true }, { "room_name", room_name, true },
    { "caller_id", text(256), false, "widget-user" },
  },
}

---@param kind "dispatch"|"dialout"|"attach"|"widget"
---@param body table decoded object
---@param c table settings
---@return table? fields checked; connected_event as JSON text
---@return string? field the first bad one
---@return string? message the rule it breaks
function M.check(kind, body, c)
  local fields = {}
  for _, entry in ipairs(lists[kind]) do
    local name, rule, required, default = unpack(entry)
    local value = body[name]
    if value == nil or value == json.null then
      if required then
        return nil, name, name .. " is required"
      end
      fields[name] = default
    else
      local kept, expected = rule(value, c)
      if kept == nil then
        return nil, name, ("%s: expected %s"):format(name, expected)
      end
      fields[name] = kept
    end
  end
  return fields
end

return M
