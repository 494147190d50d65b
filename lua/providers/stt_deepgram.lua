-- Speech to text by Deepgram's streaming recogniser (/v1/listen). The leg's own voice activity says
-- when the caller speaks; a Finalize brings what text is missing when a turn is over.
local url = require("cxb.url")
local stream = require("providers.stt_stream")
local wire = require("providers.wire")

local M = { sends_vad = false, sends_turns = false }

local home = "wss://api.deepgram.com"
-- The leg's voice activity holds on to a voice for so long after its end.
local linger_ms = 150

-- Options of `extra` for the call itself or for other providers: none of this one's query.
local others = {}
for name in ([[should_interrupt min_confidence eot_threshold eager_eot_threshold eot_timeout_ms
  language_hints language_hints_strict context enable_speaker_diarization client_reference_id
  enable_language_identification vad_force_turn_endpoint]]):gmatch("%S+") do
  others[name] = true
end
-- Sent unless `extra` says otherwise: texts while the caller speaks, and sentences that end.
local defaults = {
  interim_results = true, punctuate = true, vad_events = true, utterance_end_ms = 1000,
}

-- `extra` in the order of its names; a list is a key that repeats.
local function add_extra(query, extra)
  local all, names = {}, {}
  for name, value in pairs(defaults) do
    all[name] = value
  end
  for name, value in pairs(extra) do
    all[name] = value
  end
  if all.interim_results == false then
    all.utterance_end_ms = nil -- it is made of interim texts
  end
  for name in pairs(all) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = all[name]
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      if not others[name] and one ~= cxb.null then
        query[#query + 1] = { name, tostring(one) }
      end
    end
  end
  return query
end

---@return string
function M.query(stage, rate)
  return url.encode_query(add_extra({
    { "model", wire.model(stage, "nova-3") }, { "language", wire.word(stage.language) or "en" },
    { "encoding", "linear16" }, { "sample_rate", rate }, { "channels", 1 },
  }, stage.extra or {}))
end

local handlers = {}

function handlers.Results(self, message)
  local channel = type(message.channel) == "table" and message.channel or {}
  local best = type(channel.alternatives) == "table" and channel.alternatives[1] or nil
  if type(best) ~= "table" or type(best.transcript) ~= "string" then
    return self:error("bad_response", "Results without a transcript")
  end
  if message.is_final ~= true then
    if best.transcript ~= "" then
      self.settled_at = nil
      self:partial(best.transcript)
    end
    return
  end
  if message.speech_final == true then
    local seconds = (tonumber(message.start) or 0) + (tonumber(message.duration) or 0)
    self.settled_at = self:moment(seconds)
  end
  local languages = type(best.languages) == "table" and best.languages or {}
  self:final({
    text = best.transcript, confidence = tonumber(best.confidence),
    language = languages[1] or wire.word(channel.detected_language),
  }, message.from_finalize == true)
end

-- Words have ended, though the leg may hear something else go on. Of a turn that is over already
-- this is no news, and would begin the next.
function handlers.UtteranceEnd(self, message)
  local seconds = tonumber(message.last_word_end)
  if seconds and seconds >= 0 and self.unasked then
    self.on_event({ type = "silence", at = self:moment(seconds) })
  end
end

handlers["Error"] = function(self, message)
  self:error("provider", message.description or message.message)
end

local deepgram = { idle_ms = 5000 }

function deepgram.handle(self, message)
  local handler = handlers[message.type] -- the others (Metadata, SpeechStarted) tell nothing new
  if handler then
    handler(self, message)
  end
end

-- A pause it noticed by itself behind the last voice: the text up to there is all there is, and the
-- way to the provider and back is saved.
function deepgram.quiet(self, voiced_at)
  return self.settled_at ~= nil and voiced_at ~= nil and self.settled_at + linger_ms >= voiced_at
end

function deepgram.finalize(self)
  self.ws:send('{"type":"Finalize"}')
end

function deepgram.idle(self)
  self.ws:send('{"type":"KeepAlive"}')
end

function deepgram.goodbye(self)
  self.ws:send('{"type":"CloseStream"}')
end

---(waits)
function M.open(options)
  local stage = options.stage
  local address = ("%s/v1/listen?%s"):format(wire.address(stage.url, home, "ws"),
    M.query(stage, options.rate))
  local ws, code, message = wire.connect(address,
    { authorization = "Token " .. (stage.api_key or "") })
  if not ws then
    return nil, code, wire.clean(message, stage)
  end
  return stream.new(deepgram, ws, options)
end

return M
