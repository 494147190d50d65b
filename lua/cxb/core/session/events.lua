-- What each event of the leg, and the news that other tasks post to it, means for a session
-- (cxb.core.session): event type → function(session, event).
local on = {}

-- After its longest duration the call has this long to end by itself; then the media loop ends it.
local call_age_ms = 120000

local function script_error(text)
  text = tostring(text or "")
  if text:find("stalled at ", 1, true) then
    return "stalled"
  elseif text:find("memory cap reached", 1, true) or text:find("not enough memory", 1, true) then
    return "memory"
  end
  return "script"
end

function on.answer(self, event)
  self.answered_at = cxb.time.mono()
  self:touch()
  self.leg:limit(self.config.max_call_duration_seconds * 1000 + call_age_ms)
  self.facts:add("answer", { t_ms = event.t_ms })
  if self.on_answer then
    self.on_answer()
  end
  if not self.ending then
    self:start_flow()
  end
end

function on.speech(self, event)
  self:voiced()
  self.ears:leg_speech(self.origin + event.t_ms)
end

function on.silence(self, event)
  self:voiced(self.origin + event.t_ms)
  self.ears:leg_silence(self.origin + event.t_ms)
end

local function pass_on(self, event)
  self:touch()
  self.call.inbox:push(event)
end

for _, kind in ipairs({ "dtmf", "text", "beep", "participant", "data" }) do
  on[kind] = pass_on
end

-- A caller who was taken over: however the leg ends now, we gave them away.
function on.transfer(self, event)
  if event.ok then
    self.transferred = true
    self:finish("bot")
  end
  pass_on(self, event)
end

function on.first_frame(self, event)
  self.sounding[event.utterance] = true
  pass_on(self, event)
end

function on.played(self, event)
  self.sounding[event.utterance] = nil
  pass_on(self, event)
end

function on.cleared(self, event)
  self.sounding = {}
  pass_on(self, event)
end

function on.stop(self, event)
  self.stopped = true
  self:finish("customer")
  self.said = event.by ~= "" and event.by or nil
  self:over()
end

local leg_errors = {
  protocol_errors = { "error", "protocol_errors" }, slow_peer = { "error", "slow_peer" },
}

on["error"] = function(self, event)
  local what = event.error or "error"
  if what == "media_timeout" then
    self.call:event("media_timeout", {})
    self.stopped = true
    self:finish("customer")
  elseif what == "call_age" then
    cxb.log.error("the call did not end at its time", { code = what })
    self:finish("timeout")
  elseif what:match("^recording") then
    cxb.log.error("the recording stopped", { error = what })
    self.call:event("recording_paused", { error = what })
    return
  elseif what:match("^carrier:") then -- the call goes on unless the carrier closes it then
    self.carrier_error = what
    self.call:event("service_error", { stage = "transport", error = what:sub(9) })
    return
  else
    local ending = leg_errors[what] or { "error", what }
    self:finish(ending[1], ending[2])
  end
  self.leg:abort(1011)
end

function on.closed(self, event)
  self.closed = true
  self.closed_at = self.call:t_ms()
  if not self.ending then
    if self.carrier_error then
      self:finish("error", self.carrier_error)
    elseif not self.answered_at and self.meta.direction == "outgoing" then
      self:finish("no_answer")
    else
      self:finish("customer")
    end
    if not self.stopped then
      self.call:event("transport_closed", { code = event.code })
    end
  end
  self:over()
end

function on.flow_end(self, event)
  self.flow_over = true
  if self.closing then
    return -- Core has the last word
  elseif self.ending and self.ending.by == "transfer_to_agent" then
    self.leg:leave()
  elseif event.ok then
    self:finish("bot")
    self.leg:hangup()
  elseif not self.ending then
    local kind = script_error(event.error)
    self:finish("error", kind)
    self:close_with("error", self.config.apology_message)
  end
end

function on.provider_lost(self, event)
  self.voice_lost = event.stage == "tts"
  if not self.ending then
    self:finish("error", "provider")
    self.call:event("service_error", { stage = event.stage })
    self:close_with("error", self.config.apology_message)
  end
end

-- "now" (second SIGTERM): the call ends, whatever it is doing.
function on.shutdown(self)
  self:finish("error", "shutdown")
  self.flow_grace_ms = 500 -- the result has to be on disk before the process ends
  self:over()
  self.leg:abort(1001)
end

function on.hangup_requested(self)
  if not self.requested then -- asked again it ends no sooner
    self.requested = true
    self.call:event("hangup_requested", { reason = "request" })
  end
  self:finish("bot")
  self:over()
  self.leg:hangup()
end

return on
