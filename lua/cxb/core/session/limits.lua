-- How long a call may last and how long it may be silent (cxb.core.session): ends it at its limits.

-- What the assistant may take to ask a silent caller, beyond the silence it waits for.
local asking_s = 10

local function time_limit(self, now)
  local limit = self.config.max_call_duration_seconds * 1000
  if self.hangup_at and now >= self.hangup_at then
    self.leg:hangup()
  end
  if not self.answered_at or (self.handed_off and not self.closing) then
    return self.hangup_at
  elseif now >= self.answered_at + limit and not self.closing and not self.ending then
    self:finish("timeout")
    self:close_with("timeout", self.config.timeout_message)
  elseif self.closing and now >= self.closing then
    self.leg:hangup()
  end
  return self.answered_at + limit
end

-- Seconds of silence that end a call; one that asks silent callers itself gets to do so first.
local function longest_silence(config)
  local seconds, rule = config.max_silence_seconds, config.re_engagement
  if seconds > 0 and rule and config.flow == "assistant" then
    return math.max(seconds, rule.after_seconds + asking_s)
  end
  return seconds
end

local function silence_limit(self, now)
  local seconds = longest_silence(self.config)
  if seconds == 0 or not self.answered_at or self.held or next(self.sounding) or self.ending then
    return nil
  end
  local at = self.active_at + seconds * 1000
  if now >= at then
    self:finish(self.facts:heard_customer() and "bot" or "RNR")
    self.call:event("hangup_requested", { reason = "silence" })
    self:over()
    self.leg:hangup()
  end
  return at
end

-- Time to the next thing that happens without an event; at least every second, so that a limit is
-- never missed by more.
return function(self)
  local now = cxb.time.mono()
  local at = now + 1000
  for _, due in ipairs({ time_limit(self, now) or at, silence_limit(self, now) or at,
    self.closing or at }) do
    at = due > now and math.min(at, due) or at
  end
  return math.max(1, at - now)
end
