-- What the leg's events and the voice's news mean for an utterance (cxb.call.speaking): which of
-- its sentences sound, which are over and how much of each was heard.
local heard = require("cxb.call.heard")
local latency = require("cxb.latency")

-- A sentence that was heard but for this much was heard; the caller's hang-up cuts it earlier.
local slack_ms = 60

local function sample_latency(self, event, job)
  local call = self.call
  local asked, spent = call.asked, job.spent or {}
  if not asked then
    return
  end
  call.asked = nil
  local sample = latency.sample({
    turn = asked.turn, voiced_at = asked.voiced_at, decided_at = asked.decided_at,
    final_at = asked.final_at, speak_at = job.speak_at, audio_at = job.audio_at,
    frame_at = call.origin + event.t_ms, rag_ms = spent.rag_ms, tool_ms = spent.tool_ms,
    llm_ms = spent.llm_ms,
  })
  call.facts:add("latency", sample)
  call.session:latency(sample)
end

local function fell_silent(self, job)
  if job.sounds then
    job.sounds = nil
    self.sounding = self.sounding - 1
    self.quiet_at = cxb.time.mono()
  end
end

local on = {}

function on.begun(self, event)
  self.by_utterance[event.job.utterance] = event.job
end

function on.first_frame(self, event)
  local job = self.by_utterance[event.utterance]
  if job then
    self.start_ms = self.start_ms or event.t_ms
    self:note_saying(job, event.t_ms)
    self.sounding, job.sounds = self.sounding + 1, true
    sample_latency(self, event, job)
    self.call.session:state("speaking")
  end
end

-- An utterance whose source failed was no sentence: it is said anew.
function on.played(self, event)
  local job = self.by_utterance[event.utterance]
  if not job then
    return
  end
  fell_silent(self, job)
  if job.utterance == event.utterance and not event.error and not job.over then
    job.over, job.heard = true, event.heard_ms
    job.played_whole = not self.cut and event.heard_ms >= (job.ms or 0) - slack_ms
    self.end_ms = event.t_ms
  end
end

function on.cleared(self, event)
  local job = self.by_utterance[event.utterance]
  if not job and not self.cut then
    return -- the rest of something said earlier
  end
  self:cut_short(event.by)
  if job and not job.over then
    job.over, job.heard = true, event.heard_ms
  end
  for _, one in ipairs(self.jobs) do
    fell_silent(self, one)
    if not one.over then
      one.over, one.heard = true, 0 -- it was to come after the one that was cut
    end
  end
  self.end_ms, self.cut.cleared = event.t_ms, true
  self.call.voice:cancel()
  if not self.cut.told and self.start_ms then
    self.cut.told = true
    self.call:event("barge_in", { heard_ms = heard.ms(self.jobs), by = self.by })
  end
end

function on.voice_failed(self, event)
  event.job.over = true
  self.failed = event.job.failed
end

function on.dtmf(self, event)
  local call = self.call
  call.digits, call.digit_at = call.digits .. event.digit, cxb.time.mono()
  if self.mode.dtmf and not self.stopped then
    self:cut_short("dtmf", true) -- the media loop has cleared already; its news follows
  end
end

function on.text(self, event)
  self.call.typed = event.text
  if not self.stopped then
    self:cut_short("text", true)
  end
end

function on.hangup(self)
  self.hangup, self.stopped = true, true
end

return on
