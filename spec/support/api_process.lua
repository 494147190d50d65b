-- The real API in a process of its own, on a Unix socket in a temporary folder.
local backing = require("support.backing")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local leaks = require("support.leaks")
local support = require("support.world")

local M = { SECRET = ("0123456789abcdef"):rep(2) }

-- Who asks when a spec does not say: the super_admin that the first start makes.
M.ADMIN, M.PASSWORD = "admin@example.org", "correct horse battery"
local JWT_SECRET = ("fedcba9876543210"):rep(2)

---Variables of an API that tokens of this module open.
M.IDENTITY = { CXBCORE_SECRET = M.SECRET, JWT_SECRET = JWT_SECRET, CXB_ADMIN_EMAIL = M.ADMIN,
  CXB_ADMIN_PASSWORD = M.PASSWORD }

local api = {}
api.__index = api

---@param world table
---@param options? {dir?: string, env?: table<string, string>, wait?: boolean}
function M.start(world, options)
  options = options or {}
  local dir = options.dir or world:folder()
  local self = setmetatable({ world = world, dir = dir, socket = dir .. "/api.sock" }, api)
  self.env = {
    CXB_API_LISTEN = "unix:" .. self.socket, CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
    PATH = cxb.process.env("PATH"), CXB_RATE_SCALE = "0",
  }
  for name, value in pairs(M.IDENTITY) do
    self.env[name] = value
  end
  for name, value in pairs(backing.env()) do
    self.env[name] = value
  end
  for name, value in pairs(options.env or {}) do
    self.env[name] = value ~= "" and value or nil
  end
  leaks.note(self.env)
  self:run(options.wait)
  return self
end

---(waits) Starts the process (again).
function api:run(wait)
  local ready = wait ~= false and function()
    return self:ask("GET", "/health/ready").status == 200
  end or nil
  local root = self.env.CXB_ROOT or cxb.root
  self.process = self.world:service(root .. "/api/api.lua", self.env, ready)
  leaks.watch(self.process)
end

---A session's token, as a sign-in would give it; the administrator's when no email is given.
---@param more? table claims
function M.token(email, more)
  local now = math.floor(cxb.time.now() / 1000)
  local claims = { sub = email or M.ADMIN, role = "super_admin", iat = now, exp = now + 3600,
    jti = cxb.crypto.hex(cxb.crypto.random(8)), tv = 1 }
  for name, value in pairs(more or {}) do
    claims[name] = value
  end
  return jwt.sign(claims, JWT_SECRET)
end

---(waits) One request: {status, headers, body, answer (decoded JSON)}; status 0 when there is none.
---With the secret and the administrator's token unless `token` is given or `secret` is false.
---@param options? {body?: table|string|function, secret?: boolean, token?: string, headers?: table}
function api:ask(method, path, options)
  options = options or {}
  local headers = {}
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  if options.secret ~= false and not options.token then
    headers["x-cxb-core-secret"] = M.SECRET
    headers.authorization = "Bearer " .. M.token()
  elseif options.token then
    headers.authorization = "Bearer " .. options.token
  end
  local body = options.body
  if type(body) == "table" then
    leaks.note(body)
    body = json.encode(body)
    headers["content-type"] = "application/json"
  end
  local answer, code, message = cxb.http.request({
    url = "http+unix:" .. self.socket .. ":" .. path, method = method, headers = headers,
    body = body, timeout_ms = options.timeout_ms or 60000, max_body = 64 * 1024 * 1024,
  })
  if not answer then
    return { status = 0, code = code, message = message, answer = {} }
  end
  leaks.check(answer, method, path)
  answer.answer = json.decode_object(answer.body or "") or {}
  return answer
end

---The variables of {state}/secrets.env.
function api:secrets()
  return require("cxb.envfile").read(self.dir .. "/state/secrets.env")
end

---Answers of a number of requests made at once.
---@param n integer
---@param fn fun(i: integer): any
function M.at_once(n, fn)
  local tasks, out = {}, {}
  for i = 1, n do
    tasks[i] = cxb.task.spawn("request", fn, i)
  end
  for i = 1, n do
    out[i] = tasks[i]:wait(60000)
  end
  return out
end

M.wait_until = support.wait_until

return M
