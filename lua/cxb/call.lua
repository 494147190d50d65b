-- The call as a flow sees it (docs/flows.md): straight-line Lua in which barge-in, silence and
-- hang-up come back as return values. Once the caller has gone every wait returns {hangup=true}.
--
-- Speaking is in cxb.call.speak, listening in .hear, the language model in .think, handing over in
-- .transfer; this file holds the rest. Events reach a flow through self.inbox, filled by the
-- session (cxb.core.session), which alone reads the leg.
local channel = require("cxb.channel")
local Context = require("cxb.context")
local json = require("cxb.json")
local template = require("cxb.template")
local tools = require("cxb.tools")
local variables = require("cxb.variables")

local M = {}
M.__index = M

for _, part in ipairs({ "cxb.call.speak", "cxb.call.hear", "cxb.call.think",
  "cxb.call.transfer", "cxb.call.handoff" }) do
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
---@field session table cxb.core.session

-- What the language model is told: the whole prompt, or its lasting and its changing part.
local function prompts_of(config)
  local parts = config.prompt_parts
  if parts and parts.mode == "direct" then
    return { parts.static_system_prompt, parts.dynamic_runtime_prompt }
  end
  return { config.system_prompt or "" }
end

---@param o cxb.call.parts
function M.new(o)
  local config = o.config
  local self = setmetatable({
    leg = o.leg, facts = o.facts, config = config, meta = o.meta, turn = o.turn,
    voice = o.voice, rate = o.rate, origin = o.origin, session = o.session,
    settings = config.flow_settings or {}, vars = o.vars or {}, inbox = channel.new(),
    digits = "", first_say = true, context = Context.new(prompts_of(config)), tool_calls = 0,
    timers = {},
  }, M)
  self.tools = tools.new(self)
  return self
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
  for _, timer in ipairs(self.timers) do
    timer:cancel()
  end
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

---Text with its {{names}} filled in from call.vars, for speech: what is unknown is left out.
---@param said string
---@return string
function M:render(said)
  if not said:find("{{", 1, true) then
    return said
  end
  local zone = self.config.timezone or "UTC"
  local out, unresolved = template.speech(said, variables.renew(self.vars, zone))
  if unresolved[1] then
    self:event("template_unresolved", { names = json.array(unresolved) })
  end
  return out
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
  local timer = cxb.task.spawn("every", function()
    while not self.gone and cxb.time.sleep(seconds * 1000) and not self.gone do
      fn()
    end
  end)
  self.timers[#self.timers + 1] = timer
  return timer
end

local voicemail_wait_ms, voicemail_silence_ms = 10000, 1000

---(waits) Leaves `voicemail_message`, if there is one, after the machine's beep or once it has been
---silent for a second (10 s at most), and hangs up.
function M:voicemail()
  local deadline = cxb.time.mono() + voicemail_wait_ms
  self.session:hold(true)
  while not self.gone do
    local quiet_at = self.session:quiet_since()
    local due = math.min(deadline, quiet_at and quiet_at + voicemail_silence_ms or deadline)
    local event = cxb.time.mono() < due and self:next(due)
    if cxb.time.mono() >= due or (event and event.type == "beep") then
      break
    end
  end
  local message = self.config.voicemail_message or ""
  if not self.gone and message ~= "" then
    self:say(message, { barge = false })
  end
  if not self.gone then
    self:event("hangup_requested", { reason = "voicemail" })
    self.session:finish("voicemail")
    self.leg:hangup()
    self.gone = true
  end
  return { hangup = true }
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

return M
