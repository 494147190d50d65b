-- call:say and call:play: words out, and who interrupted them after how many milliseconds.
local latency = require("cxb.latency")
local text = require("cxb.text")

local M = {}

-- After all audio is there its playing is waited for this much longer than it lasts.
local grace_ms = 10000

-- What may interrupt. `barge`: nil as the bot is configured · "words" · "vad" · "dtmf" · false.
local function barge_mode(self, barge)
  if barge == false then
    return { words = false }
  end
  local minimum = self.config.min_words_interruption or 3
  local mode = barge or (minimum == 0 and "vad" or "words")
  if self.config.stt and self.config.stt.extra and self.config.stt.extra.should_interrupt == false
    and not barge then
    mode = "dtmf"
  end
  return {
    vad = mode == "vad" and not self.first_say, dtmf = true,
    words = mode == "words" or (mode == "vad" and self.first_say), minimum = math.max(1, minimum),
  }
end

-- Words of the caller that cut the bot short. While the opening plays only words count after which
-- the caller paused, so that the recogniser is sure of them; later what it understands so far.
local function words_interrupt(self, mode)
  local turn = self.turn
  if not mode.words or not turn then
    return nil
  end
  local said = self.first_say and turn.speaking and table.concat(turn.segments, " ")
    or turn:words_so_far()
  if said == "" then
    return nil
  end
  if turn:high_intent_phrase(said) then
    return "high_intent"
  end
  if text.count_words(said) >= mode.minimum and not turn:is_backchannel(said) then
    return "words"
  end
end

