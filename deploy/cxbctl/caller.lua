-- A caller made of WAV files: one WebSocket, a frame each 20 ms speaking or not, and an ear
-- that plays what arrives at the pace of a telephone. It waits for the bot to finish, says its next
-- line, and notes how long the answer took.

local audio = require("cxbctl.audio")

local M = {}
local caller = {}
caller.__index = caller

local FRAME_MS = 20
local QUIET_MS = 800      -- the bot has finished
local LOUD = 60           -- mean absolute sample above which a frame counts as sound
local PATIENCE_MS = 12000 -- how long to wait for an answer

---Names of the wires, each a file of cxbctl/wires/.
M.transports = { "cxb", "exotel", "twilio", "telnyx", "plivo", "vonage", "asterisk",
  "audiofork", "browser" }

local wires = {}
for _, name in ipairs(M.transports) do wires[name] = require("cxbctl.wires." .. name) end

---@class cxbctl.line one thing the caller says: samples, or keys
---@field pcm? string PCM16 at the wire's rate
---@field digits? string
---@field name string for people

---@class cxbctl.caller.options
---@field transport string one of M.transports
---@field bot string
---@field url string ws://host:port, or ws+unix:<socket>:
---@field lines cxbctl.line[]
---@field from? string
---@field to? string
---@field direction? string
---@field variables? table
---@field ticket? string
---@field patience_ms? number how long to wait for an answer
---@field quiet_ms? number silence after which the bot has finished
---@field on_event? fun(event: table)

---@param opts cxbctl.caller.options
---@return table caller
function M.new(opts)
  local wire = assert(wires[opts.transport], "no such transport")
  return setmetatable({
    wire = wire, rate = wire.rate, frame_bytes = wire.rate * FRAME_MS / 1000 * 2,
    call = { bot = opts.bot, from = opts.from or "+15550100", to = opts.to or "+15550199",
      direction = opts.direction or "incoming", variables = opts.variables, ticket = opts.ticket,
      stream_id = "cxbctl-" .. cxb.crypto.uuid4() },
    url = opts.url, lines = opts.lines, next_line = 1,
    patience_ms = opts.patience_ms or PATIENCE_MS, quiet_ms = opts.quiet_ms or QUIET_MS,
    on_event = opts.on_event or function() end,
    queue = {}, heard = {}, events = {}, turns = {}, tick = 0,
    sound_tick = nil, last_sound = -1, spoke_tick = 0, frames_in = 0, starved = 0,
    played_ms = 0, -- since the last mark
  }, caller)
end

---The rate of the wire of a transport.
function M.rate(transport)
  return wires[transport].rate
end

