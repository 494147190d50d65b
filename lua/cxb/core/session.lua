-- One call from the handshake to its end. The task that runs this reads the leg's events and
-- nothing holds it up: the flow runs in a task of its own and gets what concerns it through the
-- inbox of the call. Whatever the flow does, hang-up and limits are handled here.
local Call = require("cxb.call")
local Desk = require("cxb.core.desk")
local Ears = require("cxb.core.ears")
local Mind = require("cxb.core.mind")
local Voice = require("cxb.voice")
local failover = require("cxb.failover")
local flows = require("cxb.core.flows")
local json = require("cxb.json")
local prompt_cache = require("cxb.prompt_cache")
local providers = require("providers")
local variables = require("cxb.variables")

local M = {}
M.__index = M

local flow_grace_ms = 10000
-- After its longest duration the call has this long to end by itself; then the media loop ends it.
local call_age_ms = 120000
-- What the assistant may take to ask a silent caller, beyond the silence it waits for.
local asking_s = 10
local closing_ms = { timeout = 5000, error = 10000 }

---@class cxb.session.parts
---@field settings table
---@field leg cxb.leg
---@field facts table cxb.record
---@field config table
---@field start table the leg's start event
---@field origin number monotonic ms of the media clock's zero
---@field meta table

---@param o cxb.session.parts
function M.new(o)
  local now = cxb.time.mono()
  local self = setmetatable({
    settings = o.settings, leg = o.leg, facts = o.facts, config = o.config, origin = o.origin,
    rate = o.start.rate, meta = o.meta, sounding = {}, active_at = now, noted_at = 0,
  }, M)
  self.voice = Voice.new({
    leg = self.leg, rate = self.rate, chain = self:chain("tts"),
    open = function(choice, on_lost)
      return self:open_tts(choice, on_lost)
    end,
    notify = function(event)
      self:on_voice(event)
    end,
  })
  self.vars = variables.of_call(self.config.variables,
    json.decode_object(self.meta.connected_event or ""))
  self.mind = Mind.new({
    chain = self:chain("llm"), settings = self.settings, vars = self.vars,
    cache = prompt_cache.of_call(self.settings, self.config, self.meta),
  })
  self.ears = Ears.new(self)
  self.call = Call.new({
    leg = self.leg, facts = self.facts, config = self.config, meta = self.meta,
    vars = self.vars, turn = self.ears.turn, voice = self.voice, rate = self.rate,
    origin = self.origin, session = self,
  })
  return self
end

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

-- What the flow's call asks of its session ----------------------------------------------------

---How the call ends is settled by the first who says so.
---@param by string disconnected_by
---@param err? string
function M:finish(by, err)
  if not self.ending then
    self.ending = { by = by, error = err }
  end
end

function M:touch()
  self.active_at = cxb.time.mono()
end

---While held (transfer, tools) the clock of silence stands still.
function M:hold(on)
  self.held = on
  self:touch()
end

---The Agent Desk, as far as this call goes; nil without an API.
function M:desk()
  self.desk_of_call = self.desk_of_call or Desk.new({
    settings = self.settings, meta = self.meta, session_id = self.config.session_id,
    facts = self.facts,
  })
  return self.desk_of_call
end

---Handed to the agent desk: the call may last as long as it likes.
function M:hand_off()
  self.handed_off = true
  self.leg:limit(nil)
end

---Whatever is being said, the call ends after so long.
function M:hang_up_in(ms)
  self.hangup_at = cxb.time.mono() + ms
end

function M:seconds_in_call()
  return self.answered_at and (cxb.time.mono() - self.answered_at) / 1000 or 0
end

function M:hint(words)
  self.ears:hint(words)
end

function M:forget_speech()
  self.ears:forget()
end

function M:state(value)
  if value == self.shown then
    return
  end
  self.shown = value
  if self.on_state then
    self.on_state(value)
  end
  if self.meta.transport == "browser" then
    self.leg:note({ type = "state", value = value })
  end
end

function M:transcript(role, said)
  if self.meta.transport == "browser" then
    self.leg:note({ type = "transcript", role = role, text = said, final = true,
      turn = self.facts:next_turn() - 1 })
  end
end

function M:noted(kind, data)
  if self.meta.transport == "browser" then
    self.leg:note({ type = "event", event = { type = kind, data = data or {} } })
  end
end

---Voice of the caller began or ended, as the leg or the recogniser hears it.
---@param at? number its end, monotonic ms; nil: it began
function M:voiced(at)
  self:touch()
  self.quiet_at, self.has_voice = at or self.quiet_at, at == nil
