-- Speech to text by the host's own speech service (docs/speech.md), over its WebSocket. The
-- interface is that of every stt provider (docs/providers.md).
local json = require("cxb.json")
local url = require("cxb.url")

local M = { sends_vad = true }
local stt = {}
stt.__index = stt

-- The recogniser works at this rate, whatever the leg's.
local rate = 16000

---ws+unix URL of a path below CXB_SPEECH_URL ("unix:/run/cxb/speech.sock" or "ws://host:port").
---@return string
function M.address(base, path)
  local socket = base:match("^unix:(.+)$")
  if socket then
    return "ws+unix:" .. socket .. ":" .. path
  end
  return base:gsub("/$", "") .. path
end

-- The service counts milliseconds of audio. An event comes when the audio up to `pos_ms` was heard,
-- heard, which is now: so a moment `t_ms` of the audio was pos_ms - t_ms ago.
local function moment(message)
  local t, pos = tonumber(message.t_ms) or 0, tonumber(message.pos_ms) or 0
  return cxb.time.mono() - math.max(0, pos - t)
end

local handlers = {}

function handlers.speech(self, message)
  self.on_event({ type = "speech", at = moment(message) })
end

function handlers.silence(self, message)
  self.on_event({ type = "silence", at = moment(message) })
end

function handlers.partial(self, message)
  self.on_event({ type = "partial", text = tostring(message.text or "") })
end

function handlers.final(self, message)
  self.on_event({
    type = "final", id = tonumber(message.id), text = tostring(message.text or ""),
    confidence = tonumber(message.confidence), ms = tonumber(message.compute_ms),
  })
end

handlers["error"] = function(self, message)
  self.on_event({ type = "error", code = tostring(message.code), message = message.message })
end

local function read(self)
  while true do
    local kind, data, _, reason = self.ws:receive()
    if not kind then
      if not self.closed then
        self.closed = true
        self.on_event({ type = "lost", code = "closed", message = reason or data or "closed" })
      end
      return
    end
    local message = kind == "text" and json.decode_object(data)
    local handler = message and handlers[message.type]
    if handler then
      handler(self, message)
    end
  end
end

---(waits)
function M.open(options)
  local stage, vad = options.stage, options.vad or {}
  local query = url.encode_query({
    { "rate", rate }, { "partials", 1 }, { "start_ms", vad.start_ms }, { "stop_ms", vad.stop_ms },
    { "language", stage.language },
  })
  local base = stage.url or options.settings.CXB_SPEECH_URL
  local ws, code, message = cxb.ws.connect(M.address(base, "/stt?" .. query),
    { timeout_ms = 2000, max_text = 65536 })
  if not ws then
    return nil, code, message
  end
  local kind, data = ws:receive(2000)
  local ready = kind == "text" and json.decode_object(data)
  if not ready or ready.type ~= "ready" then
    ws:close(1002)
    return nil, "bad_response", "the speech service did not say ready"
  end
  local self = setmetatable({ ws = ws, on_event = options.on_event }, stt)
  self.reader = cxb.task.spawn("stt", read, self)
  return self
end

function stt:feed(leg, replay_ms)
  leg:tap(self.ws:sink(), rate, replay_ms or 0)
end

function stt:finalize(id)
  return self.ws:send(json.encode({ type = "finalize", id = id }))
end

function stt:reset()
  return self.ws:send('{"type":"reset"}')
end

function stt:hints(words)
  return self.ws:send(json.encode({ type = "hints", words = json.array(words) }))
end

function stt:close()
  if not self.closed then
    self.closed = true
    self.ws:close(1000)
  end
end

return M
