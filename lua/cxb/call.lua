-- The call as a flow sees it (docs/flows.md): straight-line Lua in which barge-in, silence and
-- hang-up come back as return values. Once the caller has gone every wait returns {hangup=true}.
--
-- Speaking is in cxb.call.speak, listening in cxb.call.hear; this file holds the rest. Events reach
-- a flow through self.inbox, filled by the session (cxb.core.session), which alone reads the leg.
local channel = require("cxb.channel")

local M = {}
M.__index = M

for _, part in ipairs({ "cxb.call.speak", "cxb.call.hear" }) do
  for name, fn in pairs(require(part)) do
    M[name] = fn
  end
end

---@class cxb.call.parts
---@field leg cxb.leg
---@field facts table cxb.record
---@field config table of the call (core spec §4)
---@field meta table call_id, session_id, bot_id, caller_id, did, direction, transport, stream_id
---@field vars table variables of the call
---@field turn? table cxb.turn; nil without speech to text
---@field voice table cxb.voice
---@field rate integer Hz of the leg
---@field origin number monotonic ms of the media clock's zero
---@field session table finish, state, transcript, latency, hold, noted, forget_speech

---@param o cxb.call.parts
function M.new(o)
  local config = o.config
  return setmetatable({
    leg = o.leg, facts = o.facts, config = config, meta = o.meta, turn = o.turn,
    voice = o.voice, rate = o.rate, origin = o.origin, session = o.session,
    settings = config.flow_settings or {}, vars = o.vars or {}, inbox = channel.new(),
    digits = "", first_say = true,
  }, M)
end

---Milliseconds of the media clock for a monotonic time (default now): the times of a result.
---@return integer
function M:t_ms(mono)
  return math.max(0, math.floor((mono or cxb.time.mono()) - self.origin + 0.5))
end

---(waits) The next thing that happened, or nil after `deadline` (monotonic ms).
---@return table? event {type="hangup"} for ever once the call is over
function M:next(deadline)
  if self.gone then
    return { type = "hangup" }
  end
  local left = deadline and math.max(0, deadline - cxb.time.mono())
  local event, code = self.inbox:pop(left)
  if self.gone or code == "cancelled" then
    self.gone = true
    return { type = "hangup" }
  end
  return event
end

---The call is over for this flow: whatever it waits for returns.
function M:leave()
  self.gone = true
  self.inbox:push({ type = "hangup" })
end

---The same call for words that Core itself says at the end (time-out, apology): the flow that held
---it finds it over.
function M:take_over()
  local mine = setmetatable({ inbox = channel.new(), gone = false, digits = "" },
    { __index = self })
  rawset(mine, "leave", M.leave)
  self:leave()
  self.voice:cancel()
  self.leg:clear()
  return mine
end

---Notes that something happened, for the result (types: core spec §7, or your own).
---@param kind string
---@param data? table
function M:event(kind, data)
  self.facts:add("event", { t_ms = self:t_ms(), type = kind, data = data or {} })
  if self.session then
    self.session:noted(kind, data)
  end
end

---Notes what the caller wants.
---@param name string
---@param data? table
---@param confidence? number
function M:intent(name, data, confidence)
  self.facts:add("intent", {
    t_ms = self:t_ms(), turn = math.max(0, self.facts:next_turn() - 1), name = name,
    confidence = confidence, data = data or {},
  })
end

---Remembers a value for this call: call.vars[key].
function M:set(key, value)
  self.vars[key] = value
end

---@param what "pause"|"resume" silence is written meanwhile
function M:record(what)
  self.leg:record_pause(what == "pause")
  self:event("recording_paused", { paused = what == "pause" })
end

---Runs fn every `seconds` until the call ends.
function M:every(seconds, fn)
  return cxb.task.spawn("every", function()
    while not self.gone and cxb.time.sleep(seconds * 1000) and not self.gone do
      fn()
    end
  end)
end

---Says goodbye: what was said before has been heard. Idempotent and final.
---@param reason? string "no_response" makes it RNR when the caller never spoke
function M:hangup(reason)
  if not self.gone then
    self:event("hangup_requested", { reason = reason or "flow" })
    local silent = reason == "no_response" and not self.facts:heard_customer()
    self.session:finish(silent and "RNR" or "bot")
    self.leg:hangup()
    self.gone = true
  end
  return { hangup = true }
end

local transfer_wait_ms = 15000

-- (core spec §5.4) requested id or label → default → legacy number by name.
local function resolve(config, wanted)
  local default
  for _, target in ipairs(config.transfer_targets or {}) do
    if target.enabled ~= false and target.method == "websocket_reverse_transfer" then
      if wanted and (target.id == wanted or target.label == wanted) then
        return target
      end
      default = target.is_default and target or default
    end
  end
  if default then
    return default
  end
  local number = (config.transfer_numbers or {})[wanted or ""]
  return number and { id = wanted, value = number, type = "phone_number",
    method = "websocket_reverse_transfer" }
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

---Hands the caller to somebody else. After a success the call is over for the flow; after a
---failure the conversation goes on.
---@param wanted? string id or label of a target; nil: the default one
---@param reason? string
---@return {ok: boolean, reason?: string, hangup?: boolean}
function M:transfer(wanted, reason)
  if self.gone then
    return { ok = false, hangup = true }
  end
  local target = resolve(self.config, wanted)
  local failed = not self.leg.can_transfer and "unsupported" or not target and "no_target"
  if not failed then
    self:event("transfer_started", { target = target.id, reason = reason })
    self.session:hold(true)
    local message = self.config.pre_transfer_message
    if message and message ~= "" then
      self:say(message, { barge = false })
    end
    local ok, why = hand_over(self, target, reason)
    self.session:hold(false)
    self:event("transfer_result", { ok = ok, reason = why })
    if ok then
      self.facts:add("transfer", {
        was_transferred = true, transfer_destination = target.value, transfer_target = target.id,
        transfer_reason = reason, transfer_method = target.method,
        transfer_at = math.floor(self.session:seconds_in_call() * 10 + 0.5) / 10,
      })
      self.session:finish("bot")
      self.leg:hangup()
      self.gone = true
      return { ok = true, hangup = true }
    end
    failed = why or "failed"
  end
  self.facts:add("transfer", { transfer_failed_reason = failed, transfer_reason = reason })
  return { ok = false, reason = failed, hangup = self.gone }
end

return M
