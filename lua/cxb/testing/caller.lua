-- The caller of a spec: a script on virtual time. Each step waits until the bot listens, as people
-- do, unless it says that it interrupts.
local ear = require("cxb.testing.ear")
local text = require("cxb.text")

---@class cxb.testing.caller
local M = {}
M.__index = M

local beat_ms = 50          -- how often the caller looks what happens
local breath_ms = 400       -- before answering
local patience_ms = 600000  -- for a bot that does not listen
local taken_ms = 6000       -- for a turn to be taken
local word_ms = 300

---What the bot said, from entry `from` of the transcript on.
---@return string
function M.words_of(transcript, from)
  local out = {}
  for i = from or 1, #transcript do
    if transcript[i].role == "bot" then
      out[#out + 1] = transcript[i].text
    end
  end
  return table.concat(out, " ")
end

---The transcript as lines.
---@return string
function M.lines(transcript)
  local out = {}
  for i, entry in ipairs(transcript) do
    out[i] = entry.role .. ": " .. entry.text
  end
  return table.concat(out, "\n")
end

-- An error of the script: at the line of the spec that called the step.
local function fail(self, why)
  local so_far = M.lines(self.stage.facts.transcript)
  error(("%s\nso far:\n%s"):format(why, so_far ~= "" and so_far or "(nothing was said)"), 3)
end

local function over(self)
  local session = self.stage.session
  return session ~= nil and session.closed == true
end

local function listens(self)
  local session = self.stage.session
  return session ~= nil and session.shown == "listening" and not session.ending
end

local function wait_until(self, condition, limit_ms)
  local deadline = cxb.time.mono() + limit_ms
  while not condition(self) and not over(self) do
    if cxb.time.mono() >= deadline then
      return false
    end
    cxb.time.sleep(beat_ms)
  end
  return condition(self)
end

-- Until it is the caller's turn.
local function await_turn(self)
  if not wait_until(self, listens, patience_ms) then
    local ending = self.stage.session.ending
    return over(self) and ("the call is over (disconnected by %s)"):format(ending and ending.by)
      or "the bot does not listen"
  end
  self.from = #self.stage.facts.transcript + 1
  cxb.time.sleep(breath_ms)
end

-- Until the bot has spoken for so long.
local function await_words(self, after_ms)
  local speaks = wait_until(self, function()
    return self.stage.leg.queue[1] ~= nil and self.stage.leg.queue[1].playing
  end, patience_ms)
  if not speaks then
    return "the bot does not speak"
  end
  self.from = #self.stage.facts.transcript + 1
  cxb.time.sleep(after_ms or 1000)
end

-- Until what the caller did was taken: the flow does something else than listening.
local function await_taken(self)
  local before = self.changes
  wait_until(self, function()
    return self.changes ~= before
  end, taken_ms)
end

---@param stage table cxb.testing.stage
---@param script fun(caller: cxb.testing.caller)
function M.new(stage, script)
  local self = setmetatable({ stage = stage, from = 1, changes = 0 }, M)
  self.task = cxb.task.spawn("caller", function()
    while not stage.session do
      cxb.time.sleep(1)
    end
    stage.session.on_state = function()
      self.changes = self.changes + 1
    end
    local ok, why = pcall(script, self)
    self.failure = not ok and why or nil
    if ok then
      wait_until(self, listens, patience_ms)
    end
    self:hangs_up()
  end)
  return self
end

---(waits) Until the script is over.
function M:wait()
  self.task:wait()
end

local function speak(self, said, ms)
  self.stage:speaks(0, ms, said)
  cxb.time.sleep(ms)
  await_taken(self)
end

---Says something once the bot listens, and waits until it was taken.
---@param said string
function M:says(said)
  local trouble = await_turn(self)
  if trouble then
    fail(self, ("caller:says(%q): %s"):format(said, trouble))
  end
  speak(self, said, #text.words(said) * word_ms)
end

---Says something while the bot speaks.
---@param said string
---@param after_ms? number after it was heard to speak, 1000
function M:interrupts(said, after_ms)
  local trouble = await_words(self, after_ms)
  if trouble then
    fail(self, ("caller:interrupts(%q): %s"):format(said, trouble))
  end
  if self.stage:may("vad") then
    self.stage.leg:clear("vad")
  end
  speak(self, said, #text.words(said) * word_ms)
end

---Presses keys once the bot listens; `interrupting`: so many ms after it began to speak.
---@param keys string "12#"
---@param o? {interrupting?: number}
function M:presses(keys, o)
  local trouble
  if o and o.interrupting then
    trouble = await_words(self, o.interrupting)
  else
    trouble = await_turn(self)
  end
  if trouble then
    fail(self, ("caller:presses(%q): %s"):format(keys, trouble))
  end
  self.stage:keys(0, keys)
  cxb.time.sleep((#keys - 1) * 200)
  await_taken(self)
end

---Says what is in a WAV file, as the embedded recogniser understands it (the speech service of
---CXB_SPEECH_URL runs).
---@param file string
---@return string text what was understood
function M:plays(file)
  local trouble = await_turn(self)
  if trouble then
    fail(self, ("caller:plays(%q): %s"):format(file, trouble))
  end
  local hints = self.stage.caller.hints
  local said, ms = self.stage.sched.outside(function()
    return ear.hear(file, hints)
  end)
  if not said then
    fail(self, ("caller:plays(%q): %s"):format(file, ms))
  end
  speak(self, said, ms)
  return said
end

---Makes a noise that is no word once the bot listens.
---@param ms? number 500
function M:coughs(ms)
  local trouble = await_turn(self)
  if trouble then
    fail(self, "caller:coughs(): " .. trouble)
  end
  self.stage:coughs(0, ms or 500)
  cxb.time.sleep(ms or 500)
  await_taken(self)
end

---Says nothing for so long, once the bot listens.
---@param seconds number
function M:silent(seconds)
  wait_until(self, listens, patience_ms)
  self.from = #self.stage.facts.transcript + 1
  local deadline = cxb.time.mono() + seconds * 1000
  wait_until(self, function()
    return cxb.time.mono() >= deadline
  end, seconds * 1000)
end

---The bot has said these words since the caller's last turn. Waits for the end of its words.
---@param words string plain text
---@return string all it said since
function M:hears(words)
  wait_until(self, listens, patience_ms)
  local said = M.words_of(self.stage.facts.transcript, self.from)
  if not said:find(words, 1, true) then
    fail(self, ("the bot did not say %q but %q"):format(words, said))
  end
  return said
end

---Hangs up, whatever the bot is doing.
function M:hangs_up()
  if not over(self) and not self.gone then
    self.gone = true
    self.stage.leg:caller_gone(1000, "customer")
  end
end

return M
