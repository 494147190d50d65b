-- The variables of one call: what its carrier or campaign gave, what the CRM knows, the clock.
local template = require("cxb.template")
local variables = require("cxb.variables")

local M = {}

-- Keys beginning with "_" steer the platform; each with what it may be.
local steering = {
  _campaign_session_id = "string", _skip_prefetch = "boolean", _skip_post_push = "boolean",
  _mock_crm = "table", _campaign_id = "string", _campaign_call_id = "string",
  _campaign_attempt = "number", _campaign_run_number = "number",
}

---Parts a connected event into what steers us and what the call says; other "_" keys are dropped.
---@param event table
---@return table<string, any> flags names without the first "_", table<string, any> clean
function M.part(event)
  local flags, clean = {}, {}
  for key, value in pairs(event) do
    if type(key) ~= "string" or key:sub(1, 1) ~= "_" then
      clean[key] = value
    elseif type(value) == steering[key] then
      flags[key:sub(2)] = value
    end
  end
  clean.sip_candidate_headers = nil
  local id = flags.campaign_session_id
  if id and not (#id <= 64 and id:match("^[%w_-]+$")) then
    flags.campaign_session_id = nil
  end
  return flags, clean
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
