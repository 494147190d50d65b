-- Forgetting what is older than the settings keep (api.md §5.15 `retention`, days; 0: for ever), in
-- batches: recordings, then whole calls with what hangs on them, and the audit.
local recording_store = require("services.recordings.store")
local system_settings = require("services.system.settings")

local M = {}

local DAY_MS, BATCH = 86400000, 500

-- What of other collections belongs to a call alone.
local belongings = { "recording_tokens", "crm_deliveries", "agent_desk_calls" }

-- Each batch of old calls that match, the oldest first, to `each`; a call that cannot be dealt with
-- is left for the next day.
local function batches(store, filter, fields, each)
  local after
  repeat
    local calls, next_or_err = store:find("calls", filter,
      { sort = { "started_at" }, limit = BATCH, after = after, fields = fields })
    if not calls then
      return nil, next_or_err
    end
    for _, call in ipairs(calls) do
      local ok, err = each(call)
      if not ok then
        if err and err.code == "unavailable" then
          return nil, err
        end
        cxb.log.warn("kept for another day", { session_id = call._id,
          error = type(err) == "table" and err.message or err })
      end
    end
    after = next_or_err
  until not after
  return true
end

-- (waits) Erases the recording of a call. While the cache is away no call can be dealt with: which
-- hosts may have a copy is not known.
local function without_recording(app, call)
  local gone, why = recording_store.remove(app, call)
  if not gone and not app.cache:healthy() then
    return nil, { code = "unavailable", message = why }
  end
  return gone, why
end

local recording_fields = { "recording_key", "recording_url", "recording_access_token" }

local function recordings(app, before)
  return batches(app.store, { recording_key = { exists = true }, started_at = { lt = before } },
    { "recording_key", "recording_url" }, function(call)
      local gone, why = without_recording(app, call)
      if not gone then
        return nil, why
      end
      local done, err = app.store:delete_many("recording_tokens", { session_id = call._id })
      if done then
        done, err = app.store:update("calls", call._id, { unset = recording_fields },
          { fields = {} })
      end
      return done, err
    end)
end

local function calls(app, before)
  return batches(app.store, { started_at = { lt = before }, status = { ne = "in_progress" } },
    { "recording_key", "recording_url" }, function(call)
      local gone, why = without_recording(app, call)
      if not gone then
        return nil, why
      end
      for _, name in ipairs(belongings) do
        local done, err = app.store:delete_many(name, { session_id = call._id })
        if not done then
          return nil, err
        end
      end
      return app.store:delete("calls", call._id)
    end)
end

local function audit(app, before)
  return app.store:delete_many("audit_log", { at = { lt = before } })
end

---(waits) All rules; one that is not done leaves the others alone.
---@return true?, table? err the first
function M.erase(app)
  local settings, err = system_settings.get(app)
  if not settings then
    return nil, err
  end
  local kept, now = settings.retention, cxb.time.now()
  for _, rule in ipairs({
    { kept.recordings_days, recordings }, { kept.calls_days, calls }, { kept.audit_days, audit },
  }) do
    if rule[1] > 0 then
      local done, why = rule[2](app, now - rule[1] * DAY_MS)
      err = err or not done and why or nil
    end
  end
  return not err or nil, err
end

return M
