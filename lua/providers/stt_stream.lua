-- A recogniser's connection: what is the same for every speech-to-text provider that takes binary
-- audio over a WebSocket and answers in JSON. A provider adds what it says and what it understands:
--   wire.handle(self, message)   translates one message of the provider into events
--   wire.finalize(self)          asks for the text of all that was sent; nil: it cannot be asked
--   wire.quiet(self, voiced_at)  nothing is being said, or nothing since the last voice whose
--                                text has not been given out: there is nothing to ask for
--   wire.forget(self)            what was said so far has been given out, or is not wanted
--   wire.idle(self)              says something when nothing was sent for idle_ms
--   wire.goodbye(self)           says farewell before the connection is closed
--   wire.idle_ms, wire.chunk_ms  (chunk_ms: audio goes out in pieces of this length)
-- and reads `unasked`: words have come since the last finalize() or reset().
local json = require("cxb.json")
local wire_of = require("providers.wire")

local M = {}
M.__index = M

-- A provider that was asked for a final text and has nothing to say may keep silent; one that says
-- nothing at all, asked so often, is gone, and so is one that talks nonsense.
M.answer_ms = 1000
local most_unanswered, most_errors = 2, 20

-- False when it was closed before.
local function shut(self)
  if self.closed then
    return false
  end
  self.closed = true
  if self.watcher then
    self.watcher:cancel()
  end
  return true
end

local function lost(self, code, message)
  if shut(self) then
    self.on_event({ type = "lost", code = code, message = wire_of.clean(message, self.stage) })
  end
end

local function read(self)
  while true do
    local kind, data, status, reason = self.ws:receive()
    if not kind then
      return lost(self, "closed", ("%s %s"):format(status or "", reason or ""))
    end
    local message = kind == "text" and json.decode_object(data)
    self.unanswered = 0
    if message then
      self.wire.handle(self, message)
    else
      self:error("bad_response", "not a JSON object")
    end
  end
end

local function watch(self)
  local idle_ms = self.wire.idle_ms
  while not self.closed do
    cxb.time.sleep(math.max(100, idle_ms - self.ws:idle_ms()))
    if not self.closed and self.ws:idle_ms() >= idle_ms then
      self.wire.idle(self)
    end
  end
end

---@param wire table of the provider, see above
---@param ws cxb.ws.conn
---@param options table of M.open
---@return table stt
function M.new(wire, ws, options)
  local self = setmetatable({
    wire = wire, ws = ws, stage = options.stage, rate = options.rate, on_event = options.on_event,
    asked = {}, interim = "", unanswered = 0, errors = 0,
  }, M)
  cxb.task.spawn("stt", read, self)
  if wire.idle then
    self.watcher = cxb.task.spawn("stt_idle", watch, self)
  end
  return self
end

---An error after which the connection goes on.
function M:error(code, message)
  self.errors = self.errors + 1
  if self.errors > most_errors then
    return self:fail(code, message)
  end
  self.on_event({ type = "error", code = code, message = wire_of.clean(message, self.stage) })
end

---The provider gives up: it closes the connection itself, or is closed.
function M:fail(code, message)
  lost(self, code, message)
  self.ws:close(1000)
end

---Text that may still change.
function M:partial(text)
  self.interim, self.unasked = text, true
  if not self.discarding then
    self.on_event({ type = "partial", text = text })
  end
end

-- The request that an answer belongs to: the oldest that still waits. Without one, the last that
-- waited too long.
local function answered(self)
  local late
  while self.asked[1] do
    local request = table.remove(self.asked, 1)
    if not request.over then
      request.over = true
      return request
    end
    late = request
  end
  return nil, late
end

---Text that will not. `asked`: it is the answer to finalize().
---@param said {text: string, confidence?: number, language?: string}
function M:final(said, asked)
  self.interim = ""
  local request, late
  if asked then
    request, late = answered(self)
  end
  self.unasked = not asked and (self.unasked or said.text ~= "")
  if request and request.forget then
    self.discarding = nil
    return
  elseif not request and (said.text == "" or self.discarding
    or (late and (late.given or late.forget))) then
    return
  end
  self.on_event({
    type = "final", id = request and request.id, text = said.text, confidence = said.confidence,
    language = said.language, ms = request and cxb.time.mono() - request.at,
  })
end

---The caller's audio from now on; `at` of events counts from its beginning.
function M:feed(leg, replay_ms)
  self.fed_at = cxb.time.mono() - (replay_ms or 0)
  leg:tap(self.ws:sink(), self.rate, replay_ms or 0, self.wire.chunk_ms)
end

---When the moment `seconds` into the audio was, monotonic ms.
function M:moment(seconds)
  local now = cxb.time.mono()
  return math.min(now, (self.fed_at or now) + seconds * 1000)
end

local function forget(self)
  self.interim, self.unasked = "", false
  if self.wire.forget then
    self.wire.forget(self)
  end
end

local function can_ask(self, voiced_at)
  return self.wire.finalize and not (self.wire.quiet and self.wire.quiet(self, voiced_at))
end

-- What was understood so far is better than nothing.
local function give_interim(self, request)
  local text = self.interim
  request.given = text ~= ""
  forget(self)
  self.on_event({ type = "final", id = request.id, text = text, ms = cxb.time.mono() - request.at })
end

local function ask(self, request)
  self.unasked = false
  self.asked[#self.asked + 1] = request
  self.wire.finalize(self)
  cxb.task.spawn("stt_final", function()
    cxb.time.sleep(self.answer_ms)
    if request.over or self.closed then
      return
    end
    request.over = true
    self.unanswered = self.unanswered + 1
    if request.forget then
      self.discarding = nil
    else
      give_interim(self, request)
    end
    if self.unanswered >= most_unanswered then
      self:fail("timeout", "the recogniser does not answer")
    end
  end)
end

---Asks for the text of all that was said since the last final one; final{id} follows.
---@param id integer
---@param voiced_at? number when the caller's voice was last heard, monotonic ms
function M:finalize(id, voiced_at)
  local request = { id = id, at = cxb.time.mono() }
  if can_ask(self, voiced_at) then
    ask(self, request)
  else
    give_interim(self, request)
  end
end

---Forgets what was said and not yet given out.
function M:reset()
  forget(self)
  if can_ask(self) then
    self.discarding = true
    ask(self, { forget = true, at = cxb.time.mono() })
  end
end

---Words likely to come: these providers take them at the beginning only (extra.keyterm, context).
function M:hints() end

function M:close()
  if shut(self) then
    if self.wire.goodbye then
      self.wire.goodbye(self)
    end
    self.ws:close(1000)
  end
end

return M
