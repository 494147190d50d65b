-- What the caller may do to an utterance of the bot (cxb.call.speaking), and what it means.
--
-- A cut by voice or by words that are not final yet may be a false one (a cough, a word that the
-- recogniser takes back). So the queue is cleared at once, but what was to follow is kept until the
-- words are there: with words the caller has the turn, without them the bot goes on from the cut.
local text = require("cxb.text")

local M = {}

---What may interrupt.
---@param call table cxb.call
---@param barge? false|"words"|"vad"|"dtmf" nil: as the bot is configured; false: nothing
function M.mode(call, barge)
  if barge == false then
    return { forget = true }
  end
  local config = call.config
  local minimum = config.min_words_interruption or 3
  local mode = barge or (minimum == 0 and "vad" or "words")
  local extra = config.stt and config.stt.extra
  if extra and extra.should_interrupt == false and not barge then
    mode = "dtmf"
  end
  return {
    vad = mode == "vad" and not call.first_say, dtmf = true,
    words = mode == "words" or (mode == "vad" and call.first_say), minimum = math.max(1, minimum),
  }
end

---Words of the caller that cut the bot short. While the opening plays only words count of which the
---recogniser is sure: final ones, or those it gave at a pause; later what it understands so far.
---@return string? by "words" | "high_intent"
function M.words_that_cut(s)
  local turn, mode = s.call.turn, s.mode
  if not mode.words or not turn or s.cut then
    return nil
  end
  local said = turn:words_so_far()
  if said ~= "" and turn:high_intent_phrase(said) then
    return "high_intent"
  end
  if s.call.first_say and (turn.speaking or not turn.sure_at_pause) then
    said = table.concat(turn.segments, " ")
  end
  if text.count_words(said) >= mode.minimum and not turn:is_backchannel(said) then
    return "words"
  end
end

---While nothing sounds, what the caller says is a turn of its own, before the answer.
---@return table? turn
function M.turn_in_silence(s, now)
  local call, turn = s.call, s.call.turn
  local done = turn and turn:tick(now)
  if not done or done.text == "" then
    return nil
  elseif s.start_ms and done.voiced_at <= s.quiet_at and turn:is_backchannel(done.text) then
    call:event("backchannel", {}) -- said while the bot spoke
    return nil
  end
  return done
end

local may_be_false = { vad = true, words = true, high_intent = true }

local function false_ms(s)
  local turn = s.call.config.turn
  return turn and turn.false_interruption_ms or 0
end

-- When a cut without words is taken for a false one.
local function false_at(s)
  local turn = s.call.turn
  return math.max(s.cut.at, turn.voiced_at or 0, turn.waiting and turn.decided_at or 0)
    + false_ms(s)
end

-- Nothing is under way that could still bring words.
local function no_words_come(turn)
  return not turn.speaking
    and (turn.waiting or not turn:due() or (turn.by_provider and turn:words_so_far() == ""))
end

---When a cut is to be judged again without an event; nil: not before one.
function M.judged_at(s)
  local turn = s.call.turn
  return no_words_come(turn) and false_at(s) or turn:due()
end

---Whether the caller really has the turn.
---@return boolean? real nil while it is not known
function M.verdict(s, now)
  local call, turn = s.call, s.call.turn
  if not may_be_false[s.cut.by] or not turn or false_ms(s) == 0 or call.digits ~= ""
    or call.typed then
    return true
  end
  local done = turn:tick(now)
  local said = done and done.text or table.concat(turn.segments, " ")
  if said ~= "" and not turn:is_backchannel(said) then
    call.pending = done
    return true
  elseif done then
    if said ~= "" then
      call:event("backchannel", {})
    end
    return false
  elseif no_words_come(turn) and now >= false_at(s) then
    turn:doubt()
    return false
  end
end

return M
