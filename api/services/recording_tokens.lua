-- Public links to recordings: token → call (api.md §3.3, §5.9).
local M = {}

---(waits) Makes the token of a call's recording known; one that was withdrawn stays so.
---@return true?, table? err
function M.register(app, call)
  local token = call.recording_access_token
  if not token or call.redacted_at then
    return true
  end
  local doc, err = app.store:upsert("recording_tokens", { _id = token },
    { on_insert = { session_id = call._id } })
  return doc and true, err
end

return M
