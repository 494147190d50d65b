-- What is asked of carriers over their own REST interfaces to end and to transfer a call (core spec
-- §3.4, §3.5): requests as tables, nothing is sent here.
--   Twilio  https://www.twilio.com/docs/voice/api/call-resource
--   Telnyx  https://developers.telnyx.com/api/call-control
--   Plivo   https://www.plivo.com/docs/voice/api/call
--   Vonage  https://developer.vonage.com/en/api/voice
local auth = require("cxb.core.auth")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local url = require("cxb.url")

local M = {}

local xml_seconds = 60 -- Plivo fetches at once

local function basic(user, password)
  return "Basic " .. cxb.crypto.base64(user .. ":" .. password)
end

local function json_request(method, path, authorization, body)
  return { method = method, path = path, body = body and json.encode(body),
    headers = { authorization = authorization, ["content-type"] = "application/json" } }
end

---The number or address of a target; nil, "target_type" when a carrier cannot reach it.
---@param t {to: string, type: string}
---@return string? to, string kind "phone" | "sip"
function M.address(t)
  local to = tostring(t.to or ""):gsub("^tel:", "")
  if t.type == "sip_uri" then
    return (to:match("^sips?:") and to) or "sip:" .. to, "sip"
  elseif t.type == "phone_number" or t.type == "tel_uri" then
    return to, "phone"
  end
  return nil, "target_type"
end

local xml_entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&apos;" }

-- <Response><Dial>: Twilio's and Plivo's documents differ in the name of a SIP address only.
local function dial(to, kind, sip)
  local tag = kind == "sip" and sip or "Number"
  return ('<?xml version="1.0" encoding="UTF-8"?><Response><Dial><%s>%s</%s></Dial></Response>')
    :format(tag, (to:gsub("[&<>\"']", xml_entities)), tag)
end

---@class cxb.carrier
---@field base string
---@field configured fun(c: table): any whether the settings are there
---@field can_transfer? fun(c: table): boolean nil: always
---@field id fun(event: table): any the carrier's id of a call, from the connected event
---@field hangup fun(c: table, id: string): table? {method, path, headers, body}, string? code
---@field transfer fun(c: table, id: string, to: string, kind: string): table?, string? code
local carriers = {}
M.by_transport = carriers

carriers.twilio = {
  base = "https://api.twilio.com",
  configured = function(c)
    return c.TWILIO_ACCOUNT_SID and c.TWILIO_AUTH_TOKEN
  end,
  id = function(event)
    return event.callSid
  end,
}

local function twilio_update(c, id, form)
  return { method = "POST", body = form,
    path = ("/2010-04-01/Accounts/%s/Calls/%s.json"):format(c.TWILIO_ACCOUNT_SID, url.escape(id)),
    headers = { authorization = basic(c.TWILIO_ACCOUNT_SID, c.TWILIO_AUTH_TOKEN),
      ["content-type"] = "application/x-www-form-urlencoded" } }
end

function carriers.twilio.hangup(c, id)
  return twilio_update(c, id, "Status=completed")
end

function carriers.twilio.transfer(c, id, to, kind)
  return twilio_update(c, id, "Twiml=" .. url.escape(dial(to, kind, "Sip")))
end

carriers.telnyx = {
  base = "https://api.telnyx.com",
  configured = function(c)
    return c.TELNYX_API_KEY
  end,
  id = function(event)
    return event.call_control_id
  end,
}

-- A command id makes a repeated command harmless.
local function telnyx_action(c, id, action, body)
  body.command_id = cxb.crypto.uuid4()
  return json_request("POST", ("/v2/calls/%s/actions/%s"):format(url.escape(id), action),
    "Bearer " .. c.TELNYX_API_KEY, body)
end

function carriers.telnyx.hangup(c, id)
  return telnyx_action(c, id, "hangup", {})
end

function carriers.telnyx.transfer(c, id, to)
  return telnyx_action(c, id, "transfer", { to = to })
end

carriers.plivo = {
  base = "https://api.plivo.com",
  configured = function(c)
    return c.PLIVO_AUTH_ID and c.PLIVO_AUTH_TOKEN
  end,
  -- The carrier fetches what it is to do next from an address of ours.
  can_transfer = function(c)
    return c.CXB_PUBLIC_WSS_BASE ~= nil and c.CXBCORE_SECRET ~= nil
  end,
  id = function(event)
    return event.callId
  end,
}

local function plivo_call(c, id, method, body)
  return json_request(method,
    ("/v1/Account/%s/Call/%s/"):format(url.escape(c.PLIVO_AUTH_ID), url.escape(id)),
    basic(c.PLIVO_AUTH_ID, c.PLIVO_AUTH_TOKEN), body)
end

function carriers.plivo.hangup(c, id)
  return plivo_call(c, id, "DELETE")
end

function carriers.plivo.transfer(c, id, to, kind)
  local token = jwt.sign({ aud = "core-plivo", to = to, kind = kind,
    exp = math.floor(cxb.time.now() / 1000) + xml_seconds },
    auth.ticket_key(c.CXBCORE_SECRET, "core-plivo"))
  local base = c.CXB_PUBLIC_WSS_BASE:gsub("^ws", "http"):gsub("/+$", "")
  return plivo_call(c, id, "POST", { legs = "aleg", aleg_method = "GET",
    aleg_url = base .. "/carrier/plivo.xml?t=" .. token })
end

carriers.vonage = {
  base = "https://api.nexmo.com",
  configured = function(c)
    return c.VONAGE_APPLICATION_ID and c.vonage_key
  end,
  id = function(event)
    return event.uuid or event.call_uuid
  end,
}

local function vonage_update(c, id, body)
  local now = math.floor(cxb.time.now() / 1000)
  local token, code, message = jwt.sign_rs256({ application_id = c.VONAGE_APPLICATION_ID,
    iat = now, exp = now + 60, jti = cxb.crypto.uuid4() }, c.vonage_key)
  if not token then
    return nil, code, message
  end
  return json_request("PUT", "/v1/calls/" .. url.escape(id), "Bearer " .. token, body)
end

function carriers.vonage.hangup(c, id)
  return vonage_update(c, id, { action = "hangup" })
end

function carriers.vonage.transfer(c, id, to, kind)
  local endpoint = kind == "sip" and { type = "sip", uri = to }
    or { type = "phone", number = (to:gsub("^%+", "")) }
  return vonage_update(c, id, { action = "transfer", destination = { type = "ncco",
    ncco = json.array({ { action = "connect", endpoint = json.array({ endpoint }) } }) } })
end

---What Plivo fetches to carry out a transfer; nil for a token that is not (or no longer) good.
---@return string? xml
function M.plivo_xml(c, token)
  local claims = c.CXBCORE_SECRET and jwt.verify(token or "",
    auth.ticket_key(c.CXBCORE_SECRET, "core-plivo"), { aud = "core-plivo" })
  return claims and dial(claims.to, claims.kind, "User")
end

return M
