-- Erasing what a call tells of a person (api.md §5.8): words, variables, numbers, recording. What
-- is counted stays. A result that comes later brings nothing of it back.
local erasures = require("services.recordings.erasures")
local fleet_hosts = require("services.fleet.hosts")
local recording_store = require("services.recordings.store")

local M = {}

---Fields that go.
M.fields = {
  "transcript", "events", "intents", "post_call_analysis", "qc_analysis", "extra",
  "connected_event", "crm_data", "sip_context", "caller_id", "from_number", "to_number",
  "customer_number", "number_rev", "terms", "recording_url", "recording_key",
  "recording_access_token", "transfer_destination", "transfer_target", "transfer_reason",
  "transfer_failed_reason", "cdr", "cdr_recording_url", "test",
  "config_warnings",
}

---Takes out of a change what a redacted call must not get back.
---@param set table
---@return table set
function M.strip(set)
  for _, name in ipairs(M.fields) do
    set[name] = nil
  end
  return set
end

local delivery_fields = { "body", "log" }
local desk_fields = {
  "transcript", "variables", "context", "caller", "summary", "notes", "events", "recording_key",
  "recording_url",
}

-- (waits) What other collections hold of the call.
local function elsewhere(store, id)
  local done, err = store:update_many("recording_tokens", { session_id = id },
    { set = { withdrawn_at = cxb.time.now() } })
  if done then
    done, err = store:update_many("crm_deliveries",
      { session_id = id, state = { ["in"] = { "delivered", "dead" } } },
      { unset = delivery_fields })
  end
  if done then
    done, err = store:update_many("agent_desk_calls", { session_id = id }, { unset = desk_fields })
  end
  return done, err
end

---(waits) Erases one call. Each step may be repeated; the call is marked last.
---@param call table as stored
---@return table? call after
---@return table? err of the store, or {code = "recording", away = code, message}; of a success the
---addresses of hosts that could not be asked for their copy of its recording yet
function M.erase(app, call)
  local key = recording_store.key(call)
  local silent = not key and {} or fleet_hosts.silent(app)
  if not silent then
    return nil, { code = "recording", message = "which hosts may have a copy is not known",
      away = "fleet_unavailable" }
  end
  local ok, why, away = recording_store.remove(app, call)
  if not ok then
    return nil, { code = "recording", message = why, away = away }
  end
  local done, err = erasures.remember(app, key, silent)
  if done then
    done, err = elsewhere(app.store, call._id)
  end
  if not done then
    return nil, err
  end
  done, err = app.store:update("calls", call._id,
    { set = { redacted_at = call.redacted_at or cxb.time.now() }, unset = M.fields })
  return done, done and silent or err
end

return M
