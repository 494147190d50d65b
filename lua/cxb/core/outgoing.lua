-- Requests of Core's own to the API and to webhooks: which addresses may be configuration, and
-- which get the shared secret, and what a delivery carries.
local url = require("cxb.url")
local webhook = require("cxb.webhook")

local M = {}

---@param address string
---@return boolean
function M.is_http(address)
  local p = url.parse(address)
  return p ~= nil and (p.scheme == "http" or p.scheme == "https") and p.host ~= ""
    and not address:find("[%c%s]")
end

---Whether a call may be configured from this address. A listed prefix ends at a "/", "?" or the
---end of the address, and its origin is compared whole: "http://api" allows no "http://api.evil".
---@param c table settings
---@param address string
---@return boolean
function M.config_url_allowed(c, address)
  if not c.CXB_CONFIG_URL_ALLOW then
    return M.is_http(address)
  end
  local origin, path = url.origin(address), (url.parse(address) or {}).path or ""
  if path:find("..", 1, true) or path:find("%%2[eE]") then
    return false
  end
  for _, allowed in ipairs(c.CXB_CONFIG_URL_ALLOW) do
    local prefix = (url.parse(allowed) or {}).path or "/"
    local after = path:sub(#prefix + 1, #prefix + 1)
    local whole = prefix:sub(-1) == "/" or after == "/" or after == ""
    if whole and origin == url.origin(allowed) and path:sub(1, #prefix) == prefix then
      return true
    end
  end
  return false
end

---Base URL of the API for a call ("…/api/v1"): its own config_url goes before the worker's.
---@param c table settings
---@param call? table {config_url}
---@return string?
function M.api(c, call)
  local own = call and call.config_url
  return own and own:gsub("/+$", ""):match("^(.*)/[^/]*$") or c.api
end

---@param c table settings
---@param address string
---@return boolean
function M.gets_secret(c, address)
  if not c.CXBCORE_SECRET or c.CXBCORE_SECRET == "" then
    return false
  elseif not c.CXB_SECRET_ORIGINS then
    return true
  end
  local origin = url.origin(address)
  for _, allowed in ipairs(c.CXB_SECRET_ORIGINS) do
    if origin == url.origin(allowed) then
      return true
    end
  end
  return false
end

---Adds the secret to the headers of a request to this address, if it may have it.
---@param c table settings
---@param address string
---@param headers? table<string, string>
---@return table<string, string> headers
function M.headers(c, address, headers)
  headers = headers or {}
  if M.gets_secret(c, address) then
    headers["x-cxb-core-secret"] = c.CXBCORE_SECRET
  end
  return headers
end

---What each attempt of a row carries beside its body.
---@param c table settings
---@param row {kind: string, session_id: string, n?: integer, url: string, body: string}
---@return table<string, string>
function M.delivery(c, row)
  local key = row.kind .. ":" .. row.session_id
  if row.kind == "event" then
    key = ("%s:%d"):format(key, row.n)
  end
  local h = M.headers(c, row.url, {
    ["content-type"] = "application/json", ["user-agent"] = "cxbrt/" .. cxb.version,
    ["idempotency-key"] = key,
  })
  if c.webhook_keys then
    for name, value in pairs(webhook.sign(c.webhook_keys, key, row.body)) do
      h[name] = value
    end
  end
  return h
end

return M
