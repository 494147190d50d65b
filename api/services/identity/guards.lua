-- Who may call a route. A guard answers the principal, or nil and the refusal. A route names one
-- guard or a list: those whose credential the request carries judge it.
--   people (bearer token)    any · agent (agents and supervisors) · sup · admin · super
--   other programs           key (X-API-Key with the route's scope, or an administrator)
--   our own services         secret (the internal secret, either spelling of its header)
--   others                   open · near (this machine, or the secret) · playback (a ticket for one
--                            recording, or a supervisor)
local api_keys = require("services.identity.api_keys")
local errors = require("services.web.errors")
local sessions = require("services.identity.sessions")
local tickets = require("services.identity.tickets")
local users = require("services.identity.users")

local M = {}

local core = { kind = "core" }

local function bad_secret()
  return errors.new(403, "bad_secret", "The internal secret is missing or wrong.")
end

local function is_secret(app, given)
  local current = cxb.crypto.equal(given, app.secrets.core)
  local previous = app.secrets.previous and cxb.crypto.equal(given, app.secrets.previous)
  return current or previous or false
end

function M.open()
  return { kind = "anyone" }
end

-- Both spellings of the header; two different values are as bad as a wrong one.
function M.secret(ctx)
  local headers = ctx.req.headers
  local one, two = headers["x-cxbcore-secret"], headers["x-cxb-core-secret"]
  if (one and two and one ~= two) or not is_secret(ctx.app, one or two or "") then
    return nil, bad_secret()
  end
  return core
end

-- A temporary password opens only what its owner changes it with.
local function must_change(ctx, user)
  return user.must_change_password and not ctx.route.path:match("^/api/v1/auth/me")
end

-- A guard of people, by what their record must be.
local function people(allowed)
  return function(ctx)
    local header = ctx.req.headers.authorization or ""
    local from = header:match("^[Bb]earer%s+()")
    if not from then
      return nil, sessions.unauthenticated()
    end
    local token = header:sub(from) -- which has no blanks in it, or is none
    local user, claims = sessions.check(ctx.app, token)
    if not user then
      return nil, claims
    end
    local principal = users.principal(user, claims)
    if must_change(ctx, user) then
      return nil, errors.new(403, "password_change_required",
        "The temporary password must be changed first.")
    elseif not allowed(principal) then
      return nil, errors.new(403, "forbidden", "Your role does not allow this.")
    end
    return principal
  end
end

local function at_least(rank)
  return people(function(principal)
    return principal.rank >= rank
  end)
end

M.any, M.sup, M.admin, M.super = at_least(0), at_least(1), at_least(2), at_least(3)
M.agent = people(function(principal)
  return principal.rank <= 1
end)

function M.key(ctx)
  local given = ctx.req.headers["x-api-key"]
  if not given and ctx.req.headers.authorization then
    return M.admin(ctx)
  end
  return api_keys.check(ctx.app, given, ctx.route.scope)
end

---A supervisor, or the ticket of this one recording in the query.
function M.playback(ctx)
  if ctx.query.ticket then
    local holder = tickets.check_playback(ctx.app, ctx.query.ticket, ctx.params.session_id)
    if holder then
      return holder
    end
    return nil, errors.new(401, "unauthenticated", "The ticket is not valid any more.")
  end
  return M.sup(ctx)
end

local loopback = { unix = true, ["127.0.0.1"] = true, ["::1"] = true }

---Callers of this machine, or the secret.
function M.near(ctx)
  if loopback[ctx.client] then
    return { kind = "near" }
  end
  return M.secret(ctx)
end

-- Whether a request carries the credential a guard looks at; the others look at the bearer token.
local carried = {
  open = function()
    return true
  end,
  secret = function(ctx)
    local headers = ctx.req.headers
    return headers["x-cxbcore-secret"] ~= nil or headers["x-cxb-core-secret"] ~= nil
  end,
  key = function(ctx)
    return ctx.req.headers["x-api-key"] ~= nil
  end,
  playback = function(ctx)
    return ctx.query.ticket ~= nil or ctx.req.headers.authorization ~= nil
  end,
  near = function(ctx)
    return loopback[ctx.client] or false
  end,
}

local function bearer(ctx)
  return ctx.req.headers.authorization ~= nil
end

---(waits) The principal by a route's guard or guards. Whom one does not allow, a later one that
---looks at the same credential may. Without any credential the first one refuses.
---@param guard string|string[]
---@return table? principal, api.error? refusal
function M.judge(guard, ctx)
  if type(guard) == "string" then
    return M[guard](ctx)
  end
  local first
  for _, name in ipairs(guard) do
    if (carried[name] or bearer)(ctx) then
      local principal, refused = M[name](ctx)
      if principal or refused.code ~= "forbidden" then
        return principal, refused
      end
      first = first or refused
    end
  end
  if first then
    return nil, first
  end
  return M[guard[1]](ctx)
end

return M
