-- JSON Web Tokens (RFC 7515, 7519). HS256: tickets of test calls, rooms; HS256, HS384 or HS512, as
-- configured: sessions. RS256, signing only: what proves a service account to a provider.
local json = require("cxb.json")

local M = {}

local digests = { HS256 = "hmac_sha256", HS384 = "hmac_sha384", HS512 = "hmac_sha512" }

---@param claims table
---@param key string
---@param algorithm? "HS256"|"HS384"|"HS512" HS256
---@return string
function M.sign(claims, key, algorithm)
  algorithm = algorithm or "HS256"
  local b64 = cxb.crypto.base64url
  local signed = b64('{"alg":"' .. algorithm .. '","typ":"JWT"}') .. "." .. b64(json.encode(claims))
  return signed .. "." .. b64(cxb.crypto[digests[algorithm]](key, signed))
end

---@param claims table
---@param pem string RSA private key
---@param kid? string
---@return string? token, string? code, string? message
function M.sign_rs256(claims, pem, kid)
  local b64 = cxb.crypto.base64url
  local signed = b64(json.encode({ alg = "RS256", typ = "JWT", kid = kid }))
    .. "." .. b64(json.encode(claims))
  local mark, code, message = cxb.crypto.rs256(pem, signed)
  if not mark then
    return nil, code, message
  end
  return signed .. "." .. b64(mark)
end

---What a token says if its signature is right and its algorithm the wanted one, whatever the token
---says of that. Whether it is its time is asked by M.is_current().
---@param token string
---@param key string
---@param algorithm? "HS256"|"HS384"|"HS512" HS256
---@return table? claims, string? code "malformed" | "bad_signature"
function M.open(token, key, algorithm)
  algorithm = algorithm or "HS256"
  local head, body, mark = (token or ""):match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not head or #token > 8192 then
    return nil, "malformed"
  end
  local crypto = cxb.crypto
  local given, wanted = crypto.unbase64url(mark), crypto[digests[algorithm]]
  if not given or not crypto.equal(given, wanted(key, head .. "." .. body)) then
    return nil, "bad_signature"
  end
  local h = json.decode_object(crypto.unbase64url(head) or "")
  local claims = json.decode_object(crypto.unbase64url(body) or "")
  if not h or h.alg ~= algorithm or not claims then
    return nil, "malformed"
  end
  return claims
end

---Whether now is between nbf (30 s of clock skew) and exp.
---@param claims table
---@param leeway? number seconds
---@param now? number seconds
---@return boolean
function M.is_current(claims, leeway, now)
  now, leeway = now or cxb.time.now() / 1000, leeway or 0
  return type(claims.exp) == "number" and now < claims.exp + leeway
    and not (type(claims.nbf) == "number" and now < claims.nbf - math.max(leeway, 30))
end

---Checks signature, algorithm, exp, nbf and, when given, audience.
---@param token string
---@param key string
---@param opts? {aud?: string, now?: number, leeway?: number, algorithm?: string} seconds; HS256
---@return table? claims, string? code "malformed" | "bad_signature" | "expired" | "bad_audience"
function M.verify(token, key, opts)
  opts = opts or {}
  local claims, code = M.open(token, key, opts.algorithm)
  if not claims then
    return nil, code
  elseif not M.is_current(claims, opts.leeway, opts.now) then
    return nil, "expired"
  end
  if opts.aud and claims.aud ~= opts.aud then
    return nil, "bad_audience"
  end
  return claims
end

return M
