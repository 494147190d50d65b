-- What a bot sends by a carrier's media stream: {"event":"media","media":{"payload":…}}, marks and
-- clears, whatever a carrier calls these events.

local audio = require("cxbctl.audio")
local json = require("cjson.safe")

local M = {}

---@class cxbctl.media_events
---@field media? string name of the event that carries audio: "media"
---@field mark? string "mark"
---@field clear? string "clear"
---@field mark_name? fun(message: table): string
---@field ulaw? boolean the payload is mu-law, not LINEAR16
---@param names cxbctl.media_events
---@return fun(kind: string, data: string): table what a wire's read() answers
function M.reader(names)
  local media, mark, clear = names.media or "media", names.mark or "mark", names.clear or "clear"
  local mark_name = names.mark_name or function(message) return message.mark.name end
  return function(_, data)
    local message = json.decode(data)
    if type(message) ~= "table" then return { type = "bad", text = data } end
    if message.event == media then
      local bytes = cxb.crypto.unbase64(message.media.payload)
      return { type = "audio", pcm = bytes and names.ulaw and audio.from_ulaw(bytes) or bytes }
    elseif message.event == mark then
      return { type = "mark", name = mark_name(message) }
    elseif message.event == clear then
      return { type = "clear" }
    end
    return { type = "other", name = message.event }
  end
end

return M
