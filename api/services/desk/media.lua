-- The rooms of the Agent Desk in LiveKit (api.md §5.17): tokens for people, telling the worker that
-- holds the caller, taking somebody out. Without LiveKit everything else works.
local json = require("cxb.json")
local livekit = require("cxb.livekit")
local whisper = require("services.desk.whisper")

local M = {}

local TOKEN_S = 3600

---@return boolean
function M.configured(app)
  return livekit.configured(app.settings)
end

---What a browser joins the room with.
---@param call table
---@param grant table cxb.livekit.grant without its room; `whisper_to`: only this identity hears it
---@return table|userdata media null without LiveKit, string? why
function M.token(app, call, grant)
  if not M.configured(app) then
    return json.null, "livekit_not_configured"
  elseif not call.room then
    return json.null, "no_room"
  end
  grant.room, grant.seconds = call.room, TOKEN_S
  local token
  if grant.whisper_to then
    grant.agent = grant.whisper_to
    token = whisper.token(app, grant)
  else
    token = livekit.token(app.settings, grant)
  end
  return { server_url = app.settings.LIVEKIT_URL, token = token, room_name = call.room }
end

local function ask(app, call, method, body)
  if not M.configured(app) or not call.room then
    return nil, "livekit_not_configured"
  end
  body.room = call.room
  local answer, code, message = livekit.twirp(app.settings, "RoomService", method, body)
  if not answer and code ~= "not_found" then
    cxb.log.warn("the room is not changed", { method = method, code = code, error = message })
  end
  return answer, code
end

---(waits) A data message to everybody in the call's room.
function M.send(app, call, topic, data)
  return ask(app, call, "SendData", { kind = "RELIABLE", topic = topic,
    data = cxb.crypto.base64(json.encode(data)) })
end

---(waits) Ends the room with everybody in it.
function M.close(app, call)
  return ask(app, call, "DeleteRoom", {})
end

local function participants(app, call)
  local answer = ask(app, call, "ListParticipants", {})
  return answer and type(answer.participants) == "table" and answer.participants or {}
end

---Whether a participant of LiveKit's is the caller.
---@return boolean
function M.is_caller(participant)
  return participant.kind == "SIP" or participant.kind == 3
    or (participant.identity or ""):match("^sip[_-]") ~= nil
end

---(waits) Takes the caller's leg out of the room.
function M.remove_caller(app, call)
  for _, participant in ipairs(participants(app, call)) do
    if M.is_caller(participant) then
      ask(app, call, "RemoveParticipant", { identity = participant.identity })
    end
  end
end

---(waits) Refers the caller's leg to a number or SIP address.
---@return true?, string? code
function M.refer(app, call, to)
  for _, participant in ipairs(participants(app, call)) do
    if M.is_caller(participant) then
      local answer, code = livekit.twirp(app.settings, "SIP", "TransferSIPParticipant",
        { participant_identity = participant.identity, room_name = call.room, transfer_to = to })
      return answer and true, code
    end
  end
  return nil, M.configured(app) and "no_caller" or "livekit_not_configured"
end

return M
