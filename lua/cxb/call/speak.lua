-- call:say and call:play: words out, and who interrupted them after how many milliseconds.
local Speaking = require("cxb.call.speaking")
local Voice = require("cxb.voice")
local sentences = require("cxb.sentences")

local M = {}

local function not_heard(self)
  return { heard_ms = 0, interrupted = false, hangup = self.gone or nil }
end

-- What the bot said is part of the conversation the language model knows.
local function remember(self, rounds)
  if rounds[1] and rounds[1] ~= "" then
    self.context:assistant(rounds[1])
  end
end

---Words to be said first, made audible while the phone still rings: say() of the same words plays
---them at once.
---@param said string
function M:prepare(said)
  self.leg:barge({ vad = false, dtmf = true })
  self.prepared = { text = said, jobs = self.voice:queue(said) }
end

local function prepared_jobs(self, said)
  local ready = self.prepared
  self.prepared = nil
  if not ready then
    return nil
  elseif ready.text == said then
    return ready.jobs
  end
  self.voice:cancel()
  self.leg:clear()
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
    return not_heard(self)
  end
  said = self:render(said)
  local jobs = prepared_jobs(self, said)
  local s = Speaking.begin(self, opts and opts.barge)
  self.session:state("speaking")
  if jobs then
    s:take(jobs)
  else
    for _, sentence in ipairs(sentences.cut(Voice.clean(said))) do
      s:add(sentence)
    end
  end
  s:run()
  local answer, rounds = s:finish()
  remember(self, rounds)
  return answer
end

---Plays a WAV file (path, or a name in lua/sounds) and waits until it was heard or interrupted.
---@param file string
---@param opts? {barge?: false|"words"|"vad"|"dtmf", text?: string} text: for the transcript
---@return cxb.call.said
function M:play(file, opts)
  if self.gone then
    return not_heard(self)
  end
  local path = file:match("^/") and file or cxb.root .. "/lua/sounds/" .. file
  local pcm, rate, message = cxb.media.read_wav(path)
  if not pcm then
    return { heard_ms = 0, interrupted = false, failed = message or rate }
  end
  opts = opts or {}
  local s = Speaking.begin(self, opts.barge)
  local job = { text = opts.text or "[" .. file:match("[^/]*$") .. "]", aside = not opts.text,
    ms = #pcm / 2 * 1000 / rate }
  job.utterance = self.leg:say_begin(rate)
  if not job.utterance then
    return not_heard(self)
  end
  s:take({ job })
  self.leg:say_push(job.utterance, pcm)
  self.leg:say_end(job.utterance)
  s:run()
  local answer, rounds = s:finish()
  remember(self, rounds)
  return answer
end

return M
