-- Text to speech by the host's own speech service (docs/speech.md), over its WebSocket. The
-- interface is that of every tts provider (docs/providers.md).
local json = require("cxb.json")
local channel = require("cxb.channel")
local address = require("providers.stt_embedded").address

local M = {}
local tts = {}
tts.__index = tts

local first_byte_ms, stall_ms = 2000, 10000

local function read(self)
  while true do
    local kind, data, _, reason = self.ws:receive()
    if not kind then
      self.lost = true
      self.inbox:push({ type = "lost", message = reason or data })
      if not self.closed then
        self.closed = true
        self.on_lost(reason or data or "closed")
      end
      return
    end
    local message = kind == "text" and json.decode_object(data)
    if message then
      self.inbox:push(message)
    end
  end
end

---(waits)
function M.open(options)
  local stage = options.stage
  local ws, code, message = cxb.ws.connect(
    address(stage.url or options.settings.CXB_SPEECH_URL, "/tts"),
    { timeout_ms = 2000, max_text = 65536, max_binary = 1024 * 1024 })
  if not ws then
    return nil, code, message
  end
  local self = setmetatable({
    ws = ws, rate = options.rate, voice = stage.voice or stage.voice_id, speed = stage.speed,
    next_id = 0, inbox = channel.new(), on_lost = options.on_lost or function() end,
  }, tts)
  self.reader = cxb.task.spawn("tts", read, self)
  return self
end

-- One answer of the service for `id`; what belongs to earlier sentences is passed over.
local function answer(self, id, timeout_ms)
  while true do
    local message, code = self.inbox:pop(timeout_ms)
    if not message then
      return nil, code
    end
    if message.type == "lost" then
      self.inbox:push(message)
      return nil, "closed", message.message
    end
    if message.id == id then
      return message
    end
  end
end

function tts:say(leg, utterance, text, on_audio)
  if self.lost then
    leg:say_end(utterance, "closed")
    return nil, "closed", "the speech service is gone"
  end
  self.next_id = self.next_id + 1
  local id = self.next_id
  self.current = id
  self.ws:pipe(leg:say_sink(utterance))
  self.ws:send(json.encode({
    type = "speak", id = id, text = text, voice = self.voice, speed = self.speed, rate = self.rate,
  }))
  local result, code, message
  local wait = first_byte_ms
  repeat
    message, code = answer(self, id, wait)
    if not message then
      result = nil
    elseif message.type == "start" then
      wait = stall_ms
      if on_audio then
        on_audio()
      end
    elseif message.type == "done" then
      result = { ms = (tonumber(message.samples) or 0) * 1000 / self.rate }
      code = message.cancelled and "cancelled" or nil
    elseif message.type == "error" then
      code = message.code or "error"
    end
  until not message or message.type == "done" or message.type == "error"
  self.current = nil
  self.ws:pipe(nil)
  leg:say_end(utterance, code)
  if code then
    return nil, code, message and message.message
  end
  return result
end

---Ends the sentence being spoken; say() returns "cancelled" when the service has stopped.
function tts:cancel()
  if self.current and not self.lost then
    self.ws:send(json.encode({ type = "cancel", id = self.current }))
  end
end

function tts:close()
  if not self.closed then
    self.closed = true
    self.ws:close(1000)
  end
end

return M
