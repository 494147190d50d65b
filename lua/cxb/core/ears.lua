-- Speech to text of one call: feeds the provider, keeps the turn, asks for final texts when it is
-- over. A lost connection is opened again with what was said last; when it cannot be, the next
-- provider takes over; when none is left, the session is told.
local Turn = require("cxb.turn")
local botconfig = require("cxb.core.botconfig")
local failover = require("cxb.failover")
local providers = require("providers")

local M = {}
M.__index = M

local open_ms = 2000
-- Pauses between attempts to reach the last provider there is, and how much speech is repeated.
local reconnect_ms = { 100, 250, 500, 1000, 1000, 1500 }
local replay_ms = 2000
-- A connection that is lost sooner, several times in a row, is no connection.
local short_ms, most_short = 2000, 3

---@param session table
function M.new(session)
  local config = session.config
  local vad = botconfig.vad(config)
  local t = config.turn
  local self = setmetatable({ session = session, vad = vad, short = 0 }, M)
  if config.stt.provider ~= "none" then
    self.chain = session:chain("stt")
    self.provider = providers.get("stt", config.stt.provider)
    self.turn = Turn.new({
      language = config.stt.language, delay_ms = t.endpoint_delay_ms, dynamic = t.dynamic,
      floor_ms = vad.floor_ms, max_utterance_ms = t.max_utterance_seconds * 1000,
      backchannels = t.backchannels, high_intent = t.high_intent,
      by_provider = self:turns_by(self.provider, config.stt),
      request = function(id)
        self:finalize(id)
      end,
    })
  end
  return self
end

---Whether this provider decides the ends of turns in this call. Its `sends_turns` is a boolean or a
---function of the stage's configuration.
function M:turns_by(provider, stage)
  local sends = provider.sends_turns
  if type(sends) == "function" then
    sends = sends(stage)
  end
  return (sends or false) and self.session.config.turn.mode ~= "vad"
end

local function tell(self, event)
  self.session.call.inbox:push(event or { type = "words" })
end

-- What the recogniser doubts as much as the bot's configuration says is not taken for words.
local function believed(self, event)
  local least = self.chain.choice.extra and self.chain.choice.extra.min_confidence
  local doubted = type(least) == "number" and event.confidence and event.confidence < least
  return doubted and "" or event.text
end

local on = {}

function on.speech(self, event)
  self.session:voiced()
  self.turn:on_speech(event.at)
  tell(self)
end

function on.silence(self, event)
  self.session:voiced(event.at)
  self.turn:on_silence(event.at)
  tell(self)
end

function on.partial(self, event)
  self.session:touch()
  self.turn:on_partial(event.text)
  tell(self)
end

function on.final(self, event)
  self.turn:on_final(event.id, believed(self, event), event.confidence, cxb.time.mono())
  self.turn.language = event.language or self.turn.language
  tell(self)
end

function on.turn_eager(self, event)
  if self.turn.by_provider then
    self.turn:on_eager(event.text)
    tell(self, { type = "eager", text = event.text })
  end
end

function on.turn_resumed(self)
  self.turn:on_resumed()
  tell(self, { type = "resumed" })
end

function on.turn_end(self, event)
  local said, now = believed(self, event), cxb.time.mono()
  if self.turn.by_provider then
    self.turn:on_turn_end(said, event.confidence, now)
  else
    self.turn:on_final(nil, said, event.confidence, now)
  end
  self.turn.language = event.language or self.turn.language
  tell(self)
end

on["error"] = function(self, event)
  self.chain:failed(event.code, event.message)
end

function on.lost(self, event)
  self.stt = nil
  if self.closed then
    return
  end
  self.chain:failed(event.code or "closed", event.message)
  self.short = cxb.time.mono() - self.connected_at < short_ms and self.short + 1 or 0
  if self.short >= most_short and not self.chain:advance() then
    return self.session:provider_lost("stt")
  end
  self:connect(true)
end

-- (waits)
local function open(self, choice)
  local provider = providers.get("stt", choice.provider)
  if not provider then
    return nil, "none", "this provider hears nothing"
  end
  local s, mine = self.session, {}
  self.connection = mine
  local stt, code, message = failover.within(open_ms, function()
    return provider.open({
      stage = choice, settings = s.settings, rate = s.rate, vad = self.vad,
      on_event = function(event)
        if on[event.type] and not self.closed and self.connection == mine then
          on[event.type](self, event)
        end
      end,
    })
  end)
  if stt and self.closed then
    stt:close()
    return nil, "cancelled"
  elseif stt then
    self.provider = provider
    self.turn.by_provider = self:turns_by(provider, choice)
    self.turn.sure_at_pause = provider.sends_vad or false -- it transcribes at each pause it tells
  end
  return stt, code, message
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
  local stt = self.chain:run(function(choice)
    if self.closed then
      return nil, "cancelled"
    end
    return open(self, choice)
  end, function(_, tries)
    local pause = not self.chain:has_next() and reconnect_ms[tries]
    return pause and cxb.time.sleep(pause) ~= nil and not self.closed
  end)
  if stt then
    self.stt, self.hinted, self.connected_at = stt, nil, cxb.time.mono()
    self.session.call:event("stt_connected", { provider = self.chain.choice.provider })
    resume(self, again)
  elseif not self.closed then
    self.session:provider_lost("stt")
  end
end

---(does not wait)
function M:connect(again)
  if self.chain then
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
    self.stt:finalize(id, self.turn.voiced_at)
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
