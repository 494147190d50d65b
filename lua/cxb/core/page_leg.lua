-- The leg of a browser test call: before our hang-up the page is told how the call ended, and a
-- page that asks to stop is hung up on (core spec §3.8).
local wrap = require("cxb.core.leg_wrap")

local M = {}
local leg = {}

-- Once; `session` is set as soon as there is one.
local function tell_end(self)
  local ending = self.session and self.session.ending
  if ending and not self.told then
    self.told = true
    self.leg:note({ type = "end", disconnected_by = ending.by, error = ending.error })
  end
end

function leg:hangup()
  tell_end(self)
  return self.leg:hangup()
end

function leg:abort(...)
  tell_end(self)
  return self.leg:abort(...)
end

-- What the page asked for has been dealt with when the next event is asked for.
function leg:event(timeout_ms)
  if self.stopped then
    self.stopped = false
    self:hangup()
  end
  local event, code = self.leg:event(timeout_ms)
  self.stopped = event ~= nil and event.type == "stop"
  return event, code
end

---@param inner cxb.leg of the transport browser
---@return table leg
function M.wrap(inner)
  return wrap(inner, leg)
end

return M
