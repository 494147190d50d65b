-- Who may call a route. A guard answers the principal, or nil and the refusal.
--
-- Until people sign in (users, sessions) there are two principals. `core` proves the internal
-- secret and may do everything an administrator may. `operator` is the person at this machine: a
-- bearer token made once into {state}/secrets.env (0600), shown by `cxbctl up` in the fragment of
-- the page's URL, which browsers never send. It counts only while the API listens on loopback or a
-- Unix socket, that is behind a front of the same machine. There is no way in without a proof, not
-- even with CXB_DEV=1: any web page the operator visits could reach an open port of loopback.
local errors = require("services.errors")
local tickets = require("services.tickets")

-- A route names one guard or a list: the first whose credential the request carries judges it, the
-- last one when it carries none of them.
local M = {}

local core = { kind = "core" }
local operator = { kind = "operator" }

local function bad_secret()
  return errors.new(403, "bad_secret", "The internal secret is missing or wrong.")
end

local function is_secret(app, given)
  local current = cxb.crypto.equal(given, app.secrets.core)
  local previous = app.secrets.previous and cxb.crypto.equal(given, app.secrets.previous)
  return current or previous or false
end

-- Both spellings of the header; two different values are as bad as a wrong one.
local function given_secret(req)
  local one, two = req.headers["x-cxbcore-secret"], req.headers["x-cxb-core-secret"]
  if one and two and one ~= two then
    return "", true
  end
  return one or two or "", one ~= nil or two ~= nil
end

function M.open()
  return { kind = "anyone" }
end

function M.secret(ctx)
  if not is_secret(ctx.app, (given_secret(ctx.req))) then
    return nil, bad_secret()
  end
  return core
end

function M.admin(ctx)
  local secret, present = given_secret(ctx.req)
  if present then
    if not is_secret(ctx.app, secret) then
      return nil, bad_secret()
    end
    return core
  end
  local token = (ctx.req.headers.authorization or ""):match("^[Bb]earer%s+(%S+)%s*$")
  if token and ctx.app.local_only and cxb.crypto.equal(token, ctx.app.secrets.operator) then
    return operator
  end
  return nil, errors.new(401, "unauthenticated", "Sign in: a bearer token is needed.",
    { headers = { ["www-authenticate"] = "Bearer" } })
end

-- Until people sign in there is one rank.
M.any, M.agent, M.sup, M.super, M.key = M.admin, M.admin, M.admin, M.admin, M.admin

-- Which credential a guard looks at; the others look at the bearer token.
local carried = {
  secret = function(ctx)
    local headers = ctx.req.headers
    return headers["x-cxbcore-secret"] ~= nil or headers["x-cxb-core-secret"] ~= nil
  end,
  key = function(ctx)
    return ctx.req.headers["x-api-key"] ~= nil
  end,
}

---(waits) The principal by a route's guard or guards.
---@param guard string|string[]
---@return table? principal, api.error? refusal
function M.judge(guard, ctx)
  if type(guard) == "string" then
    return M[guard](ctx)
  end
  for i = 1, #guard - 1 do
    local carries = carried[guard[i]]
    if carries == nil or carries(ctx) then
      local bearer = ctx.req.headers.authorization ~= nil
      if carries or bearer then
        return M[guard[i]](ctx)
      end
    end
  end
  return M[guard[#guard]](ctx)
end

---An administrator, or the ticket of this one recording in the query.
function M.playback(ctx)
  if ctx.query.ticket then
    if tickets.check_playback(ctx.app, ctx.query.ticket, ctx.params.session_id) then
      return { kind = "ticket" }
    end
    return nil, errors.new(401, "unauthenticated", "The ticket is not valid any more.")
  end
  return M.admin(ctx)
end

local loopback = { unix = true, ["127.0.0.1"] = true, ["::1"] = true }

---Callers of this machine, or the secret.
function M.near(ctx)
  if loopback[ctx.client] then
    return { kind = "near" }
  end
  return M.secret(ctx)
end

return M
