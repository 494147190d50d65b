-- Tickets: JWTs for one purpose and one object, so that a URL a browser opens by itself needs no
-- credential. Each purpose has its own key: HKDF of a secret with the purpose as label.
local jwt = require("cxb.jwt")

local M = {}

local TEST_SECONDS, LISTEN_SECONDS, PLAYBACK_SECONDS = 60, 60, 7200

local function key(secret, purpose)
  return cxb.crypto.hkdf_sha256(secret, purpose, 32)
end

local function claims(purpose, session_id, seconds)
  local now = math.floor(cxb.time.now() / 1000)
  return {
    aud = purpose, session_id = session_id, iat = now, exp = now + seconds,
    jti = cxb.crypto.hex(cxb.crypto.random(12)),
  }
end

---For /browser/{bot_id} of a call worker, which checks it by the shared secret alone.
---@return string ticket, number expires_at ms
function M.test_call(app, bot_id, session_id)
  local made = claims("core-test", session_id, TEST_SECONDS)
  made.bot_id = bot_id
  return jwt.sign(made, key(app.secrets.core, "core-test")), made.exp * 1000
end

---For /monitor/{session_id} of a call worker, once.
---@return string ticket, number expires_at ms
function M.listen(app, bot_id, session_id)
  local made = claims("core-listen", session_id, LISTEN_SECONDS)
  made.bot_id = bot_id
  return jwt.sign(made, key(app.secrets.core, "core-listen")), made.exp * 1000
end

---For one recording; long calls are sought through for a while.
---@param principal table who asked for it
---@return string ticket
function M.playback(app, session_id, principal)
  local made = claims("playback", session_id, PLAYBACK_SECONDS)
  made.by, made.by_kind, made.name = principal.id, principal.kind, principal.name
  return jwt.sign(made, key(app.secrets.jwt, "playback"))
end

---@return {kind: "ticket", id?: string, name?: string, by_kind?: string}? principal
function M.check_playback(app, ticket, session_id)
  local found = jwt.verify(ticket, key(app.secrets.jwt, "playback"), { aud = "playback" })
  if not found or found.session_id ~= session_id then
    return nil
  end
  return { kind = "ticket", id = found.by, name = found.name, by_kind = found.by_kind }
end

return M
