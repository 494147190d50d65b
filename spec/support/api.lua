-- The API without its process, for unit specs inside the host: a clock the spec moves, a store of
-- its own, requests made by hand. install() puts a `cxb` with that clock in place, restore() the
-- host's back and removes the stores.
local backing = require("support.backing")
local json = require("cxb.json")
local jwt = require("cxb.jwt")

-- TOKEN: of the signed-in super_admin whom app() makes.
local M = { SECRET = ("s"):rep(32), TOKEN = "" }

local JWT_SECRET = ("j"):rep(32)

local host = cxb
local stores = {}

function M.install()
  if backing.mongo then
    backing.server() -- waits, by the host's clock
  end
  M.now = 1777021200000 -- Friday 2026-04-24T09:00:00Z
  local function nothing() end
  local function now()
    return M.now
  end
  _G.cxb = setmetatable({
    time = { now = now, mono = now },
    log = { debug = nothing, info = nothing, warn = nothing, error = nothing },
    metrics = { declare = nothing, labels = nothing, count = nothing, set = nothing, observe = nothing },
    -- A task runs at once, in place: what it began is done when the spec goes on.
    task = { tag = nothing, deadline = nothing, spawn = function(_, fn, ...)
      return fn(...)
    end },
  }, { __index = host })
  M.TOKEN = M.token("admin@example.org")
end

---A session's token.
---@param more? table claims
function M.token(email, more)
  local claims = { sub = email, role = "super_admin", iat = M.now / 1000,
    exp = M.now / 1000 + 100 * 86400, jti = "jti-" .. email, tv = 1 }
  for name, value in pairs(more or {}) do
    claims[name] = value
  end
  return jwt.sign(claims, JWT_SECRET)
end

---A user of a role, without a password.
function M.user(app, email, role, more)
  local user = {
    email = email, name = email:match("^[^@]+"), role = role, is_active = true, token_version = 1,
    password_hash = "none", must_change_password = false, agent_languages = { "en" },
  }
  for name, value in pairs(more or {}) do
    user[name] = value
  end
  return assert(app.store:insert("users", user))
end

---Opens a store on a new file, or again on a path; a database of that name on MongoDB.
function M.store(collections, path)
  path = path or backing.file()
  local options = backing.mongo
    and { uri = backing.server().uri, database = path:match("([^/]+)%.db$") } or { path = path }
  options.collections, options.now, options.mono = collections, cxb.time.now, cxb.time.mono
  local store = assert(require("cxb.store").open(options))
  stores[#stores + 1] = store
  store.path = path
  return store
end

function M.restore()
  for i, store in ipairs(stores) do
    if backing.mongo then
      store.backend:drop()
    end
    store:close()
    stores[i] = nil
  end
  _G.cxb = host
end

---An API that has booted.
function M.app(settings)
  settings = settings or {}
  settings.CXB_TRUSTED_PROXIES = { "unix", "127.0.0.1" }
  settings.CXB_API_LISTEN = settings.CXB_API_LISTEN or "unix:/run/api.sock"
  settings.CXB_STATE_DIR = "/nowhere"
  settings.CXB_RATE_SCALE = settings.CXB_RATE_SCALE or 0
  settings.CXB_CORS_ORIGINS = settings.CXB_CORS_ORIGINS or {}
  settings.JWT_ALGORITHM, settings.JWT_EXPIRE_MINUTES = "HS256", 480
  local app = require("services.system.app").new(settings)
  app.store = M.store()
  app.secrets = { core = M.SECRET, jwt = JWT_SECRET, key = ("k"):rep(32) }
  M.user(app, "admin@example.org", "super_admin")
  local cache = require("cxb.cache").open({ now = cxb.time.now,
    prefix = ("spec%s:"):format(cxb.crypto.hex(cxb.crypto.random(4))) })
  require("services.system.caches").use(app, cache, cache)
  app.ready = true
  return app
end

---A request that remembers its answer: status, body (decoded when JSON), headers.
function M.request(method, path, options)
  options = options or {}
  local headers = { host = "127.0.0.1:8080" }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local req = {
    method = method, path = path:match("^[^?]*"), headers = headers,
    query = options.query or path:match("%?(.*)$") or "",
    remote = options.remote or "unix", id = "request-1",
  }
  function req.body(_, max)
    local body = options.body or ""
    if #body > max then
      return nil, "too_large"
    end
    return body
  end
  function req.respond(_, status, body, answer_headers)
    assert(not req.status, "answered twice")
    req.status, req.text, req.answer_headers = status, body, answer_headers
    req.answer = type(body) == "string" and json.decode(body) or nil
  end
  return req
end

return M
