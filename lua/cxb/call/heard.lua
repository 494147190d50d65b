-- What was heard of an utterance (cxb.call.speaking): from how much of each sentence was played, by
-- the provider's word times or by share of time.
local text = require("cxb.text")

local M = {}

-- About how long a character takes, for speech that was cut before its length was known.
local character_ms = 65

---@param job cxb.voice.job
---@return string
function M.of(job)
  if job.played_whole then
    return job.text
  end
  local heard = job.heard or 0
  if job.words and job.words[1] then
    return text.heard_by_words(job.text, job.words, heard)
  end
  return text.heard(job.text, heard, job.ms or math.max(heard, #job.text * character_ms))
end

---Milliseconds heard of the sentences that are over.
function M.ms(jobs)
  local heard = 0
  for _, job in ipairs(jobs) do
    heard = heard + (job.heard or 0)
  end
  return math.floor(heard + 0.5)
end

---Whatever was still open when the utterance stopped was heard for the time since it began.
---@param start_ms? integer of the media clock
---@param end_ms integer
function M.settle(jobs, start_ms, end_ms)
  local heard = 0
  for _, job in ipairs(jobs) do
    if not job.heard and job.utterance and start_ms and not job.failed then
      local left = math.max(0, end_ms - start_ms - heard)
      job.heard = math.min(job.ms or left, left)
    end
    heard = heard + (job.heard or 0)
  end
  return math.floor(heard + 0.5)
end

---@return string said what was heard of all
---@return string full what was to be said
---@return table<integer, string> rounds what was heard of each round, without asides
function M.gather(jobs)
  local parts, full, rounds = {}, {}, {}
  for _, job in ipairs(jobs) do
    local said = M.of(job)
    full[#full + 1] = job.text
    if said ~= "" then
      parts[#parts + 1] = said
      if not job.aside then
        local n = job.round or 1
        rounds[n] = rounds[n] and rounds[n] .. " " .. said or said
      end
    end
  end
  return table.concat(parts, " "), table.concat(full, " "), rounds
end

return M
