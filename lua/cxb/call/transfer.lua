-- call:transfer: the caller is handed to somebody else (core spec §5.4).
local M = {}

local transfer_wait_ms = 15000

-- Which methods a transport can carry out; one that is not named here has none.
local methods = {
  websocket_reverse_transfer = { cxb = true, twilio = true, telnyx = true, plivo = true,
    vonage = true, audiofork = true },
  livekit_sip_refer = { livekit = true }, agent_desk = { livekit = true },
}

local function method_of(transport)
  return methods.websocket_reverse_transfer[transport] and "websocket_reverse_transfer"
    or methods.livekit_sip_refer[transport] and "livekit_sip_refer" or nil
end

-- Requested id or label → the default → a legacy number by name; enabled and possible here.
local function resolve(self, wanted)
  local transport, default = self.meta.transport, nil
  for _, target in ipairs(self.config.transfer_targets or {}) do
    if target.enabled ~= false and (methods[target.method] or {})[transport] then
      if wanted and (target.id == wanted or target.label == wanted) then
        return target
      end
      default = default or (target.is_default and target) or nil
    end
  end
  if default then
    return default
  end
  local number = (self.config.transfer_numbers or {})[wanted or ""]
  local method = method_of(transport)
  return number and method and { id = wanted, value = number, type = "phone_number",
    method = method }
end

-- The wire's own sequence, to its outcome.
local function hand_over(self, target, reason)
  local ok, code = self.leg:transfer({
    to = target.value, type = target.type, reason = reason, target = target.id,
  })
  local deadline = cxb.time.mono() + transfer_wait_ms
  while ok do
    local event = self:next(deadline)
    if not event then
      return false, "timeout"
    elseif event.type == "transfer" then
      return event.ok, event.reason
    elseif event.type == "hangup" then
      return self.session.transferred == true, "hangup"
    end
  end
  return false, code or "unsupported"
end

local function to_phone(self, target, reason)
  self:event("transfer_started", { target = target.id, reason = reason })
  self.session:hold(true)
  self.session:state("hold")
  local message = self.config.pre_transfer_message
  if message and message ~= "" then
    self:say(message, { barge = false })
  end
  local ok, why = hand_over(self, target, reason)
  self.session:hold(false)
  self:event("transfer_result", { ok = ok, reason = why })
  if not ok then
    return nil, why or "failed"
  end
  self.facts:add("transfer", {
    was_transferred = true, transfer_destination = target.value, transfer_target = target.id,
    transfer_reason = reason, transfer_method = target.method,
    transfer_at = math.floor(self.session:seconds_in_call() * 10 + 0.5) / 10,
  })
  self.session:finish("bot")
  self.leg:hangup()
  self.gone = true
  return true
end

---Hands the caller to somebody else. After a success the call is over for the flow; after a
---failure the conversation goes on.
---@param wanted? string id or label of a target; nil: the default one
---@param reason? string
---@return {ok: boolean, reason?: string, hangup?: boolean}
function M:transfer(wanted, reason)
  if self.gone then
    return { ok = false, hangup = true }
  end
  local target = resolve(self, wanted)
  local failed
  if target and target.method == "agent_desk" then
    return self:handoff({ queue = target.value, reason = reason, target = target.id })
  elseif not self.leg.can_transfer then
    failed = "unsupported"
  elseif not target then
    failed = "no_target"
  else
    local ok, why = to_phone(self, target, reason)
    if ok then
      return { ok = true, hangup = true }
    end
    failed = why
  end
  self.facts:add("transfer", { transfer_failed_reason = failed, transfer_reason = reason })
  return { ok = false, reason = failed, hangup = self.gone or nil }
end

return M
