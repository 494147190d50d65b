-- Public links to recordings: token → call (api.md §3.3, §5.9).
local M = {}

---(waits) Makes the token of a call's recording known; one that was withdrawn stays so.
---@return true?, table? err
function M.register(app, token, session_id)
  local doc, err = app.store:upsert("recording_tokens", { _id = token },
    { on_insert = { session_id = session_id } })
  return doc and true, err
end

return M
