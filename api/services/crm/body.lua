-- What a CRM is told of a call (api.md §5.19): the bot's key_mapper with its names filled in from
-- call.*, crm.*, system.*, result.*, analysis.* and qc.*. Every value is a text; an unknown name is
-- an empty one; what a value holds is never expanded again.
local json = require("cxb.json")
local recording_store = require("services.recordings.store")
local template = require("cxb.template")
local tickets = require("services.identity.tickets")
local tz = require("cxb.tz")
local call_variables = require("services.runtime_config.variables")
local variables = require("cxb.variables")

local M = {}

local outcome = { customer = "Connected", bot = "Connected", timeout = "Connected",
  error = "Failed" }
local speakers = { bot = "Bot", customer = "Customer", agent = "Agent", dtmf = "Keys" }
local transfer = { "transfer_destination", "transfer_target", "transfer_reason",
  "transfer_method", "transfer_at", "transfer_failed_reason" }

-- The names after `result.` that a push may use, each true.
M.result_names = {}
for name in ("call_id recording_url call_duration_seconds disconnected_by disposition start_time "
  .. "end_time answer_time transcript was_transferred "
  .. table.concat(transfer, " ")):gmatch("%S+") do
  M.result_names[name] = true
end

local function local_time(ms, zone)
  if type(ms) ~= "number" then
    return ""
  end
  local w = tz.wall(zone, ms)
  return ("%04d-%02d-%02d %02d:%02d:%02d"):format(w.year, w.month, w.day, w.hour, w.minute,
    w.second)
end

local function transcript_text(entries)
  local lines = {}
  for _, entry in ipairs(entries or {}) do
    if type(entry.text) == "string" and entry.text ~= "" then
      lines[#lines + 1] = ("%s: %s"):format(speakers[entry.role] or tostring(entry.role),
        entry.text)
    end
  end
  return table.concat(lines, "\n")
end

-- The public link; where that was withdrawn, one with a ticket that ends by itself.
local function recording_url(app, call)
  local token = call.recording_access_token
  if token then
    return ("%s/api/v1/public/recordings/%s"):format(app:public_base(), token)
  elseif not recording_store.key(call) then
    return ""
  end
  return ("%s/api/v1/recordings/%s?ticket=%s"):format(app:public_base(), call._id,
    tickets.playback(app, call._id, { kind = "crm" }))
end

---The result.* variables of a call.
---@param call table as stored
---@param zone string of the bot
---@return table<string, any>
function M.result(app, call, zone)
  local out = {
    call_id = call._id, recording_url = recording_url(app, call),
    call_duration_seconds = call.call_duration_seconds or 0,
    disconnected_by = call.disconnected_by or "",
    disposition = outcome[call.disconnected_by] or "Unknown",
    start_time = local_time(call.started_at, zone), end_time = local_time(
      call.ended_at or call.completed_at, zone),
    answer_time = local_time(call.answered_at, zone),
    transcript = transcript_text(call.transcript),
    was_transferred = call.was_transferred and "yes" or "no",
  }
  for _, name in ipairs(transfer) do
    out[name] = call[name]
  end
  return out
end

local function nothing()
  return ""
end

local function fill(value, vars)
  if type(value) == "string" then
    return (template.render(value, vars, nothing))
  elseif type(value) ~= "table" then
    return value
  end
  local out = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    out[key] = fill(item, vars)
  end
  return out
end

---All the names a push may use.
---@return table<string, any> flat
function M.variables(app, call, bot)
  local zone = bot.timezone or "UTC"
  local vars = call_variables.all(call.connected_event or {}, call.crm_data, zone, cxb.time.now())
  return variables.after_call(vars, { result = M.result(app, call, zone),
    analysis = call.post_call_analysis or {}, qc = call.qc_analysis or {} })
end

---@param mapper table key → template, nested as it likes
---@param vars table<string, any>
---@return string body
function M.render(mapper, vars)
  return json.encode(fill(mapper, vars), true)
end

return M
