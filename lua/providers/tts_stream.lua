-- A voice over the network: what is the same for every text-to-speech provider that takes a
-- sentence and answers with audio, in JSON over a WebSocket or as the body of an HTTP answer. The
-- audio goes to the leg in C. A provider adds:
--   wire.rate                  Hz of its audio, or a function of the leg's rate
--   wire.connect(self)         → ws | nil, code, message   (waits); nil: HTTP only
--   wire.ask(self, ws, text)   sends the sentence
--   wire.path                  where in a message its audio is ("audio")
--   wire.read(self, say, message) → true when the sentence is over | nil, code, message
--   wire.reuse                 a connection speaks more than one sentence
--   wire.http(self, text)      → options of cxb.http.request; without wire.connect, or when no
--                              WebSocket is to be had
local channel = require("cxb.channel")
local json = require("cxb.json")
local refusal = require("cxb.refusal")
local wire_of = require("providers.wire")

local M = {}
M.__index = M

M.first_byte_ms, M.stall_ms = 2000, 3000
local request_ms = 60000

-- Answers that another way of asking would not change.
local final_codes = { http_401 = true, http_402 = true, http_403 = true, http_429 = true }

---@param wire table of the provider, see above
---@param options table of M.open
---@return table tts
function M.new(wire, options)
  local rate = wire.rate
  return setmetatable({
    wire = wire, stage = options.stage,
    rate = type(rate) == "function" and rate(options.rate) or rate,
    on_lost = options.on_lost or function() end,
  }, M)
end

-- (waits) Connects ahead of the sentence that will need it. Whoever needs it meanwhile waits too.
local function prepare(self)
  local ready = { done = channel.new() }
  self.ready = ready
  ready.ws, ready.code, ready.message = self.wire.connect(self)
  ready.over = true
  if self.closed and ready.ws then
    ready.ws:close(1000)
    ready.ws = nil
  end
  ready.done:push(true)
  return ready
end

---(waits) Opens the connection of the first sentence, so that a wrong key shows at once.
---@return table? tts, string? code, string? message
function M:open()
  if not self.wire.connect then
    return self
  end
  local ready = prepare(self)
  if ready.ws then
    return self
  elseif self.wire.http and not final_codes[ready.code] then
    self.over_http = true
    return self
  end
  return nil, ready.code, wire_of.clean(ready.message, self.stage)
end

-- (waits) The connection that was prepared, if it still stands, and what it has said already; else
-- a new one.
local function take(self)
  local ready = self.ready
  if ready and not ready.over then
    ready.done:pop()
  end
  self.ready = nil
  if ready and ready.ws then
    local kind, early = ready.ws:receive(0)
    if kind or early ~= "closed" then
      return ready.ws, kind and early or nil -- why it will not speak, perhaps
    end
  end
  return self.wire.connect(self)
end

-- The sentence's answers, until it is over. Returns true, or nil, code, message.
local function listen(self, ws, say, early)
  local wait = self.first_byte_ms
  while true do
    local kind, data, status, reason = "text", early, nil, nil
    if not early then
      kind, data, status, reason = ws:receive(wait)
    end
    early = nil
    if say.cancelled then
      return nil, "cancelled"
    elseif not kind then
      local why = data == "closed" and ("%s %s"):format(status or "", reason or "")
      return nil, data == "closed" and "closed" or "timeout", why or "the provider stopped sending"
    end
    local message = kind == "text" and json.decode_object(data)
    if not message then
      return nil, "bad_response", "not a JSON object"
    end
    local over, code, why = self.wire.read(self, say, message)
    if over or code then
      return over, code, why
    end
    if say.bytes > 0 then
      wait = self.stall_ms
    end
  end
end

---The audio of a message was `bytes` long, as conn:pipe_json() puts it in its place.
---@return boolean false: it was no audio
function M.audio(say, bytes)
  if type(bytes) ~= "number" or bytes < 0 then
    return false
  end
  if bytes > 0 and say.bytes == 0 then
    say.on_audio()
  end
  say.bytes = say.bytes + bytes
  return true
end

local function over_websocket(self, say, sink)
  local ws, code, message = take(self)
  if not ws then
    return nil, code, message
  elseif say.cancelled then
    ws:close(1000)
    return nil, "cancelled"
  end
  local early = code
  say.ws = ws
  ws:pipe_json(sink(), { path = self.wire.path })
  self.wire.ask(self, ws, say.text)
  local ok
  ok, code, message = listen(self, ws, say, early)
  ws:pipe_json(nil, { path = self.wire.path })
  if ok and self.wire.reuse and not self.closed then
    self.ready = { ws = ws, over = true }
  else
    ws:close(1000)
    if not self.closed then
      cxb.task.spawn("tts_connect", prepare, self)
    end
  end
  return ok, code, message
end

local function over_http(self, say, sink)
  local request, inbox = self.wire.http(self, say.text), channel.new()
  request.sink, request.timeout_ms = sink(), request_ms
  request.on_bytes = function()
    inbox:push("bytes")
  end
  local answer, code, message
  local task = cxb.task.spawn("tts_http", function()
    answer, code, message = cxb.http.request(request)
    inbox:push("done")
  end)
  say.stop = function()
    task:cancel()
    inbox:push("cancelled")
  end
  local what = inbox:pop(self.first_byte_ms)
  if what == "bytes" then
    say.on_audio()
  end
  while what == "bytes" do
    what = inbox:pop(self.stall_ms)
  end
  if say.cancelled then
    return nil, "cancelled"
  elseif not what then
    task:cancel()
    return nil, "timeout", "the provider stopped sending"
  elseif not answer then
    return nil, code, message
  elseif answer.status >= 300 then
    return nil, "http_" .. answer.status, refusal.text(answer)
  end
  say.bytes = answer.bytes
  return true
end

-- By WebSocket; by HTTP when no connection is to be had and it may change anything.
local function speak(self, say, sink)
  local used
  local function once()
    used = true
    return sink()
  end
  if self.wire.connect and not self.over_http then
    local ok, code, message = over_websocket(self, say, once)
    if ok or used or not self.wire.http or final_codes[code] or say.cancelled then
      return ok, code, message
    end
    self.over_http = true
  end
  return over_http(self, say, once)
end

---(waits) See docs/providers.md.
function M:say(leg, utterance, text, on_audio, on_words)
  local say = {
    text = text, bytes = 0, on_words = on_words, on_audio = on_audio or function() end,
  }
  self.current = say
  local ok, code, message = speak(self, say, function()
    return leg:say_sink(utterance)
  end)
  if self.current == say then
    self.current = nil
  end
  if say.cancelled then
    ok, code = nil, "cancelled"
  elseif ok and say.bytes % 2 == 1 then
    ok, code, message = nil, "bad_response", "half a sample at the end of the audio"
  elseif ok and say.bytes == 0 and text:find("%w") then
    ok, code, message = nil, "bad_response", "no audio"
  end
  leg:say_end(utterance, not ok and code or nil)
  if not ok then
    return nil, code, wire_of.clean(message, self.stage)
  end
  return { ms = say.bytes / 2 * 1000 / self.rate }
end

---Ends the sentence being spoken: none of its audio comes any more.
function M:cancel()
  local say = self.current
  if say then
    say.cancelled = true
    if say.ws then
      say.ws:close(1000)
    end
    if say.stop then
      say.stop()
    end
  end
end

function M:close()
  if not self.closed then
    self.closed = true
    self:cancel()
    local ready = self.ready
    if ready and ready.ws then
      ready.ws:close(1000)
    end
  end
end

return M
