-- A leg on virtual time: what is pushed plays in real (virtual) time, clear() reports
-- the milliseconds heard, the spec sends what the wire would.
local channel = require("cxb.channel")

local M = {}
M.__index = M

---@param sched table of cxb.testing.sched
---@param o? {can_transfer?: boolean, transfer?: {ok: boolean, reason?: string}} transfer: what the
---far end answers after a moment; without it the spec sends the event itself
function M.new(sched, o)
  return setmetatable({
    transport = "cxb", can_transfer = o and o.can_transfer or false,
    transfer_answer = o and o.transfer, lead_ms = 0, sched = sched,
    events = channel.new(), born = cxb.time.mono(), utterances = {}, queue = {}, notes = {},
    barges = {}, log = {},
  }, M)
end

function M:clock()
  return cxb.time.mono() - self.born
end

---The wire sends an event.
function M:wire(event)
  event.t_ms = event.t_ms or math.floor(self:clock() + 0.5)
  self.events:push(event)
end

function M:event(timeout_ms)
  if self.is_closed and self.events:size() == 0 then
    return nil, "closed"
  end
  local event, code = self.events:pop(timeout_ms)
  if event and event.type == "closed" then
    self.is_closed = true
  end
  return event, code
end

function M:post(event)
  if not self.is_closed then
    self.events:push(event)
  end
end

---The media loop's limit of the call's age; nil: none any more.
function M:limit(ms)
  self.limit_ms = ms
  local mine = {}
  self.limited = mine
  if ms then
    self.sched.at(ms, function()
      if self.limited == mine then
        self:wire({ type = "error", error = "call_age" })
        self:abort(1011)
      end
    end)
  end
end

function M:barge(what)
  self.barges[#self.barges + 1] = what
end

function M:say_begin()
  local id = #self.utterances + 1
  self.utterances[id] = { id = id, ms = 0 }
  self.queue[#self.queue + 1] = self.utterances[id]
  return id
end

-- Plays the queue's head once all of it was pushed.
local function play(self)
  local head = self.queue[1]
  if not head or head.playing or not head.ended then
    return
  end
  head.playing, head.from = true, self:clock()
  if head.ms > 0 then
    self:wire({ type = "first_frame", utterance = head.id })
  end
  self.sched.at(head.ms, function()
    if not head.cut then
      table.remove(self.queue, 1)
      self:wire({ type = "played", utterance = head.id, heard_ms = head.ms })
      play(self)
    end
  end)
end

---Audio of so many milliseconds.
function M:push_ms(utterance, ms)
  self.utterances[utterance].ms = self.utterances[utterance].ms + ms
end

function M:say_push(utterance, pcm)
  self:push_ms(utterance, #pcm / 16)
end

function M:say_end(utterance, err)
  local u = self.utterances[utterance]
  u.ended, u.err = true, err
  play(self)
end

function M:clear(by)
  local head = self.queue[1]
  for _, u in ipairs(self.queue) do
    u.cut = true
  end
  self.queue = {}
  if head then
    self:wire({ type = "cleared", utterance = head.id, by = by or "command",
      heard_ms = head.playing and self:clock() - head.from or 0 })
  end
end

function M:transfer(t)
  self.transferred = t
  local answer = self.transfer_answer
  if answer then
    self.sched.at(400, function()
      self:wire({ type = "transfer", ok = answer.ok, reason = answer.reason })
    end)
  end
  return true
end

local function close(self, code, after)
  if not self.closing then
    self.closing = true
    self.sched.at(after, function()
      self:wire({ type = "closed", code = code })
    end)
  end
end

function M:hangup()
  self.hung_up = true
  self.queue = {}
  close(self, 1000, 20)
end

-- Out of the room; the others stay.
function M:leave()
  self.left = true
  close(self, 1000, 20)
end

function M:abort(code)
  self.aborted = code
  close(self, code, 1)
end

---The caller's side goes: goodbye, then the socket.
function M:caller_gone(code, by)
  for _, u in ipairs(self.queue) do
    u.cut = true
    self:wire({ type = "played", utterance = u.id,
      heard_ms = u.playing and self:clock() - u.from or 0 })
  end
  self.queue = {}
  if by then
    self:wire({ type = "stop", by = by })
  end
  close(self, code or 1000, 1)
end

function M:note(note)
  self.notes[#self.notes + 1] = note
end

function M:stats()
  return { recorded_bytes = 0, underruns = 0, drops = 0, clock_ms = self:clock() }
end

function M:record(path)
  self.recorded = path
  return true
end

function M:close()
  self.is_closed = true
end

function M:say_sink()
  return {}
end

function M:tap() end
function M:monitor() end
function M:unmonitor() end
function M:vad() end
function M:record_pause() end

return M
