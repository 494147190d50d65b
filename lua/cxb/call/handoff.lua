-- call:handoff: the caller is put into the queue of the Agent Desk and held with music and words
-- until an agent is in the room (core spec §5.5). Needs a transport with a room.
local M = {}

local api_silent_ms, closing_ms = 300000, 6000

local function fail(self, why, reason)
  self.facts:add("transfer", { transfer_failed_reason = why, transfer_reason = reason,
    transfer_method = "agent_desk" })
  return { ok = false, reason = why, hangup = self.gone or nil }
end

-- Music and phrases: what plays next, and when.
local function new_hold(self)
  local desk = self.config.agent_desk
  local pcm, rate
  if desk.hold_music then
    local path = desk.hold_music:match("^/") and desk.hold_music
      or cxb.root .. "/lua/sounds/" .. desk.hold_music
    pcm, rate = cxb.media.read_wav(path)
  end
  return { pcm = pcm, rate = rate, phrases = desk.hold_messages or {}, at = 0,
    every_ms = desk.hold_every_seconds * 1000,
    due = cxb.time.mono() + desk.hold_every_seconds * 1000 }
end

local function play_music(self, hold)
  if hold.pcm then
    hold.music = self.leg:say_begin(hold.rate)
    self.leg:say_push(hold.music, hold.pcm)
    self.leg:say_end(hold.music)
  end
end

-- The music stops for the phrase and begins again when the phrase was heard.
local function say_phrase(self, hold)
  hold.due = cxb.time.mono() + hold.every_ms
  if #hold.phrases == 0 then
    return
  end
  hold.at = hold.at % #hold.phrases + 1
  hold.music = nil
  self.leg:clear()
  hold.jobs = self.voice:queue(self:render(hold.phrases[hold.at]))
end

local function sound_over(self, hold, utterance)
  if utterance == hold.music then
    play_music(self, hold)
    return
  end
  local last = hold.jobs and hold.jobs[#hold.jobs]
  if last and last.utterance == utterance then
    hold.jobs = nil
    play_music(self, hold)
  end
end

local function silence_hold(self)
  self.voice:cancel()
  self.leg:clear()
end

-- Until an agent joins, the caller leaves, or the desk gives up: "agent", "customer", or why not.
local function wait_for_agent(self)
  local hold = new_hold(self)
  local silent_at = cxb.time.mono() + api_silent_ms
  play_music(self, hold)
  while true do
    local event = self:next(math.min(silent_at, hold.due))
    local now = cxb.time.mono()
    if event and event.type == "hangup" then
      return "customer"
    elseif event and event.type == "participant" and event.joined
      and event.identity:match("^agent%-") then
      return "agent", event.identity
    elseif event and event.type == "data" then
      silent_at = now + api_silent_ms
      if event.topic == "desk.end" then
        return "ended", event.reason or "desk.end"
      end
    elseif event and event.type == "played" then
      sound_over(self, hold, event.utterance)
    elseif now >= silent_at then
      return "ended", "api_silent"
    elseif now >= hold.due then
      say_phrase(self, hold)
    end
  end
end

local function joined(self, identity, opts)
  silence_hold(self)
  self:event("handoff_agent_joined", { agent = identity })
  self.facts:add("transfer", {
    was_transferred = true, transfer_destination = opts.queue, transfer_target = opts.target,
    transfer_reason = opts.reason, transfer_method = "agent_desk",
    transfer_at = math.floor(self.session:seconds_in_call() * 10 + 0.5) / 10,
  })
  self.session:finish("transfer_to_agent")
  self.gone = true
  return { ok = true, hangup = true }
end

-- Nobody comes: the closing words have six seconds.
local function given_up(self, why, opts)
  silence_hold(self)
  self:event("handoff_failed", { reason = why })
  local words = self.config.agent_desk.closing_message
  if words ~= "" then
    self.session:hang_up_in(closing_ms)
    self:say(words, { barge = false })
  end
  local answer = fail(self, why, opts.reason)
  self.session:finish("bot")
  self.leg:hangup()
  self.gone, answer.hangup = true, true
  return answer
end

---Hands the caller to the Agent Desk: the request is on disk before the caller is told, then the
---caller is held. After a success, or when the desk gives up, the call is over for the flow.
---@param opts? {queue?: string, reason?: string, priority?: integer, language?: string,
---target?: string}
---@return {ok: boolean, reason?: string, hangup?: boolean}
function M:handoff(opts)
  opts = opts or {}
  if self.gone then
    return { ok = false, hangup = true }
  end
  local desk = self.leg.has_room and self.session:desk()
  if not desk then
    return fail(self, "unsupported", opts.reason)
  end
  self.session:hold(true)
  local ok, code = desk:enqueue({
    room = self.meta.room_name, caller = self.meta.caller_id, bot_id = self.meta.bot_id,
    language = opts.language or self.config.stt.language, priority = opts.priority,
    reason = opts.reason, variables = self.vars, queue = opts.queue,
  })
  if not ok then
    self.session:hold(false)
    self:event("handoff_failed", { reason = code })
    return fail(self, code or "storage", opts.reason)
  end
  self:event("handoff_enqueued", { queue = opts.queue })
  self.session:hand_off()
  self.session:state("hold")
  local message = self.config.pre_transfer_message
  if message ~= "" then
    self:say(message, { barge = false })
  end
  local outcome, more = wait_for_agent(self)
  if outcome == "agent" then
    return joined(self, more, opts)
  elseif outcome == "customer" then
    desk:customer_disconnected()
    return fail(self, "customer", opts.reason)
  end
  return given_up(self, more, opts)
end

return M
