-- /tts: texts to audio, one after another (docs/speech.md).
local wire = require("cxb.speech.wire")

local M = {}

local max_waiting, max_text = 32, 4000

-- What speak may hold: the checked request, or the words for an error.
local function check(message, voices)
  local rate, speed = message.rate or 16000, message.speed or 1
  if type(message.text) ~= "string" or #message.text > max_text then
    return nil, "invalid", ("text: a string of up to %d bytes expected"):format(max_text)
  elseif type(rate) ~= "number" or rate % 1 ~= 0 or rate < 8000 or rate > 48000 then
    return nil, "invalid", "rate: a whole number from 8000 to 48000 expected"
  elseif type(speed) ~= "number" or not (speed >= 0.5 and speed <= 2) then
    return nil, "invalid", "speed: a number from 0.5 to 2 expected"
  elseif message.voice ~= nil and not voices[message.voice] then
    return nil, "unknown_voice", "voice: one of " .. table.concat(cxb.speech.voices(), ", ")
      .. " expected"
  end
  return { id = message.id, text = message.text, rate = rate, speed = speed, voice = message.voice }
end

local speaker = {}
speaker.__index = speaker

local function speak(self, request)
  local out, asked = self.out, cxb.time.mono()
  local result, code, message = cxb.speech.say(request.text, {
    voice = request.voice, speed = request.speed, rate = request.rate, sink = out.conn:sink(),
    on_start = function()
      cxb.metrics.observe("cxb_speech_first_audio_seconds", {}, (cxb.time.mono() - asked) / 1000)
      out:send({ type = "start", id = request.id, rate = request.rate })
    end,
  })
  if request.cancelled then
    return -- cancel() has answered
  end
  if result then
    out:send({ type = "done", id = request.id, samples = result.samples })
  else
    out:error(code, message or code, request.id)
  end
  self:advance()
end

-- The next request, if any, becomes the current one.
function speaker:advance()
  self.current = table.remove(self.waiting, 1)
  if self.current then
    self.current.task = cxb.task.spawn("speak", speak, self, self.current)
  end
end

function speaker:cancelled(request)
  self.out:send({ type = "done", id = request.id, samples = 0, cancelled = true })
end

---(waits)
function speaker:cancel(id)
  for i, request in ipairs(self.waiting) do
    if request.id == id then
      table.remove(self.waiting, i)
      return self:cancelled(request)
    end
  end
  local current = self.current
  if current and current.id == id then
    current.cancelled = true
    current.task:cancel()
    current.task:wait(1000) -- afterwards none of its audio follows
    self:cancelled(current)
    self:advance()
  end -- else it was done already: its "done" is on the way
end

---(waits) Serves one upgrade until it is closed.
function M.serve(req)
  local conn = req:websocket({ max_text = 65536 })
  if not conn then
    return
  end
  local voices = {}
  for _, name in ipairs(cxb.speech.voices()) do
    voices[name] = true
  end
  local out = wire.new(conn, "tts")
  out.types = "speak, cancel"
  local self = setmetatable({ out = out, waiting = {} }, speaker)
  out:run({
    speak = function(message)
      if not wire.is_id(message.id) then
        return out:error("invalid", "id: a string of up to 64 bytes or a number expected")
      end
      local request, code, why = check(message, voices)
      if not request then
        return out:error(code, why, message.id)
      end
      if #self.waiting >= max_waiting then
        return out:error("busy", max_waiting .. " texts wait already", message.id)
      end
      table.insert(self.waiting, request)
      if not self.current then
        self:advance()
      end
    end,
    cancel = function(message)
      if not wire.is_id(message.id) then
        return out:error("invalid", "id: a string of up to 64 bytes or a number expected")
      end
      self:cancel(message.id)
    end,
  })
  self.waiting = {}
  if self.current then
    self.current.cancelled = true
    self.current.task:cancel()
  end
end

return M
