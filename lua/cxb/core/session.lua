-- One call from the handshake to its end. The task that runs this reads the leg's events and
-- nothing holds it up: the flow runs in a task of its own and gets what concerns it through the
-- inbox of the call. Whatever the flow does, hang-up and limits are handled here.
local Call = require("cxb.call")
local Desk = require("cxb.core.desk")
local Ears = require("cxb.core.ears")
local Mind = require("cxb.core.mind")
local Voice = require("cxb.voice")
local flows = require("cxb.core.flows")
local json = require("cxb.json")
local prompt_cache = require("cxb.prompt_cache")
local variables = require("cxb.variables")
local next_wait = require("cxb.core.session.limits")
local on = require("cxb.core.session.events")

local M = {}
M.__index = M

for name, fn in pairs(require("cxb.core.session.stages")) do
  M[name] = fn
end

local flow_grace_ms = 10000
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
function M:hold(held)
  self.held = held
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
  if kind == "barge_in" then
    cxb.metrics.count("cxb_barge_ins_total", { kind = data.by })
  end
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
