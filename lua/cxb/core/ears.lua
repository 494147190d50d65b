-- Speech to text of one call: feeds the provider, keeps the turn, asks for final texts when it is
-- over. A lost connection is opened again with what was said last; when it cannot be, the session
-- is told.
local Turn = require("cxb.turn")
local botconfig = require("cxb.core.botconfig")
local providers = require("providers")

local M = {}
M.__index = M

-- Pauses between attempts to open the connection again, and how much speech is repeated to it.
local reconnect_ms = { 100, 250, 500, 1000, 1000, 1500 }
local replay_ms = 2000

---@param session table
function M.new(session)
  local config = session.config
  local vad = botconfig.vad(config)
  local t = config.turn
  local self = setmetatable({ session = session, vad = vad }, M)
  if config.stt.provider ~= "none" then
    self.turn = Turn.new({
      delay_ms = t.endpoint_delay_ms, dynamic = t.dynamic, floor_ms = vad.floor_ms,
      max_utterance_ms = t.max_utterance_seconds and t.max_utterance_seconds * 1000,
      backchannels = t.backchannels, high_intent = t.high_intent,
      request = function(id)
        self:finalize(id)
      end,
    })
    self.provider = providers.get("stt", config.stt.provider)
  end
  return self
end

local function nudge(self)
  self.session.call.inbox:push({ type = "words" })
end

local on = {}

function on.speech(self, event)
  self.session:touch()
  self.turn:on_speech(event.at)
  nudge(self)
end

function on.silence(self, event)
  self.session:touch()
  self.turn:on_silence(event.at)
  nudge(self)
end

function on.partial(self, event)
  self.turn:on_partial(event.text)
  nudge(self)
end

function on.final(self, event)
  self.turn:on_final(event.id, event.text, event.confidence, cxb.time.mono())
  nudge(self)
end

on["error"] = function(self, event)
  self.session:provider_error("stt", event.code, event.message)
end

function on.lost(self, event)
  self.stt = nil
  if self.closed then
    return
  end
  self.session:provider_error("stt", event.code, event.message)
  self:connect(true)
end

local function open(self)
  local s = self.session
  return self.provider.open({
    stage = s.config.stt, settings = s.settings, rate = s.rate, vad = self.vad,
    on_event = function(event)
      if on[event.type] and not self.closed then
        on[event.type](self, event)
      end
    end,
  })
end

-- After a loss what was being said is heard again from its last seconds; without speech under way
-- nothing is repeated, so nothing is heard twice.
local function resume(self, again)
  local turn = self.turn
  local open_speech = again and (turn.speaking or turn.voiced_at)
  if open_speech then
    turn.speaking, turn.waiting, turn.decided_at, turn.partial = false, nil, nil, ""
  end
  self.fed_at = self.fed_at or cxb.time.mono()
  self.stt:feed(self.session.leg, open_speech and replay_ms or 0)
end

local function connect(self, again)
  for attempt = 0, #reconnect_ms do
    if attempt > 0 then
      cxb.time.sleep(reconnect_ms[attempt])
    end
    if self.closed then
      return
    end
    local stt, code, message = open(self)
    if stt then
      if self.closed then
        stt:close()
        return
      end
      self.stt, self.hinted = stt, nil
      self.session.call:event("stt_connected", { provider = self.session.config.stt.provider })
      resume(self, again)
      return
    end
    if attempt == 0 then
      self.session:provider_error("stt", code, message)
    end
  end
  self.session.leg:post({ type = "provider_lost", stage = "stt" })
end

---(does not wait)
function M:connect(again)
  if self.provider then
    cxb.task.spawn("stt_connect", connect, self, again)
  end
end

---The leg's own voice activity counts when the provider reports none.
function M:leg_speech(at)
  if self.turn and not self.provider.sends_vad then
    on.speech(self, { at = at })
  end
end

function M:leg_silence(at)
  if self.turn and not self.provider.sends_vad then
    on.silence(self, { at = at })
  end
end

-- Without a connection there is no text to wait for; the words so far are the turn's.
function M:finalize(id)
  if self.stt then
    self.stt:finalize(id)
  else
    self.turn:on_final(id, self.turn.partial, nil, cxb.time.mono())
  end
end

---Words likely to come in the next turn; nil: none.
---@param words? string[]
function M:hint(words)
  if self.stt and words ~= self.hinted then
    self.hinted = words
    self.stt:hints(words or {})
  end
end

function M:forget()
  if self.stt then
    self.stt:reset()
  end
end

---Seconds of audio that were listened to.
function M:seconds()
  return self.fed_at and ((self.closed_at or cxb.time.mono()) - self.fed_at) / 1000 or 0
end

function M:close()
  self.closed_at = cxb.time.mono()
  self.closed = true
  if self.stt then
    self.session.leg:tap(nil)
    self.stt:close()
  end
end

return M
