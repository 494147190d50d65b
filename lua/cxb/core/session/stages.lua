-- The providers of a session (cxb.core.session): opened, failed over, given up.
local failover = require("cxb.failover")
local providers = require("providers")

local M = {}

---The providers of a stage, in the order in which they take over.
---@param stage "stt"|"llm"|"tts"
function M:chain(stage)
  return failover.new({
    stage = stage, config = self.config[stage],
    on_error = function(...)
      self:provider_error(...)
    end,
    on_switch = function(_, from, to)
      cxb.metrics.count("cxb_provider_failovers_total", { stage = stage })
      cxb.log.warn("another provider takes over", { stage = stage, from = from, to = to })
      self.call:event("provider_failover", { stage = stage, from = from, to = to })
    end,
  })
end

function M:open_tts(choice, on_lost)
  local provider = providers.get("tts", choice.provider)
  if not provider then
    return nil, "none", "this bot has no voice"
  end
  local tts, code, message = provider.open({
    stage = choice, settings = self.settings, rate = self.rate, on_lost = on_lost,
  })
  if tts then
    self.call:event("tts_connected", { provider = choice.provider })
  end
  return tts, code, message
end

---Opens the providers' connections, and speaks the first words into the queue; called while the
---phone still rings. (does not wait)
function M:connect()
  local c = self.config
  if c.tts.provider ~= "none" then
    self.voice:connect()
  end
  self.ears:connect()
  if c.flow == "assistant" and not c.flow_source then
    self.mind:connect()
    if c.opening_message ~= "" and c.tts.provider ~= "none" then
      self.call:prepare(self.call:render(c.opening_message))
    end
  end
end

function M:on_voice(event)
  if event.type == "voice_failed" and event.job.failed and not event.job.cancelled then
    self:provider_lost("tts")
  end
  self.call.inbox:push(event)
end

function M:provider_error(stage, provider, code, message)
  cxb.metrics.count("cxb_provider_errors_total", { provider = provider, stage = stage })
  cxb.log.warn("provider error", { provider = provider, stage = stage, code = code,
    error = message })
  self.call:event("provider_error", { stage = stage, provider = provider, code = code })
end

---No provider of the stage is left: the call ends with an apology.
function M:provider_lost(stage)
  self.leg:post({ type = "provider_lost", stage = stage })
end

return M
