-- Who may call: the shared secret on POSTs and recordings, tokens, provider signatures and tickets
-- on upgrades. All comparisons take constant time.
local jwt = require("cxb.jwt")
local url = require("cxb.url")

local M = {}

---@param c table settings
---@param headers table<string, string>
---@return boolean
function M.secret_ok(c, headers)
  local a, b = headers["x-cxb-core-secret"], headers["x-cxbcore-secret"]
  local given = a or b
  if not given or given == "" or (a and b and a ~= b) then
    return false
  end
  local equal = cxb.crypto.equal
  local current = c.CXBCORE_SECRET and equal(given, c.CXBCORE_SECRET) or false
  local previous = c.CXBCORE_SECRET_PREVIOUS and equal(given, c.CXBCORE_SECRET_PREVIOUS) or false
  return current or previous
end

local function token_ok(c, req)
  if not c.CXB_WS_TOKEN then
    return true
  end
  local given = url.parse_query(req.query).token
    or (req.headers.authorization or ""):match("^[Bb]earer%s+(.+)$")
  return given ~= nil and cxb.crypto.equal(given, c.CXB_WS_TOKEN)
end

local function plain_token(c, req)
  if token_ok(c, req) then
    return true
  end
  return nil, 401, "unauthorized"
end

local function exotel(c, req)
  if not c.CXB_EXOTEL_BASIC then
    return plain_token(c, req)
  end
  local given = (req.headers.authorization or ""):match("^[Bb]asic%s+(%S+)$")
  if cxb.crypto.equal(cxb.crypto.unbase64(given or "") or "", c.CXB_EXOTEL_BASIC) then
    return true
  end
  return nil, 401, "unauthorized"
end

-- Twilio signs the URL as it was configured: with wss or https, with or without a final slash.
local function twilio(c, req)
  if not c.TWILIO_AUTH_TOKEN then
    return plain_token(c, req)
  end
  local given = req.headers["x-twilio-signature"]
  local base = (c.CXB_PUBLIC_WSS_BASE or "wss://" .. (req.headers.host or "")):gsub("/+$", "")
  local rest = base:gsub("^%a+://", "")
  local query = req.query ~= "" and "?" .. req.query or ""
  local path = req.path:gsub("/+$", "")
  local ok = false
  for _, scheme in ipairs({ "wss://", "https://", "ws://", "http://" }) do
    for _, slash in ipairs({ "", "/" }) do
      local address = scheme .. rest .. path .. slash .. query
      local signed = cxb.crypto.hmac_sha1(c.TWILIO_AUTH_TOKEN, address)
      ok = cxb.crypto.equal(given or "", cxb.crypto.base64(signed)) or ok
    end
  end
  if given and ok then
    return true
  end
  return nil, 403, "bad_signature"
end

---Key of a ticket: HKDF of the shared secret with the purpose as label.
function M.ticket_key(secret, purpose)
  return cxb.crypto.hkdf_sha256(secret, purpose, 32)
end

-- A ticket is good for one call on one host: its jti is remembered by an exclusive file until it
-- has expired. (`take` creates it: nil when it exists.)
local function browser(c, req, bot_id, take)
  local token = url.parse_query(req.query).ticket
  if not token and c.CXB_DEV then
    return {}
  end
  if not c.CXBCORE_SECRET then
    return nil, 401, "unauthorized"
  end
  local claims = jwt.verify(token, M.ticket_key(c.CXBCORE_SECRET, "core-test"),
    { aud = "core-test" })
  local good = claims and claims.bot_id == bot_id and type(claims.jti) == "string"
    and claims.jti ~= "" and claims.exp - cxb.time.now() / 1000 <= 60
  if not good or not take(claims.jti) then
    return nil, 401, "unauthorized"
  end
  return claims
end

---Of /monitor: for one session, used up where the call is.
---@return {session_id: string, jti: string}? claims
function M.listen_ticket(c, req, session_id)
  local token = url.parse_query(req.query).ticket
  if not token or (c.CXBCORE_SECRET or "") == "" then
    return nil
  end
  local claims = jwt.verify(token, M.ticket_key(c.CXBCORE_SECRET, "core-listen"),
    { aud = "core-listen" })
  local good = claims and claims.session_id == session_id and type(claims.jti) == "string"
    and claims.jti ~= "" and claims.exp - cxb.time.now() / 1000 <= 60
  return good and claims or nil
end

local checks = { exotel = exotel, twilio = twilio, browser = browser }

---@param transport string
---@param take fun(jti: string): boolean? marks a ticket as used
---@return table|true? claims, integer? status, string? code
function M.upgrade(c, req, transport, bot_id, take)
  return (checks[transport] or plain_token)(c, req, bot_id, take)
end

return M
