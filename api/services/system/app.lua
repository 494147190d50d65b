-- What one generation of the API works with: settings, secrets, store.
local bots = require("services.bots")
local caches = require("services.system.caches")
local first_admin = require("services.identity.first_admin")
local open_store = require("services.system.open_store")
local secrets = require("cxb.secrets")
local vault = require("services.identity.vault")
local webhook = require("cxb.webhook")

local M = {}
M.__index = M

local SECRET_MIN = 32

local made_once = {
  { variable = "CXBCORE_SECRET", field = "core" },
  { variable = "JWT_SECRET", field = "jwt" },
  { variable = "CXB_SECRETS_KEY", field = "key" },
}

-- What several machines share must be given to each: it cannot be made on one of them.
local shared = { "JWT_SECRET", "CXBCORE_SECRET", "CXB_SECRETS_KEY", "CXB_PUBLIC_URL" }

local function is_ip(host)
  if host:match("^%[[%x:.]+%]$") then
    return true
  end
  local octets = { host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, octet in ipairs(octets) do
    if tonumber(octet) > 255 then
      return false
    end
  end
  return octets[1] ~= nil
end

---The `addr` of a cxb.listen entry; nil when it is neither HOST:PORT (an IP address or localhost)
---nor unix:PATH.
---@return string?
function M.address(listen)
  if listen:match("^unix:/.") then
    return listen
  end
  local host, port = listen:match("^(.+):(%d+)$")
  if not host or tonumber(port) > 65535 then
    return nil
  elseif host == "localhost" then
    host = "127.0.0.1"
  end
  return is_ip(host) and ("tcp:%s:%s"):format(host, port) or nil
end

---@param settings table by schemas.settings
function M.new(settings)
  local proxies = {}
  for _, address in ipairs(settings.CXB_TRUSTED_PROXIES) do
    proxies[address] = true
  end
  return setmetatable({
    settings = settings,
    keys_used = {}, -- API key id → when its use was noted
    trusted_proxies = proxies,
    recordings_dir = settings.CXB_RECORDINGS_DIR or settings.CXB_STATE_DIR .. "/recordings",
    docs_dir = cxb.root .. "/.cache/docs",
    started_at = cxb.time.mono(),
    ready = false, streams = {},
  }, M)
end

-- The keys of the vault as bytes.
local function with_keys(self, found)
  local previous = self.settings.CXB_SECRETS_KEY_PREVIOUS
  found.key = vault.key(found.key)
  found.key_previous = previous and vault.key(previous)
  if not found.key or (previous and not found.key_previous) then
    return nil, ("CXB_SECRETS_KEY%s: the value is not valid, expected 32 bytes in base64"):format(
      found.key and "_PREVIOUS" or "")
  end
  self.secrets = found
  return true
end

-- Keys of the signatures on Core's deliveries; without any, none is looked at.
local function webhook_keys(text)
  local keys = text and webhook.keys(text)
  if text and not keys then
    return nil, "CXB_WEBHOOK_SECRET: the value is not valid, expected whsec_<base64>"
  end
  return keys or false
end

local function load_secrets(self)
  local settings, names = self.settings, {}
  for _, name in ipairs(settings.MONGODB_URI and shared or {}) do
    if not settings[name] then
      return nil, name .. ": is not set, expected with MONGODB_URI"
    end
  end
  for _, secret in ipairs(made_once) do
    if not settings[secret.variable] then
      names[#names + 1] = secret.variable
    end
  end
  local values, why = secrets.ensure(settings.CXB_STATE_DIR, names)
  if not values then
    return nil, "CXB_STATE_DIR: " .. why
  end
  local found = {
    previous = settings.CXBCORE_SECRET_PREVIOUS, webhook = settings.CXB_WEBHOOK_SECRET,
  }
  for name, value in pairs({ CXBCORE_SECRET_PREVIOUS = found.previous,
    CXB_WEBHOOK_SECRET = found.webhook }) do
    if #value < SECRET_MIN then
      return nil, ("%s: %d bytes, expected at least %d"):format(name, #value, SECRET_MIN)
    end
  end
  found.webhook, why = webhook_keys(found.webhook)
  if found.webhook == nil then
    return nil, why
  end
  for _, secret in ipairs(made_once) do
    local value = settings[secret.variable] or values[secret.variable]
    if #value < SECRET_MIN then
      return nil, ("%s: %d bytes, expected at least %d"):format(secret.variable, #value, SECRET_MIN)
    end
    found[secret.field] = value
  end
  return with_keys(self, found)
end

local function open_cache(self)
  if self.cache then
    return true
  end
  return caches.open(self)
end

local function open_the_store(self)
  if self.store then
    return true
  end
  local store, why = open_store.open(self.settings, function(collection)
    self.making = { collection = collection,
      since = self.making and self.making.since or cxb.time.mono() }
  end)
  self.making, self.store = nil, store
  return store and true, why
end

---(waits) Makes ready to serve; repeating it is harmless, and keeps what is open already.
---@return true?, string? why
function M:boot()
  if self.ready then
    return true
  end
  local settings = self.settings
  local ok, why, message = cxb.fs.mkdir(settings.CXB_STATE_DIR, 488)
  if not ok and why ~= "exists" then
    return nil, ("CXB_STATE_DIR: %s: %s"):format(settings.CXB_STATE_DIR, message or why)
  end
  for _, step in ipairs({ load_secrets, open_cache, open_the_store, first_admin.prepare }) do
    ok, why = step(self)
    if not ok then
      return nil, why
    end
  end
  local seeded, err = bots.seed(self.store, settings.CXB_BOTS_SEED_DIR or cxb.root .. "/lua/bots")
  if not seeded then
    return nil, open_store.variable(settings) .. ": " .. err.message
  end
  self.ready = true
  return true
end

---Where people, CRMs and calls find us when no request says it.
---@return string base URL without a slash at its end
function M:public_base()
  local settings = self.settings
  local base = settings.CXB_PUBLIC_URL or settings.CXB_INTERNAL_URL
  if not base and not settings.CXB_API_LISTEN:match("^unix:") then
    base = "http://" .. settings.CXB_API_LISTEN
  end
  return ((base or "http://localhost"):gsub("/+$", ""))
end

---What is being made in the store that is not open yet.
---@return {collection: string, ms: number}?
function M:upgrade()
  local making = self.making
  return making and { collection = making.collection, ms = cxb.time.mono() - making.since }
end

---Whether the store answers now.
---@return boolean
function M:healthy()
  return self.ready and self.store:ping() ~= nil
end

return M
