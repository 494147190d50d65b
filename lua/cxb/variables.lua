-- The variables of a call: call.*, crm.*, system.* while it lasts; result.*, analysis.* and qc.*
-- only after it. Flat, as cxb.template takes them.
local template = require("cxb.template")
local tz = require("cxb.tz")

local M = {}

local afterwards = { result = true, analysis = true, qc = true }

---@param zone string of the bot
---@param now number ms UTC
---@return table<string, string> system.* variables
function M.clock(zone, now)
  local w = tz.wall(zone, now)
  local date = ("%04d-%02d-%02d"):format(w.year, w.month, w.day)
  local time = ("%02d:%02d"):format(w.hour, w.minute)
  return {
    ["system.current_date"] = date,
    ["system.current_time"] = time,
    ["system.current_datetime"] = ("%s %s:%02d"):format(date, time, w.second),
    ["system.timezone"] = tz.known(zone) and zone or "UTC",
  }
end

---The variables a call begins with: those of its configuration, and what its wire gave as call.*
---where the configuration does not say.
---@param given table variables of the configuration, flat ("crm.name") or nested
---@param event? table the wire's own fields (connected_event)
---@return table<string, any>
function M.of_call(given, event)
  local all = {}
  if event then
    template.flatten(all, "call.", event)
  end
  for name, value in pairs(template.flatten({}, "", given or {})) do
    if not afterwards[name:match("^[^.]*")] then
      all[name] = value
    end
  end
  return all
end

---Renews system.* in place: a call may last past midnight.
---@param variables table
---@param zone string
---@return table variables
function M.renew(variables, zone)
  for name, value in pairs(M.clock(zone, cxb.time.now())) do
    variables[name] = value
  end
  return variables
end

---The variables once the call is over: result.*, analysis.* and qc.* beside the others.
---@param variables table of the call
---@param after {result?: table, analysis?: table, qc?: table}
---@return table<string, any> a copy
function M.after_call(variables, after)
  local all = {}
  for name, value in pairs(variables) do
    all[name] = value
  end
  for space, value in pairs(after) do
    template.flatten(all, space .. ".", value)
  end
  return all
end

return M