end

---Since when the caller has been silent; nil while there is voice.
function M:quiet_since()
  return not self.has_voice and (self.quiet_at or self.answered_at) or nil
end

---Usage so far, for the result.
function M:usage()
  local u = self.mind.usage
  return {
    stt_seconds = math.floor(self.ears:seconds() * 10 + 0.5) / 10, llm_requests = u.requests,
    llm_prompt_tokens = u.prompt_tokens, llm_completion_tokens = u.completion_tokens,
    tts_characters = self.voice.characters, tool_calls = self.call.tool_calls,
    cache = self.mind:cache_summary(),
  }
end

---Notes the usage so far: a result made from the journal has it.
function M:spent()
  self.facts:add("usage", self:usage())
end

local stages = { "endpoint", "stt", "rag", "tool", "llm_ttft", "tts_ttfb", "host", "total" }

function M:latency(sample)
  for _, stage in ipairs(stages) do
    cxb.metrics.observe("cxb_turn_latency_seconds", { stage = stage },
      sample[stage .. "_ms"] / 1000)
  end
  if self.meta.transport == "browser" then
    local note = { type = "latency" }
    for key, value in pairs(sample) do
      note[key] = value
    end
    self.leg:note(note)
  end
end

-- Providers -----------------------------------------------------------------------------------

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

-- The end, spoken by Core ---------------------------------------------------------------------

-- Takes the call from the flow, says `words` (the recorded apology when no voice is to be had) and
-- hangs up; after `limit_ms` without words.
function M:close_with(kind, words)
  if self.closing or self.closed then
    return
  end
  self.closing = cxb.time.mono() + closing_ms[kind]
  local call = self.call:take_over()
  self.call = call
  cxb.task.spawn("closing", function()
    local said = self.voice_lost and { failed = "no voice" } or call:say(words, { barge = false })
    if said.failed and not said.hangup then
      call:play("apology_en.wav", { barge = false, text = "I am sorry, something went wrong." })
    end
    self.leg:hangup()
  end)
end

local function script_error(text)
  text = tostring(text or "")
  if text:find("stalled at ", 1, true) then
    return "stalled"
  elseif text:find("memory cap reached", 1, true) or text:find("not enough memory", 1, true) then
    return "memory"
  end
  return "script"
end

-- The leg's events ----------------------------------------------------------------------------

local on = {}

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
  cxb.metrics.count("cxb_barge_ins_total", { kind = event.by or "command" })
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
  self.call:event("hangup_requested", { reason = "request" })
  self:finish("bot")
  self:over()
  self.leg:hangup()
end

---The flow finds the call over; what it still says is not heard.
function M:over()
  if not self.call.gone then
    self.voice:cancel()
    self.call:leave()
  end
end

-- The flow ------------------------------------------------------------------------------------

function M:start_flow()
  local flow = flows.of(self.config)
  local task = cxb.task.spawn("flow " .. self.config.flow, flow, self.call)
  self.flow_task = task
  cxb.task.spawn("flow_watch", function()
    local result, code, trace = task:wait()
    local failed = result == nil and (code == "error" or code == "cancelled")
    self.leg:post({ type = "flow_end", ok = not failed, error = trace or code })
    self.flow_over = true
  end)
end

-- Limits --------------------------------------------------------------------------------------

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
local function next_wait(self)
  local now = cxb.time.mono()
  local at = now + 1000
  for _, due in ipairs({ time_limit(self, now) or at, silence_limit(self, now) or at,
    self.closing or at }) do
    at = due > now and math.min(at, due) or at
  end
  return math.max(1, at - now)
end

---(waits) Until the leg is closed and the flow has ended.
function M:run()
  while not self.closed do
    local event, code = self.leg:event(next_wait(self))
    if event and on[event.type] then
      on[event.type](self, event)
    elseif code == "closed" or code == "cancelled" then
      on.closed(self, { code = 1006 })
    end
  end
  self:over()
  self.mind:cancel()
  self.ears:close()
  local task = self.flow_task
  if task and not self.flow_over then
    local _, code = task:wait(self.flow_grace_ms or flow_grace_ms)
    if code == "timeout" then
      cxb.log.warn("the flow did not end after the call", { flow = self.config.flow })
      task:cancel(1000)
      task:wait(2000)
    end
  end
  self.voice:close()
  self.mind:close()
  return self.ending
end

return M
