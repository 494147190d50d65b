-- The far end of the CXB dialler protocol for service specs: a socket, the three first events, audio
-- in real time, and what came back.
local json = require("cjson.safe")

local M = {}
M.__index = M

local function reader(self)
  while true do
    local kind, data, code, reason = self.ws:receive()
    if not kind then
      self.closed, self.code, self.reason = true, code, reason
      return
    end
    local message = json.decode(data)
    if type(message) == "table" then
      self.count[message.event] = (self.count[message.event] or 0) + 1
      if message.event == "reverse-media" then
        self.audio[#self.audio + 1] = cxb.crypto.unbase64(message.payload)
      elseif message.event == "reverse-hangup-call" and not self.deaf then
        self:send({ event = "hangup-call", disconnectedBy = "bot" })
        self.ws:close(1000)
      end
    end
  end
end

---(waits) Connects; nil, code, message when the upgrade is refused.
---@param socket string path of the worker's socket, or "ws://host:port" of the front
---@param bot string
---@param o? {query?: string, headers?: table, incoming?: boolean, event?: table, deaf?: boolean}
function M.connect(socket, bot, o)
  o = o or {}
  local ws, code, message = cxb.ws.connect(
    ("%s/ws/%s%s"):format(socket:match("^ws://") and socket or "ws+unix:" .. socket .. ":", bot,
      o.query and "?" .. o.query or ""),
    { headers = o.headers, timeout_ms = 30000 })
  if not ws then
    return nil, code, message
  end
  local self = setmetatable({ ws = ws, count = {}, audio = {}, stream_id = "stream-"
    .. cxb.crypto.hex(cxb.crypto.random(4)), deaf = o.deaf }, M)
  self.task = cxb.task.spawn("dialler", reader, self)
  return self
end

function M:send(message)
  return self.ws:send(type(message) == "string" and message or json.encode(message))
end

---The three events of a call's beginning; `event` adds fields to the first.
function M:begin(event)
  local first = { event = "connected", callerId = "+919876543210", did = "+911234567890",
    callDirection = "incoming", streamId = self.stream_id }
  for key, value in pairs(event or {}) do
    first[key] = value
  end
  self:send(first)
  self:send({ event = "start", streamId = self.stream_id, mediaFormat = {
    encoding = "LINEAR16", sampleRate = 8000, channels = 1 } })
  self:send({ event = "answer" })
  return self
end

---(waits) Sends PCM16 at 8 kHz in frames of 20 ms, in real time.
function M:speak(pcm)
  local due = cxb.time.mono()
  for at = 1, #pcm, 320 do
    if self.closed then
      return
    end
    self:send({ event = "media", payload = cxb.crypto.base64(pcm:sub(at, at + 319)) })
    due = due + 20
    cxb.time.sleep(math.max(0, due - cxb.time.mono()))
  end
end

---(waits) Speaks for 200 ms until he hears himself, by a flow that plays back what it hears. From now
---on all of it comes back; before the answer only a second of it is kept.
function M:hear_self()
  self:speak(M.tone(200))
  local deadline = cxb.time.mono() + 60000
  while #self.audio == 0 and not self.closed and cxb.time.mono() < deadline do
    cxb.time.sleep(10)
  end
  return self
end

---A tone of so many milliseconds.
function M.tone(ms, hz)
  local out = {}
  for i = 0, ms * 8 - 1 do
    local v = math.floor(8000 * math.sin(2 * math.pi * (hz or 440) * i / 8000))
    v = v < 0 and v + 65536 or v
    out[#out + 1] = string.char(v % 256, math.floor(v / 256))
  end
  return table.concat(out)
end

---The customer hangs up.
function M:hangup()
  self:send({ event = "hangup-call", disconnectedBy = "customer" })
end

---All PCM that came back.
function M:heard()
  return table.concat(self.audio)
end

---(waits) Until the socket is closed; false when it is not in time.
function M:wait_closed(timeout_ms)
  local deadline = cxb.time.mono() + (timeout_ms or 30000)
  while not self.closed and cxb.time.mono() < deadline do
    cxb.time.sleep(10)
  end
  return self.closed or false
end

return M
