-- Public links to recordings: the token in the path is the proof (api.md §3.3, §5.9). A call has
-- one token at a time. The one it got with its result stands in the call alone; one that a person
-- made, and every former one, is a document of its own, so that a withdrawn link stays withdrawn.
local errors = require("services.web.errors")

local M = {}

local function of_store(doc, err)
  return doc, not doc and errors.of_store(err) or nil
end

-- (waits) The call of a token that nobody has touched.
local function untouched(app, token)
  local calls, err = app.store:find("calls", { recording_access_token = token },
    { limit = 1, bulk = false })
  if not calls then
    return nil, errors.of_store(err)
  end
  return calls[1], not calls[1] and errors.not_found("recording") or nil
end

---(waits) The call a token plays; nil for a token nobody knows, or one withdrawn.
---@return table? call as stored but for its bulk fields, api.error? err
function M.call(app, token)
  local found, err = app.store:get("recording_tokens", token)
  if not found and err.code == "not_found" then
    return untouched(app, token)
  elseif not found then
    return nil, errors.of_store(err)
  elseif found.withdrawn_at then
    return nil, errors.not_found("recording")
  end
  local call
  call, err = app.store:get("calls", found.session_id, { bulk = false })
  if not call and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  return call, not call and errors.not_found("recording") or nil
end

---(waits) The link is a 404 from now on.
---@return true?, api.error? err
function M.withdraw(app, call)
  local now, token = cxb.time.now(), call.recording_access_token
  local done, err = app.store:update_many("recording_tokens",
    { session_id = call._id, withdrawn_at = { exists = false } }, { set = { withdrawn_at = now } })
  if done and token then
    done, err = app.store:upsert("recording_tokens", { _id = token },
      { set = { withdrawn_at = now }, on_insert = { session_id = call._id } })
  end
  if done then
    done, err = app.store:update("calls", call._id, { unset = { "recording_access_token" } },
      { fields = {} })
  end
  return of_store(done and true, err)
end

---(waits) A new link; the former one is withdrawn.
---@return string? token, api.error? err
function M.rotate(app, call)
  local ok, err = M.withdraw(app, call)
  if not ok then
    return nil, err
  end
  local token = cxb.crypto.base64url(cxb.crypto.random(24))
  local doc
  doc, err = app.store:insert("recording_tokens", { _id = token, session_id = call._id })
  if doc then
    doc, err = app.store:update("calls", call._id, { set = { recording_access_token = token } },
      { fields = {} })
  end
  return of_store(doc and token, err)
end

return M
