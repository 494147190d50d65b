-- The variables of one call: what its carrier or campaign gave, what the CRM knows, the clock.
local json = require("cxb.json")
local template = require("cxb.template")
local variables = require("cxb.variables")

local M = {}

-- Keys beginning with "_" steer the platform; each with what it may be.
local steering = {
  _campaign_session_id = "string", _skip_prefetch = "boolean", _skip_post_push = "boolean",
  _mock_crm = "table", _campaign_id = "string", _campaign_call_id = "string",
  _campaign_attempt = "number", _campaign_run_number = "number",
}

local HEADERS_MAX, HEADER_BYTES = 64, 1024

---Parts a connected event into what steers us and what the call says; other "_" keys are dropped.
---@param event table
---@return table<string, any> flags names without the first "_", and sip_candidate_headers
---@return table<string, any> clean
function M.part(event)
  local flags, clean = {}, {}
  for key, value in pairs(event) do
    if type(key) ~= "string" or key:sub(1, 1) ~= "_" then
      clean[key] = value
    elseif type(value) == steering[key] then
      flags[key:sub(2)] = value
    end
  end
  local headers = clean.sip_candidate_headers
  flags.sip_candidate_headers = type(headers) == "table" and headers or nil
  clean.sip_candidate_headers = nil
  local id = flags.campaign_session_id
  if id and not (#id <= 64 and id:match("^[%w_-]+$")) then
    flags.campaign_session_id = nil
  end
  return flags, clean
end

-- Header → value of what a bot's filter lets through.
local function let_through(candidates, filter)
  local wanted = {}
  for _, name in ipairs(filter.names or {}) do
    wanted[name:lower()] = true
  end
  local names, out = {}, {}
  for name, value in pairs(candidates) do
    if type(name) == "string" and type(value) == "string"
      and (filter.mode == "all" or wanted[name:lower()]) then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for i = 1, math.min(#names, HEADERS_MAX) do
    out[names[i]] = candidates[names[i]]:sub(1, HEADER_BYTES):gsub("%c", " ")
  end
  return out
end

---The SIP headers a bot wants to know: as `call.sip_header_<name>` (lower case, "_" for what is
---neither letter nor digit) and all of them as `call.sip_headers_json`.
---@param candidates? table<string, string>
---@param filter? {mode: "none"|"list"|"all", names: string[]}
---@return table<string, string> event what is added to the connected event
---@return table? headers those that were let through
function M.sip_headers(candidates, filter)
  local mode = type(filter) == "table" and filter.mode or "none"
  if not candidates or mode == "none" then
    return {}
  end
  local headers = let_through(candidates, filter)
  if not next(headers) then
    return {}
  end
  local event = { sip_headers_json = json.encode(headers, true) }
  for name, value in pairs(headers) do
    event["sip_header_" .. name:lower():gsub("%W", "_")] = value
  end
  return event, headers
end

---call.* and crm.* from the event, crm.* overlaid by known CRM values, system.* from the clock.
---@return table<string, any> flat
function M.all(event, crm, zone, now)
  local out = variables.clock(zone, now)
  template.flatten(out, "call.", event)
  template.flatten(out, "crm.", event)
  return template.flatten(out, "crm.", crm or {})
end

return M
