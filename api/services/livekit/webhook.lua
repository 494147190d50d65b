-- What LiveKit tells us (api.md §5.14): a caller in a room of his own gets a bot; others who want
-- to know of joins and leaves listen.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local json = require("cxb.json")
local livekit = require("cxb.livekit")

local M = {
  ---Hear every genuine event once: functions of (app, event); they may wait.
  ---@type fun(app: table, event: table)[]
  listeners = {},
}

local SEEN_MS, DISPATCH_MS = 600000, 10000

local function denied(message)
  return nil, errors.new(401, "unauthenticated", message)
end

---The event of a genuine webhook.
---@param authorization? string
---@param raw string
---@return table? event, api.error? err 401
function M.read(app, authorization, raw)
  local claims, code = livekit.verify_webhook(app.settings, authorization, raw)
  if not claims then
    return denied(code == "missing" and "Missing auth" or "Invalid signature")
  end
  local event, _, why = json.decode_object(raw)
  if not event then
    return nil, errors.new(400, "invalid_json", ("Not a JSON object: %s."):format(why))
  end
  return event
end

local function is_sip(participant)
  return participant.kind == "SIP" or participant.kind == 3
end

local function text(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- (waits) The number that was dialled, when the participant does not say: one of the trunk's
-- carrier.
local function first_did(app, trunk_id)
  local found = trunk_id and app.store:find("carriers", { lk_inbound_trunk_id = trunk_id },
    { limit = 1 })
  for _, did in ipairs(found and found[1] and found[1].dids or {}) do
    if did.direction ~= "outbound" then
      return did.number
    end
  end
end

-- (waits) A caller for whom nobody came is not left in silence.
local function remove_caller(app, room, identity)
  local ok, code, message = livekit.twirp(app.settings, "RoomService", "RemoveParticipant",
    { room = room, identity = identity })
  if not ok and code ~= "not_found" then
    cxb.log.warn("a caller could not be removed", { error = message or code })
  end
end

---(waits) Finds a worker for a caller.
---@return true?, api.error? err 503, 502
local function dispatch(app, room, participant, request_id)
  local attributes = participant.attributes or {}
  local final, listed = false, false
  local answer, err = fleet.start(app, {
    purpose = "dispatch", path = "/livekit/dispatch", timeout_ms = DISPATCH_MS,
    request_id = request_id,
    body = {
      room_name = room, call_id = text(attributes["sip.callID"]),
      caller_number = text(attributes["sip.phoneNumber"]) or participant.identity,
      dialed_number = text(attributes["sip.calledNumber"])
        or text(attributes["sip.trunkPhoneNumber"]) or first_did(app, attributes["sip.trunkID"]),
    },
    -- A host of the first system removes the caller when it refuses: it is asked once. Others say
    -- no without effect until they are told that it is final.
    prepare = function(body, host_id, attempt, tries)
      listed = host_id:match("^url%-") ~= nil
      if listed then
        body.final = nil
        return attempt
      end
      final = attempt == tries
      body.final = final
    end,
  })
  if not answer then
    return nil, err
  elseif answer.status >= 300 then
    cxb.log.warn("no worker took a caller", { status = answer.status,
      error = answer.answer.error })
    if not final and not listed then
      remove_caller(app, room, participant.identity)
    end
  end
  return true
end

local function handle(app, event, request_id)
  for _, listener in ipairs(M.listeners) do
    listener(app, event)
  end
  local room, participant = event.room or {}, event.participant or {}
  if event.event == "participant_joined" and is_sip(participant)
    and (text(room.name) or ""):match("^call%-") then
    return dispatch(app, room.name, participant, request_id)
  end
  return true
end

---(waits) Acts on an event, once however often it is delivered; one that failed may come again.
---@return true?, api.error? err
function M.take(app, event, request_id)
  local id = text(event.id)
  local seen = id and "lkseen:" .. id
  if seen and app.cache:add(seen, "1", SEEN_MS) == false then
    return true
  end
  local ok, err = handle(app, event, request_id)
  if not ok and seen then
    app.cache:del(seen)
  end
  return ok, err
end

return M
