-- LiveKit from the server's side: access tokens for people and for us, its HTTP API, and whether a
-- webhook is its own. `settings` are those of a service: LIVEKIT_URL, LIVEKIT_API_KEY,
-- LIVEKIT_API_SECRET.
local json = require("cxb.json")
local jwt = require("cxb.jwt")

local M = {}

local SERVICE_SECONDS, LEEWAY_S = 600, 60

---Whether all three are set.
---@return boolean
function M.configured(settings)
  for _, name in ipairs({ "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET" }) do
    if (settings[name] or "") == "" then
      return false
    end
  end
  return true
end

---@class cxb.livekit.grant
---@field identity string
---@field name? string
---@field room? string joins this room
---@field publish? boolean true
---@field subscribe? boolean true
---@field data? boolean may send data messages; as publish
---@field hidden? boolean others do not see it
---@field seconds? integer the token may be used to join, 600
---@field metadata? string
---@field attributes? table<string, string>

---A token with which a client joins a room.
---@param settings table
---@param grant cxb.livekit.grant
---@return string
function M.token(settings, grant)
  local now = math.floor(cxb.time.now() / 1000)
  local publish = grant.publish ~= false
  local data = grant.data
  if data == nil then
    data = publish
  end
  return jwt.sign({
    iss = settings.LIVEKIT_API_KEY, sub = grant.identity, jti = grant.identity, name = grant.name,
    nbf = now - 10, exp = now + (grant.seconds or SERVICE_SECONDS), metadata = grant.metadata,
    attributes = grant.attributes,
    video = {
      roomJoin = true, room = grant.room, canPublish = publish,
      canSubscribe = grant.subscribe ~= false, canPublishData = data,
      hidden = grant.hidden or nil,
    },
  }, settings.LIVEKIT_API_SECRET)
end

-- Our own token for the HTTP API; rooms are administered one by one.
local function service_token(settings, room)
  local now = math.floor(cxb.time.now() / 1000)
  return jwt.sign({
    iss = settings.LIVEKIT_API_KEY, sub = "cxb", nbf = now - 10, exp = now + SERVICE_SECONDS,
    video = { roomCreate = true, roomList = true, roomAdmin = true, room = room },
    sip = { admin = true, call = true },
  }, settings.LIVEKIT_API_SECRET)
end

---@return string
function M.http_url(settings)
  return (settings.LIVEKIT_URL:gsub("^ws", "http"):gsub("/+$", ""))
end

---(waits) One call of the HTTP API: twirp(settings, "RoomService", "DeleteRoom", {room = "x"}).
---@param settings table
---@param service "RoomService"|"SIP"|"Egress"|"Ingress"
---@param method string
---@param body table in the names of LiveKit's JSON
---@param options? {timeout_ms?: number}
---@return table? answer
---@return string? code LiveKit's ("not_found", "already_exists", …) or one of cxb.http.request
---@return string? message
function M.twirp(settings, service, method, body, options)
  local answer, code, message = cxb.http.request({
    url = ("%s/twirp/livekit.%s/%s"):format(M.http_url(settings), service, method),
    method = "POST", timeout_ms = options and options.timeout_ms or 10000,
    body = next(body) and json.encode(body) or "{}",
    headers = { ["content-type"] = "application/json",
      authorization = "Bearer " .. service_token(settings, body.room) },
  })
  if not answer then
    return nil, code, message
  end
  local value = json.decode_object(answer.body or "")
  if answer.status == 200 and value then
    return value
  end
  value = value or {}
  return nil, type(value.code) == "string" and value.code or "http_" .. answer.status,
    type(value.msg) == "string" and value.msg or ("LiveKit answered %d"):format(answer.status)
end

---Judges the signature of a webhook: a token of ours over the SHA-256 of its body.
---@param settings table
---@param authorization? string header
---@param body string as received
---@return table? claims, string? code "missing" | "invalid"
function M.verify_webhook(settings, authorization, body)
  if (authorization or "") == "" then
    return nil, "missing"
  end
  local secret = settings.LIVEKIT_API_SECRET or ""
  if secret == "" or (settings.LIVEKIT_API_KEY or "") == "" then
    return nil, "invalid"
  end
  local token = authorization:gsub("^[Bb]earer%s+", "")
  local claims = jwt.verify(token, secret, { leeway = LEEWAY_S })
  local digest = cxb.crypto.base64(cxb.crypto.sha256(body))
  local good = claims and claims.iss == settings.LIVEKIT_API_KEY
    and type(claims.sha256) == "string" and cxb.crypto.equal(claims.sha256, digest)
  if not good then
    return nil, "invalid"
  end
  return claims
end

return M
