-- Sign-ins: a JWT a session. Whoever it names is read again from the store on every request.
local bounded = require("cxb.bounded")
local errors = require("services.web.errors")
local jwt = require("cxb.jwt")
local revoked = require("services.identity.revoked")
local users = require("services.identity.users")

local M = {}

local LEEWAY_S, TOKENS_MAX = 30, 1000

local function refused(code, message)
  return errors.new(401, code, message, { headers = { ["www-authenticate"] = "Bearer" } })
end

local function ends_at(exp)
  return (exp + LEEWAY_S) * 1000
end

---@return api.error
function M.unauthenticated()
  return refused("unauthenticated", "Sign in: a bearer token is needed.")
end

---A new session of a user.
---@return {access_token: string, token_type: string, expires_in: integer}
function M.issue(app, user)
  local seconds = app.settings.JWT_EXPIRE_MINUTES * 60
  local now = math.floor(cxb.time.now() / 1000)
  return {
    access_token = jwt.sign({
      sub = user.email, role = user.role, name = user.name, iat = now, exp = now + seconds,
      jti = cxb.crypto.hex(cxb.crypto.random(12)), tv = user.token_version,
    }, app.secrets.jwt, app.settings.JWT_ALGORITHM),
    token_type = "bearer", expires_in = seconds,
  }
end

-- Whether a session is of this record: one that began before it was made is of somebody who had the
-- address before.
local function valid(user, claims)
  local began = tonumber(claims.iat)
  return user and user.is_active
    and not (began and user.created_at and (began + 1) * 1000 <= user.created_at)
    and (claims.tv == user.token_version or (claims.jti and claims.jti == user.token_kept))
end

-- What a token says. Its signature is looked at once: the same text under the same key says the
-- same again. What may change meanwhile (time, revocation, the user) is judged at each request.
local function claims_of(app, token)
  local key, algorithm = app.secrets.jwt, app.settings.JWT_ALGORITHM
  local kept = app.tokens_kept
  if not kept or kept.key ~= key or kept.algorithm ~= algorithm then
    kept = { key = key, algorithm = algorithm, claims = bounded.new(TOKENS_MAX) }
    app.tokens_kept = kept
  end
  local claims = kept.claims:get(token)
  if not claims then
    claims = jwt.open(token, key, algorithm)
    if claims then
      kept.claims:set(token, claims)
    end
  end
  return claims
end

---(waits) Who a bearer token stands for now.
---@return table? user, table|api.error claims_or_err
function M.check(app, token)
  local claims = claims_of(app, token)
  if not claims then
    return nil, M.unauthenticated()
  elseif not jwt.is_current(claims, LEEWAY_S) then
    return nil, refused("token_expired", "The session is over: sign in again.")
  elseif type(claims.sub) ~= "string" or type(claims.jti) ~= "string" or claims.aud then
    return nil, M.unauthenticated()
  end
  if revoked.has(app, claims.jti, ends_at(claims.exp)) then
    return nil, M.unauthenticated()
  end
  local user, err = users.by_email(app.store, claims.sub)
  if err then
    return nil, errors.of_store(err)
  elseif not valid(user, claims) then
    return nil, M.unauthenticated()
  end
  return user, claims
end

---(waits) Ends one session before its time.
function M.deny(app, jti, exp)
  revoked.add(app, jti, ends_at(exp))
end

return M
