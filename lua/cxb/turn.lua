-- End of the caller's turn. A state machine without a clock of its own: events come in with the
-- monotonic time at which they happened, tick(now) hands out a finished turn.
--
-- Two clocks run against each other (core spec §5.1):
--  * Early silence. Voice activity (the provider's if it reports it, else the leg's) says "silence"
--    a short while after the last voiced frame; the recogniser then transcribes all that was said
--    so far, unasked, so the text is usually there before the turn may end.
--  * The end of turn. It falls a delay after the LAST VOICED FRAME, not after the silence event:
--    400 ms when the words form a closed sentence, answer a question or are known to be complete,
--    1,200 ms after a hesitation, digits or a conjunction (people pause there) and while digits are
--    asked for, else 600 ms; also after a lone "yes," which often has more behind it.
-- Voice before the delay is over takes the decision back. Only when it is over the final text is
-- asked for (`request`): so words on both sides of a pause are recognised together.
--
-- A recogniser that decides by itself when a turn is over (`by_provider`) is left to do so; should
-- it stay silent for long after the voice, what was understood is the turn.
local text = require("cxb.text")
local numbers = require("cxb.numbers")

-- Callers mix languages within a sentence: these lists hold in every call.
local always = { require("cxb.turn.en"), require("cxb.turn.hi") }
local provider_patience_ms = 7000

local M = {}
M.__index = M

local function set_of(list)
  local set = {}
  for _, item in ipairs(list or {}) do
    set[item:lower()] = true
  end
  return set
end

