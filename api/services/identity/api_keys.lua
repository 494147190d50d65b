-- Keys of other programs (api.md §3.2): shown once, stored as their SHA-256.
local errors = require("services.web.errors")
local list = require("cxb.list")

local M = {}

local USED_EVERY_MS = 60000

M.scopes = { "dialout", "contacts:write", "calls:read", "dnc:write" }

local function hash(key)
  return cxb.crypto.hex(cxb.crypto.sha256(key))
end

---A new key and what is stored of it.
---@return string key, {key_prefix: string, key_hash: string}
function M.new_key()
  local key = "vx_" .. cxb.crypto.base64url(cxb.crypto.random(24))
  return key, { key_prefix = key:sub(1, 7), key_hash = hash(key) }
end

-- In the background, at most once a minute whatever the number of processes.
local function note_use(app, key)
  local now = cxb.time.now()
  local seen = app.keys_used[key._id] or key.last_used_at
  if seen and now - seen < USED_EVERY_MS then
    return
  end
  app.keys_used[key._id] = now
  cxb.task.spawn("api key used", function()
    app.store:update("api_keys", key._id, { set = { last_used_at = now } }, { expect = {
      any_of = { { last_used_at = { exists = false } },
        { last_used_at = { lte = now - USED_EVERY_MS } } } } })
  end)
end

local function invalid()
  return errors.new(401, "invalid_api_key", "The API key is missing or not known.")
end

---(waits) The principal of a key, if it may do what the scope names.
---@param text? string header X-API-Key
---@param scope? string
---@return table? principal, api.error? err
function M.check(app, text, scope)
  if not text or not text:match("^vx_[%w_-]+$") then
    return nil, invalid()
  end
  local found, err = app.store:find("api_keys", { key_hash = hash(text) }, { limit = 1 })
  local key = found and found[1]
  if not found then
    return nil, errors.of_store(err)
  elseif not key then
    return nil, invalid()
  elseif not key.is_active then
    return nil, errors.new(403, "key_inactive", "The API key is switched off.")
  elseif key.expires_at and
    (type(key.expires_at) ~= "number" or key.expires_at <= cxb.time.now()) then
    return nil, errors.new(403, "key_expired", "The API key has expired.")
  elseif not scope or not list.has(key.scopes, scope) then
    return nil, errors.new(403, "forbidden", ("The API key lacks the scope %s."):format(
      scope or "of this route"))
  end
  note_use(app, key)
  return {
    kind = "key", id = key._id, name = key.name, scopes = key.scopes, bot_ids = key.bot_ids or {},
    daily_call_limit = key.daily_call_limit,
  }
end

---Whether a principal may touch what belongs to this bot: keys may be limited to some.
---@param principal? table
---@return boolean
function M.reaches(principal, bot_id)
  local limited = principal and principal.kind == "key" and principal.bot_ids[1] ~= nil
  return not limited or list.has(principal.bot_ids, bot_id)
end

return M
