-- One utterance of the bot, from its first sentence to what was heard of it: sentences come in
-- while earlier ones play; events of the leg and the caller's words decide whether it is cut short
-- (cxb.call.barge).
local barge = require("cxb.call.barge")
local heard = require("cxb.call.heard")
local on = require("cxb.call.sounds")

local M = {}
M.__index = M

-- After all audio is there its playing is waited for this much longer than it lasts.
local grace_ms = 10000
-- The media loop answers a clear within this time.
local clear_ms = 500
-- A word this long before the bot's end belongs to the time while it spoke.
local tail_ms = 700

---@param call table cxb.call
---@param may? false|"words"|"vad"|"dtmf" what may interrupt; nil: as the bot is configured
function M.begin(call, may)
  local mode = barge.mode(call, may)
  call.leg:barge({ vad = mode.vad or false, dtmf = mode.dtmf or false })
  return setmetatable({
    call = call, mode = mode, jobs = {}, by_utterance = {}, quiet_at = cxb.time.mono(),
    sounding = 0,
  }, M)
end

local function adopt(self, job, o)
  job.aside, job.round, job.spent = o and o.aside or job.aside, o and o.round, self.spent
  self.jobs[#self.jobs + 1] = job
  if job.utterance then
    self.by_utterance[job.utterance] = job
  end
end

---One sentence more. While a cut is being judged it waits for the verdict; after it, it is dropped.
---@param sentence string
---@param o? {aside?: boolean, round?: integer} aside: not part of what the bot has to say
function M:add(sentence, o)
  if self.cut and not self.stopped then
    adopt(self, { text = sentence, over = true, heard = 0 }, o)
  elseif not self.stopped and not self.hangup then
    adopt(self, self.call.voice:push(sentence), o)
  end
end

---For the journal: what a lost worker takes with it. A sentence said anew, or cut, replaces itself.
---@param job cxb.voice.job
---@param t_ms integer of its first frame
function M:note_saying(job, t_ms)
  if not job.saying then
    self.sentences = (self.sentences or 0) + 1
    job.saying = { n = self.sentences }
  end
  job.saying = { n = job.saying.n, text = job.text, t_ms = t_ms }
  self.call.facts:add("saying", job.saying)
end

---Sentences that are already on their way to the leg.
---@param jobs cxb.voice.job[]
function M:take(jobs)
  for _, job in ipairs(jobs) do
    adopt(self, job)
  end
end

local function is_over(job)
  return job.over or job.cancelled
end

local function all_over(self)
  for _, job in ipairs(self.jobs) do
    if not is_over(job) then
      return false
    end
  end
  return true
end

local function is_silent(self)
  return not self.cut and self.sounding == 0 and all_over(self)
end

-- Cut and gone on with -------------------------------------------------------------------------

---Stops what sounds, for now: whether for good is judged when the words are there.
---@param by string
---@param clear? boolean the media loop has not cleared yet
function M:cut_short(by, clear)
  local now = cxb.time.mono()
  self.by = self.by or by
  self.cut = self.cut or { by = by, at = now, deadline = now + clear_ms }
  if clear then
    self.call.leg:clear()
  end
end

-- A false cut: the rest is said from where it was.
local function go_on(self)
  local before = self.jobs
  self.call:event("false_barge_in", { heard_ms = heard.ms(before), by = self.cut.by })
  self.cut, self.by, self.jobs = nil, nil, {}
  for _, job in ipairs(before) do
    local said = heard.of(job)
    local rest = job.text:sub(#said + 1):match("^%s*(.-)%s*$")
    if job.saying and rest ~= "" then
      job.text = said
      self:note_saying(job, job.saying.t_ms)
    end
    if said ~= "" then
      job.text, job.played_whole = said, true
      self.jobs[#self.jobs + 1] = job
    end
    if rest ~= "" then
      adopt(self, self.call.voice:push(rest), job)
    end
  end
end

---Nothing more of it is to be heard.
function M:stop()
  self.stopped = true
  self.call.voice:cancel()
  self.call.leg:clear()
end

-- The wait -------------------------------------------------------------------------------------

-- When its playing is given up; nil while audio is still coming in.
local function patience(self)
  local length = 0
  for _, job in ipairs(self.jobs) do
    length = length + (job.ms or 0)
    if not (job.ms or is_over(job)) then
      self.patience = nil
      return nil
    end
  end
  self.patience = self.patience or cxb.time.mono() + length + grace_ms
  return self.patience
end

-- When something is due without an event.
local function next_deadline(self, pending)
  if self.cut then
    return self.cut.cleared and barge.judged_at(self) or self.cut.deadline
  elseif not pending then
    return patience(self)
  elseif is_silent(self) then
    local turn = self.call.turn
    local due = self.heeds_turns and turn and turn:due() or nil
    local filler_at = self.filler and self.quiet_at + self.filler.ms
    return due and filler_at and math.min(due, filler_at) or due or filler_at
  end
end

local function take_event(self, event, now)
  if event and on[event.type] then
    on[event.type](self, event)
  elseif not event and self.cut and not self.cut.cleared then
    on.cleared(self, { by = self.cut.by, t_ms = self.call:t_ms() }) -- nothing was playing any more
  elseif not event and self.patience and now >= self.patience then
    self.stopped = true
  end
end

local function heed_caller(self, pending, now)
  local by = self.sounding > 0 and barge.words_that_cut(self)
  if by then
    self:cut_short(by, true)
  elseif self.heeds_turns and pending and is_silent(self) then
    self.call.pending = barge.turn_in_silence(self, now)
    if self.call.pending then
      self.by, self.stopped = "turn", true
      self.call.voice:cancel()
    end
  end
  if self.cut and self.cut.cleared then
    local real = barge.verdict(self, now)
    if real then
      self.stopped = true
    elseif real == false then
      go_on(self)
    end
  end
end

local function fill_dead_air(self, now)
  if self.filler and is_silent(self) and now >= self.quiet_at + self.filler.ms then
    local said = self.filler.text
    self.filler = nil
    self:add(said, { aside = true })
  end
end

---(waits) Follows the utterance: while pending(), for then there may come more to say, or without
---it to the end: heard, cut for good, or the caller gone.
---@param pending? fun(): boolean
function M:run(pending)
  local function waiting()
    if pending then
      return pending()
    end
    return not (self.stopped or (not self.cut and all_over(self)))
  end
  while not self.hangup and waiting() do
    local event = self.call:next(not self.stopped and next_deadline(self, pending) or nil)
    local now = cxb.time.mono()
    take_event(self, event, now)
    if not self.stopped then
      heed_caller(self, pending, now)
    end
    if not self.stopped and pending and pending() then
      fill_dead_air(self, now)
    end
  end
end

-- The end --------------------------------------------------------------------------------------

-- Words said wholly while the bot spoke, meaning no more than "go on", are no turn.
local function drop_backchannel(self)
  local call, turn = self.call, self.call.turn
  if not turn or turn.speaking or not turn.voiced_at or self.stopped then
    return
  end
  local said = turn:words_so_far()
  local ended = call.origin + (self.end_ms or call:t_ms())
  if said ~= "" and turn.voiced_at < ended - tail_ms and turn:is_backchannel(said) then
    call:event("backchannel", {})
    call:forget_speech()
  end
end

local function enter(self, said, full, heard_ms)
  local call = self.call
  if not self.start_ms then
    return
  elseif said == "" then
    call.facts:add("saying", {}) -- nobody heard a word of it
    return
  end
  local whole = said == full
  call.facts:add("turn", {
    turn = call.facts:next_turn(), role = "bot", text = said, full_text = not whole and full or nil,
    start_ms = self.start_ms, end_ms = math.max(self.start_ms, self.end_ms or call:t_ms()),
    heard_ms = heard_ms, interrupted = ((self.by or self.hangup) and not whole) and true or nil,
  })
  call.session:transcript("bot", said)
end

---Enters it in the record.
---@return cxb.call.said said, table<integer, string> rounds what was heard of each round
function M:finish()
  local call = self.call
  local heard_ms = heard.settle(self.jobs, self.start_ms, self.end_ms or call:t_ms())
  local said, full, rounds = heard.gather(self.jobs)
  enter(self, said, full, heard_ms)
  if self.stopped then
    call.voice:cancel()
  end
  if self.mode.forget and not self.hangup then
    call:forget_speech()
  else
    drop_backchannel(self)
  end
  if call.first_say and self.jobs[1] then
    call.first_say = false
    call:event("opening_done", {})
  end
  call.said_question = full:match("[?？]%s*$") ~= nil
  local by = self.by ~= "turn" and self.by or nil
  return {
    heard_ms = heard_ms, interrupted = by ~= nil, by = by, hangup = self.hangup or nil,
    failed = self.failed,
  }, rounds
end

return M
