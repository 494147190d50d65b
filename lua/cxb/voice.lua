-- The bot's voice in one call: sentences wait their turn, a task of its own hands each to the text
-- to speech provider, audio goes to the leg in C. A provider that was lost is opened again; one
-- that fails or is late with its first audio gives way to the next, which says the sentence anew.
local channel = require("cxb.channel")
local failover = require("cxb.failover")
local guard = require("cxb.guard")
local sentences = require("cxb.sentences")
local text = require("cxb.text")

local M = {}
M.__index = M

local open_ms, first_byte_ms = 2000, 2000

---Characters of one utterance, at most.
M.max_characters = 2000

---@class cxb.voice.job
---@field text string
---@field utterance? integer of the leg, once begun
---@field speak_at? number when the provider was asked, monotonic ms
---@field audio_at? number when its first audio came
---@field ms? number length of the speech, once all audio is there
---@field words? {text: string, start_ms: number, end_ms: number}[] timings, if the provider has any
---@field failed? string
---@field cancelled? boolean

---@class cxb.voice.options
---@field leg cxb.leg
---@field rate integer Hz of the leg
---@field chain table cxb.failover of the stage tts
---@field open fun(choice: table, on_lost: fun(message: string)): table?, string?, string? waits
---@field notify fun(event: table) begun, voiced, voice_failed {job}

---@param options cxb.voice.options
function M.new(options)
  local self = setmetatable({
    leg = options.leg, rate = options.rate, chain = options.chain, open = options.open,
    notify = options.notify, jobs = channel.new(), characters = 0,
  }, M)
  self.task = cxb.task.spawn("voice", guard, function(message)
    local job = self.job or { text = "" }
    job.failed = message
    self.notify({ type = "voice_failed", job = job })
  end, self.run, self)
  return self
end

---Words only: control characters say nothing, and an utterance has a limit.
---@param said string
---@return string
function M.clean(said)
  said = said:gsub("%c", " "):gsub("%s+", " "):match("^%s*(.-)%s*$")
  return (text.limit_characters(said, M.max_characters))
end

---@param sentence string
---@return cxb.voice.job
function M:push(sentence)
  local job = { text = sentence }
  self.jobs:push(job)
  return job
end

---@param said string
---@return cxb.voice.job[] one for each sentence
function M:queue(said)
  local list = {}
  for i, sentence in ipairs(sentences.cut(M.clean(said))) do
    list[i] = self:push(sentence)
  end
  return list
end

---Opens the provider ahead of the first sentence, in the voice's own task.
function M:connect()
  self.jobs:push({ connect = true })
end

-- (waits) The provider in use, opened if it is not.
local function provider(self, choice)
  if self.tts and self.tts_choice == choice and not self.tts_lost then
    return self.tts
  end
  if self.tts then
    self.tts:close()
    self.tts = nil
  end
  local mine = {}
  local tts, code, message = failover.within(open_ms, function()
    return self.open(choice, function()
      if self.tts_mine == mine then
        self.tts_lost = true
      end
    end)
  end)
  if tts then
    self.tts, self.tts_choice, self.tts_mine, self.tts_lost = tts, choice, mine, false
  end
  return tts, code, message
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

-- Ends a sentence whose first audio is late.
local function limit_first_byte(self, job, tts)
  local asked = job.speak_at
  cxb.task.spawn("tts_guard", function()
    cxb.time.sleep(first_byte_ms)
    if self.job == job and job.speak_at == asked and not job.audio_at and not job.cancelled then
      job.late = true
      tts:cancel()
    end
  end)
end

local function attempt(self, job, choice)
  local tts, code, message = provider(self, choice)
  if not tts or job.cancelled then
    return nil, job.cancelled and "cancelled" or code, message
  end
  job.utterance = self.leg:say_begin(tts.rate or self.rate)
  job.audio_at, job.words, job.late = nil, nil, nil
  if not job.utterance then
    return nil, "cancelled" -- the leg is closed
  end
  self.notify({ type = "begun", job = job })
  job.speak_at = cxb.time.mono()
  limit_first_byte(self, job, tts)
  local said
  said, code, message = tts:say(self.leg, job.utterance, job.text, function()
    job.audio_at = job.audio_at or cxb.time.mono()
  end, function(timed)
    job.words = job.words or {}
    for _, word in ipairs(timed) do
      job.words[#job.words + 1] = word
    end
  end)
  if said then
    job.ms = said.ms
    self.characters = self.characters + text.length(job.text)
    return true
  elseif job.cancelled then
    return nil, "cancelled"
  end
  self.tts_lost = true -- whatever it was, the next sentence wants a fresh connection
  return nil, job.late and "timeout" or code, message
end

-- The last provider there is may try a sentence twice.
local function speak(self, job)
  local ok, code, message = self.chain:run(function(choice)
    return attempt(self, job, choice)
  end, function(_, tries)
    return tries < 2 and not self.chain:has_next() and not self.closed
  end)
  if not ok and code ~= "cancelled" then
    job.failed = message or code or "error"
    self.notify({ type = "voice_failed", job = job })
  end
end

function M:run()
  while not self.closed do
    local job, code = self.jobs:pop()
    if code == "cancelled" then
      break
    end
    if job and job.connect then
      self.chain:run(function(choice)
        return provider(self, choice)
      end)
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
