-- A supervisor's word in the ear of one agent (api.md §5.17): a track that nobody else in the room
-- may hear. The client sets its track's permissions before it publishes; here it is made sure of:
-- whoever else is subscribed to the track is taken off it, whatever the client did.
local livekit = require("cxb.livekit")
local webhook = require("services.livekit.webhook")

local M = {}

-- On the whisperer's token: LiveKit tells it with the participant.
local TO, ROOM_MS = "cxb.whisper_to", 7200000

-- LiveKit subscribes everybody to a new track by itself: said again, should that come after our no.
local AGAIN_MS = { 200, 500, 1000, 3000 }

local function mark(room)
  return "whisper:" .. room
end

---A token whose track only the agent may hear.
---@param app table
---@param grant table identity, name, room, seconds as of cxb.livekit.grant; agent: who hears it
---@return string
function M.token(app, grant)
  return livekit.token(app.settings, { identity = grant.identity, name = grant.name,
    room = grant.room, seconds = grant.seconds, data = false,
    attributes = { [TO] = grant.agent } })
end

local function to_of(participant)
  local to = type(participant.attributes) == "table" and participant.attributes[TO]
  return type(to) == "string" and to ~= "" and to or nil
end

local function tracks_of(participant)
  local sids = {}
  for _, track in ipairs(participant.tracks or {}) do
    sids[#sids + 1] = track.sid
  end
  return sids
end

-- (waits) Everybody in the room but the whisperers' agents is taken off their tracks.
local function enforce(app, room)
  local answer, code, message = livekit.twirp(app.settings, "RoomService", "ListParticipants",
    { room = room })
  if not answer then
    cxb.log.error("a whisper could not be kept", { error = message or code })
    return
  end
  local people = answer.participants or {}
  for _, whisperer in ipairs(people) do
    local to, sids = to_of(whisperer), tracks_of(whisperer)
    for _, other in ipairs(to and sids[1] and people or {}) do
      if other.identity ~= to and other.identity ~= whisperer.identity then
        livekit.twirp(app.settings, "RoomService", "UpdateSubscriptions",
          { room = room, identity = other.identity, track_sids = sids, subscribe = false })
      end
    end
  end
end

local function keep(app, room)
  enforce(app, room)
  cxb.task.spawn("whisper", function()
    for _, ms in ipairs(AGAIN_MS) do
      cxb.time.sleep(ms)
      enforce(app, room)
    end
  end)
end

---(waits) A webhook event: somebody comes in who whispers, or comes or speaks where somebody does.
---(The event of a track tells nothing of its participant but the identity.)
function M.hear(app, event)
  local room = event.room and event.room.name
  local joined, spoke = event.event == "participant_joined", event.event == "track_published"
  if not room or not (joined or spoke) then
    return
  end
  if joined and to_of(event.participant or {}) then
    app.cache:set(mark(room), "1", ROOM_MS)
  end
  if app.cache:get(mark(room)) then
    keep(app, room)
  end
end

webhook.listeners[#webhook.listeners + 1] = M.hear

return M
