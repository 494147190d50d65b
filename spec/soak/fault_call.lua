-- One caller of a soak: frames of a tone in real time, a key every 60 ms, then a hang-up, whatever
-- happens to the worker meanwhile.

local json = require("cjson.safe")

local M = {}

local FRAME_MS, KEY_EVERY, LONGEST_MS = 20, 3, 60000
local KEYS = "123456789"

local function tone()
  local out = {}
  for i = 0, 159 do
    local v = math.floor(6000 * math.sin(2 * math.pi * 400 * i / 8000))
    v = v < 0 and v + 65536 or v
    out[#out + 1] = string.char(v % 256, math.floor(v / 256))
  end
  return cxb.crypto.base64(table.concat(out))
end

local media

-- Reads to the end of the socket and answers our hang-up.
local function follow(ws, state)
  while true do
    local kind = ws:receive()
    if not kind then
      state.closed = true
      return
    end
  end
end

---(waits) A call of `ms`; true when it was connected at all.
---@param socket string of the worker
---@param bot string
---@param stream string
---@param ms number
---@param silent? boolean no keys
---@param answered? fun(): any goes on until then, if that is later
function M.run(socket, bot, stream, ms, silent, answered)
  media = media or json.encode({ event = "media", payload = tone() })
  local ws = cxb.ws.connect(("ws+unix:%s:/ws/%s"):format(socket, bot), { timeout_ms = 30000 })
  if not ws then return false end
  local state = {}
  local reader = cxb.task.spawn("caller", follow, ws, state)
  ws:send(json.encode({ event = "connected", callerId = "+15550100", did = "+15550199",
    callDirection = "incoming", streamId = stream }))
  ws:send(json.encode({ event = "start", streamId = stream }))
  ws:send(json.encode({ event = "answer" }))
  local due, pressed, frame = cxb.time.mono(), 0, 0
  while not state.closed and (frame + 1 <= ms / FRAME_MS
    or answered and frame < LONGEST_MS / FRAME_MS and not answered()) do
    frame = frame + 1
    ws:send(media)
    if frame % KEY_EVERY == 0 and not silent then
      local at = pressed % #KEYS + 1
      pressed = pressed + 1
      ws:send(json.encode({ event = "dtmf", digit = KEYS:sub(at, at) }))
    end
    due = due + FRAME_MS
    cxb.time.sleep(math.max(0, due - cxb.time.mono()))
  end
  ws:send(json.encode({ event = "hangup-call", disconnectedBy = "customer" }))
  reader:wait(3000)
  ws:close(1000)
  return true
end

return M