-- What of the text was heard, from how much of each sentence was played.
local function heard_text(jobs)
  local parts, cut = {}, false
  for _, job in ipairs(jobs) do
    local whole = job.ms or (job.heard or 0)
    local piece = job.played_whole and job.text or text.heard(job.text, job.heard or 0, whole)
    if piece ~= "" then
      parts[#parts + 1] = piece
    end
    cut = cut or piece ~= job.text
  end
  return table.concat(parts, " "), cut
end

local function first_frame(self, s, event, job)
  s.start_ms = s.start_ms or event.t_ms
  local asked = self.asked
  if asked and not s.sampled then
    s.sampled, self.asked = true, nil
    local sample = latency.sample({
      turn = asked.turn, voiced_at = asked.voiced_at, decided_at = asked.decided_at,
      final_at = asked.final_at, speak_at = job and job.speak_at, audio_at = job and job.audio_at,
      frame_at = self.origin + event.t_ms,
    })
    self.facts:add("latency", sample)
    self.session:latency(sample)
  end
end

local handlers = {}

function handlers.begun(_, s, event)
  s.by_utterance[event.job.utterance] = event.job
end

function handlers.first_frame(self, s, event)
  local job = s.by_utterance[event.utterance]
  if job then
    first_frame(self, s, event, job)
  end
end

function handlers.played(_, s, event)
  local job = s.by_utterance[event.utterance]
  if job and not job.over then
    job.over, job.heard = true, event.heard_ms
    job.played_whole = not s.by and not event.error
    s.end_ms = event.t_ms
  end
end

function handlers.cleared(self, s, event)
  local job = s.by_utterance[event.utterance]
  if not job and not s.by then
    return -- the rest of something said earlier
  end
  if job and not job.over then
    job.over, job.heard = true, event.heard_ms
  end
  for _, waiting in pairs(s.by_utterance) do
    if not waiting.over then
      waiting.over, waiting.heard = true, 0 -- it was to come after the one that was cut
    end
  end
  s.by = s.by or event.by
  s.end_ms, s.stopped = event.t_ms, true
  self.voice:cancel()
end

function handlers.voice_failed(_, s, event)
  event.job.over = true
  s.failed = event.job.failed
end

function handlers.dtmf(self, s, event)
  self.digits, self.digit_at = self.digits .. event.digit, cxb.time.mono()
  if s.mode.dtmf and not s.by then
    s.by = "dtmf" -- the media loop has cleared already; its news follows
    s.clear_wait = cxb.time.mono() + 500
    self.leg:clear()
  end
end

function handlers.text(self, s, event)
  self.typed = event.text
  s.by = s.by or "text"
  s.clear_wait = cxb.time.mono() + 500
  self.leg:clear()
end

local function all_over(jobs)
  for _, job in ipairs(jobs) do
    if not job.over and not job.cancelled then
      return false
    end
  end
  return true
end

local function wait_until_heard(self, s, jobs)
  local deadline
  while not s.stopped and not all_over(jobs) do
    local length, open = 0, false
    for _, job in ipairs(jobs) do
      length = length + (job.ms or 0)
      open = open or not (job.ms or job.over or job.cancelled)
    end
    deadline = not open and (deadline or cxb.time.mono() + length + grace_ms) or nil
    local event = self:next(s.clear_wait or deadline)
    if not event then
      s.stopped, s.unsure = true, not s.clear_wait
    elseif event.type == "hangup" then
      s.hangup, s.stopped = true, true
    elseif handlers[event.type] then
      handlers[event.type](self, s, event)
    end
    local by = not s.by and words_interrupt(self, s.mode)
    if by then
      s.by = by
      s.clear_wait = cxb.time.mono() + 500
      self.leg:clear()
    end
  end
end

-- Whatever was still open when it stopped was heard for the time since it began.
local function settle(self, s, jobs)
  local heard, now = 0, self:t_ms()
  for _, job in ipairs(jobs) do
    if not job.heard and job.utterance and s.start_ms and not job.failed then
      local left = math.max(0, (s.end_ms or now) - s.start_ms - heard)
      job.heard = math.min(job.ms or left, left)
    end
    heard = heard + (job.heard or 0)
  end
  return heard
end

local function enter(self, s, jobs, full)
  local heard = settle(self, s, jobs)
  local said, cut = heard_text(jobs)
  if s.start_ms then
    self.facts:add("turn", {
      turn = self.facts:next_turn(), role = "bot", text = said, full_text = cut and full or nil,
      start_ms = s.start_ms, end_ms = math.max(s.start_ms, s.end_ms or self:t_ms()),
      heard_ms = heard, interrupted = (s.by ~= nil or s.hangup) and cut or nil,
    })
    self.session:transcript("bot", said)
  end
  return heard
end

-- Words said wholly while the bot spoke, meaning no more than "go on", are no turn.
local function drop_backchannel(self, s)
  local turn = self.turn
  if not turn or turn.speaking or not turn.voiced_at or s.by then
    return
  end
  local said = turn:words_so_far()
  local ended = self.origin + (s.end_ms or self:t_ms())
  if said ~= "" and turn.voiced_at < ended - 700 and turn:is_backchannel(said) then
    self:event("backchannel", {})
    self:forget_speech()
  end
end

---@class cxb.call.said
---@field heard_ms integer
---@field interrupted boolean
---@field by? string "words" "high_intent" "vad" "dtmf" "text"
---@field hangup? boolean
---@field failed? string why nothing (more) could be said

---Says text, sentence by sentence, and waits until it was heard or interrupted.
---@param said string
---@param opts? {barge?: false|"words"|"vad"|"dtmf"}
---@return cxb.call.said
function M:say(said, opts)
  if self.gone then
    return { heard_ms = 0, interrupted = false, hangup = true }
  end
  local mode = barge_mode(self, opts and opts.barge)
  self.leg:barge({ vad = mode.vad or false, dtmf = mode.dtmf or false })
  local jobs = self.voice:queue(said)
  local s = { by_utterance = {}, mode = mode }
  self.session:state("speaking")
  wait_until_heard(self, s, jobs)
  local heard = enter(self, s, jobs, said)
  if s.by or s.hangup then
    self.voice:cancel()
  end
  if s.by then
    self:event("barge_in", { heard_ms = heard, by = s.by })
  end
  if mode.words == false and not s.hangup then
    self:forget_speech()
  else
    drop_backchannel(self, s)
  end
  if self.first_say then
    self.first_say = false
    self:event("opening_done", {})
  end
  self.said_question = said:match("%?%s*$") ~= nil
  return {
    heard_ms = heard, interrupted = s.by ~= nil, by = s.by, hangup = s.hangup or nil,
    failed = s.failed,
  }
end

---Plays a WAV file (path, or a name in lua/sounds) and waits until it was heard or interrupted.
---@param file string
---@param opts? {barge?: false|"words"|"vad"|"dtmf", text?: string} text: for the transcript
---@return cxb.call.said
function M:play(file, opts)
  if self.gone then
    return { heard_ms = 0, interrupted = false, hangup = true }
  end
  local path = file:match("^/") and file or cxb.root .. "/lua/sounds/" .. file
  local pcm, rate, message = cxb.media.read_wav(path)
  if not pcm then
    return { heard_ms = 0, interrupted = false, failed = message or rate }
  end
  opts = opts or {}
  local mode = barge_mode(self, opts.barge)
  self.leg:barge({ vad = mode.vad or false, dtmf = mode.dtmf or false })
  local words = opts.text or "[" .. file:match("[^/]*$") .. "]"
  local job = { text = words, ms = #pcm / 2 * 1000 / rate }
  job.utterance = self.leg:say_begin(rate)
  local s = { by_utterance = { [job.utterance or 0] = job }, mode = mode }
  self.leg:say_push(job.utterance, pcm)
  self.leg:say_end(job.utterance)
  wait_until_heard(self, s, { job })
  local heard = enter(self, s, { job }, job.text)
  if s.by then
    self:event("barge_in", { heard_ms = heard, by = s.by })
  end
  return { heard_ms = heard, interrupted = s.by ~= nil, by = s.by, hangup = s.hangup or nil }
end

return M
