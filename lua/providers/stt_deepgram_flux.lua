-- Speech to text by Deepgram Flux (/v2/listen): a recogniser that decides itself when the caller's
-- turn is over, and may say so early.
local url = require("cxb.url")
local stream = require("providers.stt_stream")
local wire = require("providers.wire")

local M = { sends_vad = false, sends_turns = true }

local home = "wss://api.deepgram.com"

local rules = {
  { "eot_threshold", 0.5, 1 }, { "eager_eot_threshold", 0.3, 0.9 },
  { "eot_timeout_ms", 500, 60000 }, { "keyterm", "list" }, { "language_hints", "list" },
}
local default_eot_threshold, default_eot_timeout_ms = 0.7, 5000

-- The model speaks English; the other one is told which languages to expect.
local function model(stage, hints)
  local language = wire.word(stage.language) or "en"
  local english = language:match("^en") and not hints
  return wire.model(stage, english and "flux-general-en" or "flux-general-multi"), language
end

---@return string? query, string? code, string? message
function M.query(stage, rate)
  local extra, code, message = wire.options(stage.extra or {}, rules)
  if not extra then
    return nil, code, message
  end
  local name, language = model(stage, extra.language_hints)
  local list = {
    { "model", name }, { "encoding", "linear16" }, { "sample_rate", rate },
    { "eot_threshold", extra.eot_threshold or default_eot_threshold },
    { "eager_eot_threshold", extra.eager_eot_threshold },
    { "eot_timeout_ms", extra.eot_timeout_ms or default_eot_timeout_ms },
  }
  for _, term in ipairs(extra.keyterm or {}) do
    list[#list + 1] = { "keyterm", term }
  end
  if name:find("multi", 1, true) then
    for _, hint in ipairs(extra.language_hints or { language ~= "multi" and language or nil }) do
      list[#list + 1] = { "language_hint", hint }
    end
  end
  return url.encode_query(list)
end

-- The least sure word says how sure the turn is.
local function confidence(words)
  local least
  for _, word in ipairs(type(words) == "table" and words or {}) do
    local sure = type(word) == "table" and tonumber(word.confidence)
    least = sure and math.min(least or 1, sure) or least
  end
  return least
end

local events = {}

function events.StartOfTurn(self, said)
  self.under_way = true
  self.on_event({ type = "turn_start" })
  events.Update(self, said)
end

function events.Update(self, said)
  if said.text ~= "" then
    self:partial(said.text)
  end
end

function events.EagerEndOfTurn(self, said)
  self:partial(said.text)
  self.on_event({ type = "turn_eager", text = said.text })
end

function events.TurnResumed(self, said)
  self.on_event({ type = "turn_resumed" })
  events.Update(self, said)
end

-- A turn that was asked for is a final text; one that was to be forgotten is neither.
function events.EndOfTurn(self, said)
  self.under_way = false
  if #self.asked > 0 then
    return self:final(said, true)
  end
  self.interim = ""
  self.on_event({
    type = "turn_end", text = said.text, confidence = said.confidence, language = said.language,
  })
end

local handlers = {}

function handlers.TurnInfo(self, message)
  local event = events[message.event]
  if not event then
    return
  elseif type(message.transcript) ~= "string" then
    return self:error("bad_response", "TurnInfo without a transcript")
  end
  local languages = type(message.languages) == "table" and message.languages or {}
  event(self, {
    text = message.transcript, confidence = confidence(message.words), language = languages[1],
  })
end

handlers["Error"] = function(self, message)
  self:fail("provider", message.description or message.code)
end
handlers.FatalError = handlers["Error"]

local flux = { idle_ms = 5000, chunk_ms = 80 }

function flux.handle(self, message)
  local handler = handlers[message.type]
  if handler then
    handler(self, message)
  end
end

function flux.finalize(self)
  self.ws:send('{"type":"ForceEndTurn"}')
end

function flux.quiet(self)
  return not self.under_way
end

-- It knows no message that only keeps it awake, so it hears silence.
function flux.idle(self)
  self.ws:send_binary(("\0"):rep(self.rate * 80 / 1000 * 2))
end

function flux.goodbye(self)
  self.ws:send('{"type":"CloseStream"}')
end

---(waits)
function M.open(options)
  local stage = options.stage
  local query, code, message = M.query(stage, options.rate)
  if not query then
    return nil, code, message
  end
  local ws
  ws, code, message = wire.connect(
    ("%s/v2/listen?%s"):format(wire.address(stage.url, home, "ws"), query),
    { authorization = "Token " .. (stage.api_key or "") })
  if not ws then
    return nil, code, wire.clean(message, stage)
  end
  return stream.new(flux, ws, options)
end

return M
