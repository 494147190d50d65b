-- call:listen, call:ask and call:dtmf: what the caller says, types or keys in.
local M = {}

-- Voice shorter than this without words is noise, not something to ask about.
local min_unclear_ms = 200

---What was said until now is no answer to what comes.
function M:forget_speech()
  self.digits, self.pending = "", nil
  if self.turn then
    self.turn:reset()
  end
  self.session:forget_speech()
end

local function enter_turn(self, turn)
  local entry = {
    turn = self.facts:next_turn(), role = "customer", text = turn.text,
    start_ms = self:t_ms(turn.began_at), end_ms = self:t_ms(turn.voiced_at),
    confidence = turn.confidence, language = turn.language or self.config.stt.language,
  }
  self.facts:add("turn", entry)
  self.first_say = false
  self:event("turn", { turn = entry.turn })
  self.session:transcript("customer", turn.text)
  self.asked = {
    turn = entry.turn, voiced_at = turn.voiced_at, decided_at = turn.decided_at,
    final_at = turn.final_at,
  }
end

local function enter_digits(self, digits)
  local now, said = self:t_ms(), "[dtmf:" .. digits .. "]"
  self.facts:add("turn", {
    turn = self.facts:next_turn(), role = "dtmf", text = said, start_ms = now, end_ms = now,
  })
  self:event("dtmf", { digits = #digits })
  self.session:transcript("dtmf", said)
  self.asked = nil
end

-- Digits keyed so far, complete by number, terminator or pause. `keys`: {max, terminators, timeout}
local function digits_done(self, keys, now)
  local digits = self.digits
  if digits == "" then
    return nil
  end
  local stop = keys.terminators ~= ""
    and digits:find("[" .. keys.terminators:gsub("%W", "%%%0") .. "]")
  if stop then
    self.digits = digits:sub(stop + 1)
    return digits:sub(1, stop - 1), digits:sub(stop, stop)
  end
  if #digits >= keys.max then
    self.digits = digits:sub(keys.max + 1)
    return digits:sub(1, keys.max)
  end
  if now >= (self.digit_at or now) + keys.timeout * 1000 then
    self.digits = ""
    return digits
  end
end

local function key_rules(dtmf)
  if dtmf == false then
    return nil
  end
  local d = type(dtmf) == "table" and dtmf or {}
  return { max = d.max or 32, terminators = d.terminators or "#", timeout = d.timeout or 3 }
end

-- A turn that is over, as listen() answers it; nil: it was noise, listen on.
local function answer_of(self, turn)
  if turn.text == "" then
    if turn.voiced_at - turn.began_at < min_unclear_ms then
      return nil
    end
    self.asked = nil
    return { text = "", unclear = true }
  end
  enter_turn(self, turn)
  return { text = turn.text, confidence = turn.confidence }
end

local function typed(self, said)
  local now = cxb.time.mono()
  self.typed = nil
  enter_turn(self, { text = said, began_at = now, voiced_at = now, decided_at = now,
    final_at = now })
  return { text = said, confidence = 1, typed = true }
end

local function on_event(self, event, keys, opts)
  if event.type == "hangup" then
    return { hangup = true }
  elseif event.type == "eager" and opts.ahead then
    self:think_ahead(event.text)
  elseif event.type == "resumed" then
    self:think_no_further()
  elseif event.type == "dtmf" then
    self.digit_at = cxb.time.mono()
    if keys then
      self.digits = self.digits .. event.digit
    end
  elseif event.type == "text" then
    return typed(self, event.text)
  end
end

-- The next moment something may be over without an event: pause after digits, the turn, silence.
local function next_deadline(self, keys, expect, silence_at)
  local at
  local function sooner(t)
    at = t and (not at or t < at) and t or at
  end
  if keys and self.digits ~= "" then
    sooner((self.digit_at or cxb.time.mono()) + keys.timeout * 1000)
  elseif not (self.turn and (self.turn.speaking or self.turn.waiting)) then
    sooner(silence_at)
  end
  if self.turn then
    sooner(self.turn:due(expect))
  end
  return at
end

---@class cxb.call.listening
---@field timeout? number seconds of silence before {silence=true}, 8
---@field dtmf? false|{max?: integer, terminators?: string, timeout?: number} keys: seconds between
---@field complete? fun(text: string): boolean these words need no more waiting
---@field digits? boolean digits are asked for: people pause between them
---@field ahead? boolean the language model may begin to think before the turn is over for sure
---@field hints? string[] words likely to come: the recogniser prefers them where it doubts

---@class cxb.call.heard
---@field text? string
---@field confidence? number
---@field dtmf? string
---@field terminator? string
---@field silence? boolean nothing was said or keyed
---@field unclear? boolean there was voice, but no words were understood
---@field hangup? boolean

local function is_hearing(self)
  return self.digits ~= "" or (self.turn and (self.turn.speaking or self.turn.waiting))
end

-- What is complete by now, without another event.
local function complete(self, keys, expect, now)
  if self.gone then
    return { hangup = true }
  elseif self.typed then
    return typed(self, self.typed)
  elseif self.pending then
    local turn = self.pending
    self.pending = nil
    return answer_of(self, turn)
  end
  if keys then
    local digits, terminator = digits_done(self, keys, now)
    if digits then
      enter_digits(self, digits .. (terminator or ""))
      return { dtmf = digits, terminator = terminator }
    end
  end
  local turn = self.turn and self.turn:tick(now, expect)
  return turn and answer_of(self, turn)
end

---Waits for the caller: a turn of speech, keys, or silence.
---@param opts? cxb.call.listening
---@return cxb.call.heard
function M:listen(opts)
  opts = opts or {}
  local keys = key_rules(opts.dtmf)
  local expect = {
    answer = self.said_question, digits = opts.digits, complete = opts.complete,
  }
  local timeout_ms = (opts.timeout or 8) * 1000
  local silence_at = cxb.time.mono() + timeout_ms
  self.session:state("listening")
  self.session:hint(opts.hints)
  local answer
  repeat
    answer = complete(self, keys, expect, cxb.time.mono())
    if not answer then
      local event = self:next(next_deadline(self, keys, expect, silence_at))
      answer = event and on_event(self, event, keys, opts)
      local now = cxb.time.mono()
      if is_hearing(self) then
        silence_at = now + timeout_ms
      elseif not event and now >= silence_at and not (self.turn and self.turn:due(expect)) then
        return { silence = true }
      end
    end
  until answer
  self.session:state("thinking")
  return answer
end

---Says something and listens for the answer; opts are those of say and listen.
---@return table as listen, with `said` = the answer of say
function M:ask(said, opts)
  self.session:hint(opts and opts.hints)
  local spoken = self:say(said, opts)
  if spoken.hangup then
    return { hangup = true, said = spoken }
  end
  local heard = self:listen(opts)
  heard.said = spoken
  return heard
end

---Waits for keys only; what is said meanwhile is not listened to.
---@param opts? {max?: integer, terminators?: string, timeout?: number, wait?: number} seconds
---between keys (3) and before the first (8)
---@return cxb.call.heard
function M:dtmf(opts)
  opts = opts or {}
  local turn = self.turn
  self.turn = nil
  local heard = self:listen({ timeout = opts.wait or 8, dtmf = opts })
  self.turn = turn
  self:forget_speech()
  return heard
end

return M
