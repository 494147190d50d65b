-- The bot's voice in one call: sentences wait their turn, a task of its own hands each to the text
-- to speech provider, audio goes to the leg in C. A provider that was lost is opened again; a
-- sentence it could not say at all is tried once more.
local channel = require("cxb.channel")
local sentences = require("cxb.sentences")
local text = require("cxb.text")

local M = {}
M.__index = M

local max_characters = 2000

---@class cxb.voice.job
---@field text string
---@field utterance? integer of the leg, once begun
---@field speak_at? number when the provider was asked, monotonic ms
---@field audio_at? number when its first audio came
---@field ms? number length of the speech, once all audio is there
---@field failed? string
---@field cancelled? boolean

---@class cxb.voice.options
---@field leg cxb.leg
---@field rate integer Hz of the leg
---@field open fun(): table?, string?, string? a tts provider; waits
---@field notify fun(event: table) begun, voiced, voice_failed {job}, provider_error

---@param options cxb.voice.options
function M.new(options)
  local self = setmetatable({
    leg = options.leg, rate = options.rate, open = options.open, notify = options.notify,
    jobs = channel.new(), characters = 0,
  }, M)
  self.task = cxb.task.spawn("voice", self.run, self)
  return self
end

-- Words only: control characters say nothing, and a sentence has a limit.
local function clean(said)
  said = said:gsub("%c", " "):gsub("%s+", " "):match("^%s*(.-)%s*$")
  return (text.limit(said, max_characters))
end

---@param said string
---@return cxb.voice.job[] one for each sentence
function M:queue(said)
  local list = {}
  for i, sentence in ipairs(sentences.cut(clean(said))) do
    list[i] = { text = sentence, first = i == 1 }
    self.jobs:push(list[i])
  end
  return list
end

---Opens the provider ahead of the first sentence, in the voice's own task.
function M:connect()
  self.jobs:push({ connect = true })
end

-- (waits)
local function open(self)
  if self.tts and not self.tts.lost then
    return true
  end
  local provider, code, message = self.open()
  self.tts = provider
  if not provider then
    return nil, code, message
  end
  return true
end

---Ends what is being said and forgets what waits.
function M:cancel()
  while true do
    local job = self.jobs:try_pop()
    if not job then
      break
    end
    job.cancelled = true
  end
  if self.job then
    self.job.cancelled = true
    if self.tts then
      self.tts:cancel()
    end
  end
end

local function attempt(self, job)
  local ok, code, message = open(self)
  if not ok or job.cancelled then
    return nil, code or "cancelled", message
  end
  job.utterance = self.leg:say_begin(self.rate)
  if not job.utterance then
    return nil, "closed"
  end
  self.notify({ type = "begun", job = job })
  job.speak_at = cxb.time.mono()
  local said
  said, code, message = self.tts:say(self.leg, job.utterance, job.text, function()
    job.audio_at = job.audio_at or cxb.time.mono()
  end)
  if said then
    job.ms = said.ms
    self.characters = self.characters + #job.text
    return true
  end
  return nil, code, message
end

local function speak(self, job)
  for try = 1, 2 do
    local ok, code, message = attempt(self, job)
    if ok or job.cancelled then
      return
    end
    job.failed = message or code or "error"
    self.notify({ type = "provider_error", stage = "tts", code = code, message = message })
    if code == "timeout" and self.tts then
      self.tts:close()
      self.tts.lost = true
    end
    if job.audio_at or try == 2 or self.closed then
      break
    end
  end
  self.notify({ type = "voice_failed", job = job })
end

function M:run()
  while not self.closed do
    local job, code = self.jobs:pop()
    if code == "cancelled" then
      break
    end
    if job and job.connect then
      open(self)
    elseif job and job.text and not job.cancelled then
      self.job = job
      speak(self, job)
      self.job = nil
      self.notify({ type = "voiced", job = job })
    end
  end
  if self.tts then
    self.tts:close()
  end
end

---Ends the task and the provider's connection.
function M:close()
  if not self.closed then
    self.closed = true
    self:cancel()
    self.jobs:push({})
  end
end

return M