-- One list of the always known languages, the call's own, and the configuration.
local function words_of(name, language, more)
  local all = {}
  local function add(list)
    for _, item in ipairs(list or {}) do
      all[#all + 1] = item:lower()
    end
  end
  for _, lists in ipairs(always) do
    add(lists[name])
  end
  local code = (language or ""):lower():match("^%a+")
  local known, own = pcall(require, "cxb.turn." .. (code or "en"))
  add(known and code ~= "en" and code ~= "hi" and own[name])
  add(more)
  return all
end

---@class cxb.turn.options
---@field language? string "en-IN": lists of lua/cxb/turn/<language>.lua are added
---@field by_provider? boolean the recogniser says when a turn is over
---@field sure_at_pause? boolean true: its text after a pause is as good as final
---@field delay_ms? number 600
---@field short_ms? number 400
---@field long_ms? number 1200
---@field dynamic? boolean true; false: always delay_ms
---@field floor_ms? number 0, the delay is never shorter
---@field max_utterance_ms? number 60000
---@field backchannels? string[] added to the list of the language
---@field high_intent? string[] likewise
---@field request? fun(id: integer) asks for the final text of all since the last one: on_final(id)

---@param opts? cxb.turn.options
function M.new(opts)
  opts = opts or {}
  local function set(name, more)
    return set_of(words_of(name, opts.language, more))
  end
  return setmetatable({
    delay_ms = opts.delay_ms or 600, short_ms = opts.short_ms or 400,
    long_ms = opts.long_ms or 1200, dynamic = opts.dynamic ~= false,
    floor_ms = opts.floor_ms or 0, max_utterance_ms = opts.max_utterance_ms or 60000,
    request = opts.request, by_provider = opts.by_provider or false,
    sure_at_pause = opts.sure_at_pause ~= false,
    high_intent = words_of("high_intent", opts.language, opts.high_intent),
    backchannels = set("backchannels", opts.backchannels), hesitations = set("hesitations"),
    joining = set("conjunctions"), openers = set("openers"), next_id = 0, segments = {},
    partial = "",
  }, M)
end

---Forgets what was said and not yet handed out. A transcription still under way is ignored when
---it comes.
function M:reset()
  self.segments, self.partial, self.waiting, self.decided_at = {}, "", nil, nil
  self.began_at, self.voiced_at, self.final_at, self.confidence = nil, nil, nil, nil
  self.first_id, self.forced = self.next_id + 1, nil
  self.ended, self.eager = nil, nil
  if self.speaking then
    self.began_at = self.spoke_at
  end
end

---What is understood so far is taken for nothing: the final text, if it is under way, still counts.
function M:doubt()
  if self.waiting then
    self.partial = ""
  else
    self:reset()
  end
end

---Voice began at `at`.
function M:on_speech(at)
  self.speaking, self.spoke_at = true, at
  self.began_at = self.began_at or at
  if not self.waiting and not self.forced and not self.ended then
    self.decided_at = nil
  end
end

---Voice ended; `at` is the last voiced frame. News of an end before the last beginning is stale.
function M:on_silence(at)
  if self.speaking and self.spoke_at and at < self.spoke_at then
    return
  end
  self.speaking = false
  self.voiced_at = at
  self.began_at = self.began_at or at
end

---What is understood so far of the words since the last final text.
function M:on_partial(said)
  self.partial = said
end

---A final text: the answer to the request `id`, or (nil) one the provider made by itself.
function M:on_final(id, said, confidence, now)
  if id and id < (self.first_id or 1) then
    return
  end
  said = (said or ""):match("^%s*(.-)%s*$")
  if said ~= "" then
    self.began_at = self.began_at or now
    self.voiced_at = self.voiced_at or (not self.speaking and now or nil)
    self.segments[#self.segments + 1] = said
    if confidence then
      self.confidence = math.min(self.confidence or 1, confidence)
    end
  end
  self.partial = ""
  self.final_at = now
  if id == self.waiting then
    self.waiting = nil
  end
  if self.speaking and not self.forced then
    self.decided_at = nil -- the caller went on meanwhile
  end
end

---The recogniser takes the turn for over, but is not sure.
function M:on_eager(said)
  self.eager, self.partial = said, said
end

---The caller went on after all.
function M:on_resumed()
  self.eager = nil
end

---The recogniser's own end of a turn, with all its words. One that nobody has taken yet goes on.
function M:on_turn_end(said, confidence, now)
  said = (said or ""):match("^%s*(.-)%s*$")
  if said == "" then
    self.partial, self.eager = "", nil
    return not self.ended and self:reset() or nil
  end
  if not self.ended then
    self.segments, self.confidence = {}, nil
  end
  self.segments[#self.segments + 1] = said
  self.partial, self.eager = "", nil
  if confidence then
    self.confidence = math.min(self.confidence or 1, confidence)
  end
  self.began_at = self.began_at or now
  self.voiced_at = self.voiced_at or now
  self.ended, self.waiting, self.decided_at, self.final_at = true, nil, now, now
end

---All words of the turn so far, the unfinished ones too.
---@return string
function M:words_so_far()
  local all = table.concat(self.segments, " ")
  if self.partial ~= "" then
    all = all == "" and self.partial or all .. " " .. self.partial
  end
  return all
end

-- "Yes, … that is right": a lone opening word is often followed by the rest of the answer.
local function may_go_on(self, said, words)
  return said:match(",%s*$") ~= nil or (#words == 1 and self.openers[words[1]] == true)
end

---Milliseconds from the last voiced frame to the end of the turn, for these words.
---@param said string
---@param expect? {answer?: boolean, digits?: boolean, complete?: fun(said: string): boolean}
function M:delay(said, expect)
  if not self.dynamic then
    return math.max(self.delay_ms, self.floor_ms)
  end
  local words = text.words(said)
  local last = words[#words]
  local delay = self.delay_ms
  if expect and expect.complete and expect.complete(said) then
    delay = self.short_ms
  elseif (expect and expect.digits) or (last and (self.hesitations[last] or self.joining[last]
    or numbers.is_digit_word(last))) then
    delay = self.long_ms
  elseif may_go_on(self, said, words) then
    delay = math.max(self.delay_ms, self.short_ms)
  elseif said:match("[.?!]%s*$") or (expect and expect.answer) then
    delay = self.short_ms
  end
  return math.max(delay, self.floor_ms)
end

---When tick() should be called next; nil: not before another event.
function M:due(expect)
  if self.waiting then
    return nil
  elseif self.decided_at then
    return self.decided_at
  elseif self.speaking then
    return self.began_at and self.began_at + self.max_utterance_ms or nil
  elseif self.by_provider then
    return self.voiced_at and self.voiced_at + provider_patience_ms
  end
  return self.voiced_at and self.voiced_at + self:delay(self:words_so_far(), expect)
end

---@class cxb.turn
---@field text string "" when there was voice but no words
---@field began_at number first voiced frame, monotonic ms
---@field voiced_at number last voiced frame
---@field decided_at number the delay was over
---@field final_at number the words were there
---@field confidence? number
---@field language? string as recognised, where the recogniser tells

---@return cxb.turn? turn the finished turn; it is handed out once
function M:tick(now, expect)
  local due = self:due(expect)
  if not due or now < due then
    return nil
  end
  if not self.decided_at then
    self.decided_at, self.forced = due, self.speaking or nil
    if self.request and not self.by_provider then
      self.next_id = self.next_id + 1
      self.waiting = self.next_id
      self.request(self.waiting)
      return nil
    end
  end
  -- What is understood after a turn's end belongs to the next one.
  local next_words = self.ended and self.partial or ""
  self.partial = self.ended and "" or self.partial
  local turn = {
    text = self:words_so_far(), language = self.language, began_at = self.began_at,
    voiced_at = self.voiced_at or now, decided_at = self.decided_at,
    final_at = self.final_at or self.decided_at, confidence = self.confidence,
  }
  local speaking = self.speaking
  self:reset()
  self.partial = next_words
  if speaking then
    self.began_at = now -- what was too long for one turn goes on in the next
  end
  return turn
end

---Only tokens that mean "go on", three at most.
function M:is_backchannel(said)
  local words = text.words(said)
  if #words == 0 or #words > 3 then
    return false
  end
  for _, word in ipairs(words) do
    if not self.backchannels[word] then
      return false
    end
  end
  return true
end

---The phrase that may interrupt at any length, when the text holds one.
---@return string?
function M:high_intent_phrase(said)
  local plain = " " .. table.concat(text.words(said), " ") .. " "
  for _, phrase in ipairs(self.high_intent) do
    if plain:find(" " .. phrase .. " ", 1, true) then
      return phrase
    end
  end
end

return M