function caller:note(event)
  event.t_ms = self.tick * FRAME_MS
  self.events[#self.events + 1] = event
  self.on_event(event)
end

-- What the far end says on the wire.
function caller:on_message(event)
  if event.type == "audio" then
    self.frames_in = self.frames_in + 1
    self.queue[#self.queue + 1] = { pcm = event.pcm or "", at = 1 }
  elseif event.type == "mark" then
    self.queue[#self.queue + 1] = { mark = event.name }
  elseif event.type == "clear" then
    local kept, played = self.queue, self.played_ms
    self.queue = {}
    for _, item in ipairs(kept) do
      if item.mark then self:mark_played(item.mark) end
    end
    self.played_ms = 0
    if self.wire.cleared then self.wire.cleared(self.conn, played) end
    self:note({ type = "cut" })
  elseif event.type == "ready" then
    self.session_id = event.session_id
    self:note(event)
  elseif event.type == "hangup" then
    self.ended_by = self.ended_by or "bot"
    if self.wire.confirms then self.wire.hangup(self.conn, "bot", self.call) end
    self:note(event)
  elseif event.type == "transfer" then
    self.transferred_to = event.to
    self.wire.transferred(self.conn, true)
    self:note(event)
  else
    self:note(event)
  end
end

function caller:mark_played(name)
  if self.wire.played then
    self.wire.played(self.conn, name, self.call, self.played_ms)
  end
  self.played_ms = 0
end

-- One frame of what the telephone plays: from the queue, silence when it is empty.
function caller:play()
  local pieces, need = {}, self.frame_bytes
  while need > 0 and self.queue[1] do
    local item = self.queue[1]
    if item.mark then
      table.remove(self.queue, 1)
      self:mark_played(item.mark)
    else
      local piece = item.pcm:sub(item.at, item.at + need - 1)
      item.at, need = item.at + #piece, need - #piece
      pieces[#pieces + 1] = piece
      if item.at > #item.pcm then table.remove(self.queue, 1) end
    end
  end
  if need > 0 and #pieces > 0 then self.starved = self.starved + 1 end
  if #pieces > 0 then self.played_ms = self.played_ms + FRAME_MS end
  local frame = table.concat(pieces) .. ("\0"):rep(need)
  self.heard[#self.heard + 1] = frame
  return frame
end

-- The bot began or goes on sounding: its answer to our last line, when it is the first sound.
function caller:listen(frame)
  if audio.loudness(frame) < LOUD then return end
  self.last_sound = self.tick
  if not self.sound_tick or self.sound_tick < self.spoke_tick then
    self.sound_tick = self.tick
    local turn = self.turns[#self.turns]
    if turn and turn.ended_ms and not turn.response_ms then
      turn.response_ms = (self.tick - turn.voice_end_tick) * FRAME_MS
      self:note({ type = "answered", response_ms = turn.response_ms, line = turn.name })
    end
  end
end

-- Index of the last frame with sound in it, so that trailing silence is not counted as thinking.
local function voiced_frames(pcm, frame_bytes)
  for at = math.floor((#pcm - 1) / frame_bytes), 0, -1 do
    local frame = pcm:sub(at * frame_bytes + 1, (at + 1) * frame_bytes)
    if audio.loudness(frame) >= LOUD then return at + 1 end
  end
  return 0
end

function caller:begin_line()
  local line = self.lines[self.next_line]
  self.next_line = self.next_line + 1
  local turn = { name = line.name, began_ms = self.tick * FRAME_MS }
  self.turns[#self.turns + 1] = turn
  self:note({ type = "says", line = line.name })
  if line.digits then
    self.keys = { digits = line.digits, at = 1, due = self.tick }
    turn.voice_end_tick = self.tick + #line.digits * 10
  else
    self.saying = { pcm = line.pcm, at = 1 }
    turn.voice_end_tick = self.tick + voiced_frames(line.pcm, self.frame_bytes)
  end
end

function caller:end_line()
  self.saying, self.keys = nil, nil
  self.spoke_tick = self.tick
  self.turns[#self.turns].ended_ms = self.tick * FRAME_MS
end

-- One frame of what the caller sends.
function caller:speak()
  if self.keys and self.tick >= self.keys.due then
    self.wire.digit(self.conn, self.keys.digits:sub(self.keys.at, self.keys.at), self.call)
    self.keys.at, self.keys.due = self.keys.at + 1, self.tick + 10
    if self.keys.at > #self.keys.digits then self:end_line() end
  end
  local frame = ""
  if self.saying then
    frame = self.saying.pcm:sub(self.saying.at, self.saying.at + self.frame_bytes - 1)
    self.saying.at = self.saying.at + self.frame_bytes
    if self.saying.at > #self.saying.pcm then self:end_line() end
  end
  return self.wire.frame(self.conn, frame .. ("\0"):rep(self.frame_bytes - #frame), self.call)
end

-- What arrived and was not played yet holds more than silence.
function caller:sound_to_come()
  for _, item in ipairs(self.queue) do
    if item.pcm and audio.loudness(item.pcm:sub(item.at)) >= LOUD then return true end
  end
  return false
end

-- The caller's turn: the bot has spoken since our last line and is quiet, or never answered.
function caller:my_turn()
  if self.saying or self.keys then return false end
  local answered = self.last_sound > self.spoke_tick
    or (self.spoke_tick == 0 and self.last_sound >= 0)
  if answered then
    return (self.tick - self.last_sound) * FRAME_MS >= self.quiet_ms and not self:sound_to_come()
  end
  return (self.tick - self.spoke_tick) * FRAME_MS >= self.patience_ms
end

-- Reads the socket until it closes.
local function receive(self)
  while true do
    local kind, data, reason = self.conn:receive()
    if not kind then
      self.closed = { code = type(data) == "string" and data or "closed", status = reason }
      return
    end
    self:on_message(self.wire.read(kind, data))
  end
end

---(waits) The whole call. `max_ms` bounds it.
---@return table? result {turns, events, heard (PCM16), rate, ended_by, stream_id, session_id, …}
---@return string? why
function caller:run(max_ms)
  local conn, code, message = cxb.ws.connect(self.url .. self.wire.path(self.call),
    { timeout_ms = 10000, protocol = self.wire.protocol })
  if not conn then return nil, ("no call: %s"):format(message or code) end
  self.conn = conn
  local reader = cxb.task.spawn("call ear", receive, self)
  self.wire.open(conn, self.call)
  local began = cxb.time.mono()
  while not self.closed and not self.ended_by and self.tick * FRAME_MS < (max_ms or 600000) do
    self:listen(self:play())
    if self:my_turn() then
      if not self.lines[self.next_line] then
        self.ended_by = "caller"
        break
      end
      self:begin_line()
    end
    if not self:speak() then break end
    self.tick = self.tick + 1
    local pause = began + self.tick * FRAME_MS - cxb.time.mono()
    if pause > 0 then cxb.time.sleep(pause) end
  end
  if not self.closed then
    if self.ended_by ~= "bot" then self.wire.hangup(conn, "customer", self.call) end
    reader:wait(3000)
    conn:close(1000)
  end
  return { turns = self.turns, events = self.events, heard = table.concat(self.heard),
    rate = self.rate, ended_by = self.ended_by or "far end", stream_id = self.call.stream_id,
    session_id = self.session_id, frames_in = self.frames_in, starved = self.starved,
    transferred_to = self.transferred_to, closed = self.closed }
end

return M
