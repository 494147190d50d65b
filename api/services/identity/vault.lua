-- Credentials at rest (api.md §7): XChaCha20-Poly1305 under CXB_SECRETS_KEY, stored as `enc:v1:…`.
-- While CXB_SECRETS_KEY_PREVIOUS is set, what it sealed still opens and is sealed anew.
local json = require("cxb.json")

local M = {}

local PREFIX = "enc:v1:"

---The 32 bytes of a key in base64 (either alphabet); nil when it is none.
---@return string?
function M.key(text)
  local key = cxb.crypto.unbase64(text) or cxb.crypto.unbase64url(text)
  return key and #key == 32 and key or nil
end

---@return boolean
function M.is_sealed(value)
  return type(value) == "string" and value:sub(1, #PREFIX) == PREFIX
end

---@param app table
---@param text string
---@return string sealed
function M.seal(app, text)
  return PREFIX .. cxb.crypto.base64url(cxb.crypto.seal(app.secrets.key, text))
end

local function unseal(key, sealed)
  local bytes = key and cxb.crypto.unbase64url(sealed:sub(#PREFIX + 1))
  return bytes and cxb.crypto.unseal(key, bytes)
end

---@param app table
---@param sealed string
---@return string? text nil: none of our keys opens it
function M.open(app, sealed)
  if not M.is_sealed(sealed) then
    return nil
  end
  return unseal(app.secrets.key, sealed) or unseal(app.secrets.key_previous, sealed)
end

-- A copy in which what the previous key sealed is sealed with the current one; false: nothing was.
local function renewed(app, value)
  if M.is_sealed(value) and not unseal(app.secrets.key, value) then
    local text = unseal(app.secrets.key_previous, value)
    return text and M.seal(app, text) or false
  elseif type(value) ~= "table" then
    return false
  end
  local changed, out = false, setmetatable({}, getmetatable(value))
  for name, item in pairs(value) do
    local fresh = renewed(app, item)
    changed = changed or fresh ~= false
    out[name] = fresh or item
  end
  return changed and out
end

-- One document; another's change in between is left to the next run.
local function renew_document(app, collection, doc)
  local set = {}
  for name, value in pairs(doc) do
    local fresh = value ~= json.null and renewed(app, value)
    if fresh then
      set[name] = fresh
    end
  end
  if not next(set) then
    return 0
  end
  local done, err = app.store:update(collection, doc._id, { set = set }, { expect = { v = doc.v } })
  if not done and err.code ~= "conflict" and err.code ~= "not_found" then
    return nil, err
  end
  return done and 1 or 0
end

---(waits) Seals anew what the previous key sealed in a collection.
---@return integer? documents, table? err
function M.renew(app, collection)
  local n, after = 0, nil
  repeat
    local docs, next_or_err = app.store:find(collection, {}, { limit = 100, after = after })
    if not docs then
      return nil, next_or_err
    end
    for _, doc in ipairs(docs) do
      local done, err = renew_document(app, collection, doc)
      if not done then
        return nil, err
      end
      n = n + done
    end
    after = next_or_err
  until not after
  return n
end

return M
