-- A whole call on virtual time: the worker's own session, call and flow, with a fake leg and fake
-- providers. The caller speaks at given moments, the language model answers by script. Specs of
-- flows have a simpler face (cxb.testing); this one sees everything.
local fake_leg = require("cxb.testing.leg")
local host = require("cxb.testing.host")
local sched_of = require("cxb.testing.sched")

local M = {}
M.__index = M

---Milliseconds a word of the bot's takes.
M.word_ms = 300

local function fake_stt(self, o)
  local caller = self.caller
  local dead = caller.dead[o.stage.provider]
  if dead then
    return nil, dead, "no recogniser"
  end
  caller.on_event = o.on_event
  caller.opened[#caller.opened + 1] = o.stage.provider
  return {
    feed = function(_, _, replay)
      caller.replayed = replay
    end,
    reset = function() end, close = function() end,
    hints = function(_, words)
      caller.hints = words
    end,
    finalize = function(_, id)
      local said = caller.saying
      self.sched.at(math.max(0, (caller.ready_at or 0) - cxb.time.mono()), function()
        if not caller.dead[o.stage.provider] then
          o.on_event({ type = "final", id = id, text = said, confidence = 0.9 })
        end
      end)
    end,
  }
end

local function fake_tts(self, o)
  local voice = self.voice
  voice.opened[#voice.opened + 1] = o.stage.provider
  if voice.dead[o.stage.provider] == "refused" then
    return nil, "refused", "no voice"
  end
  local tts = { close = function() end }
  function tts.say(_, leg, utterance, said, on_audio, on_words)
    voice.said[#voice.said + 1] = said
    local fault = voice.dead[o.stage.provider]
    tts.cancelled = false
    cxb.time.sleep(fault == "late" and 2500 or 30)
    if (fault and fault ~= "late") or tts.cancelled then
      leg:say_end(utterance, fault or "cancelled")
      return nil, tts.cancelled and "cancelled" or fault
    end
    on_audio()
    local words = require("cxb.text").words(said)
    if voice.timed then
      local timed = {}
      for i, word in ipairs(words) do
        timed[i] = { text = word, start_ms = (i - 1) * M.word_ms, end_ms = i * M.word_ms }
      end
      on_words(timed)
    end
    leg:push_ms(utterance, #words * M.word_ms)
    leg:say_end(utterance)
    return { ms = #words * M.word_ms }
  end
  function tts.cancel()
    tts.cancelled = true
  end
  return tts
end

-- An answer: text (in pieces of a word), {text, delay, piece_ms, tool_calls}, or {fault}.
local function stream(self, run, request)
  local model = self.model
  model.requests[#model.requests + 1] = request
  local answer = table.remove(model.answers, 1) or model.otherwise
  if type(answer) == "function" then
    answer = answer(request)
  end
  answer = type(answer) == "string" and { text = answer } or answer
  cxb.time.sleep(answer.delay or 100)
  if answer.fault or run.cancelled then
    return nil, run.cancelled and "cancelled" or answer.fault, "no answer"
  end
  for piece in (answer.text or ""):gmatch("%S+%s*") do
    request.on_text(piece)
    if answer.piece_ms then
      cxb.time.sleep(answer.piece_ms)
    end
    if run.cancelled then
      model.cancelled = (model.cancelled or 0) + 1
      return nil, "cancelled"
    end
  end
  if answer.breaks then
    return nil, answer.breaks
  end
  local calls = {}
  for i, call in ipairs(answer.tool_calls or {}) do
    calls[i] = { id = "c" .. i, name = call.name, arguments = call.arguments or "{}" }
  end
  return { text = answer.text or "", tool_calls = calls, finish = "stop", ttft_ms = 100,
    usage = { prompt_tokens = 10, completion_tokens = 5, cache_read_input_tokens = 4,
      cache_creation_input_tokens = 0 } }
end

local function fake_llm(self, o)
  self.model.opened[#self.model.opened + 1] = o.stage.provider
  local llm = { close = function() end }
  function llm.stream(_, request)
    llm.run = {}
    local fault = self.model.dead[o.stage.provider]
    if fault then
      cxb.time.sleep(fault == "timeout" and request.first_ms or 10)
      return nil, fault, "down"
    end
    return stream(self, llm.run, request)
  end
  function llm.cancel()
    llm.run.cancelled = true
  end
  return llm
end

local function fake_tools(self)
  return { new = function(call)
    return {
      find = function(_, name)
        for _, tool in ipairs(call.config.tools) do
          if (tool["function"] or tool).name == name then
            return tool
          end
        end
      end,
      definitions = function()
        local list = {}
        for i, tool in ipairs(call.config.tools) do
          list[i] = tool
        end
        return list
      end,
      run = function(_, name, arguments)
        local tool = self.tools[name]
        cxb.time.sleep(tool.ms or 10)
        tool.asked = arguments
        self.tools.done = (self.tools.done or 0) + 1
        call:event("custom_tool_result", { name = name, status = tool.status or 200,
          ms = tool.ms or 10 })
        return tool.answer, { status = tool.status or 200, ms = tool.ms or 10, error = tool.error,
          error_message = tool.error_message, end_call = tool.end_call, fallback = tool.fallback,
          rag_ms = tool.rag_ms }
      end,
    }
  end }
end

local faked = { "providers.stt_embedded", "providers.tts_embedded", "providers.llm_rules",
  "providers.stt_spare", "providers.tts_spare", "providers.llm_spare", "cxb.tools" }
local reloaded = { "cxb.call", "cxb.core.session" }

-- Only declared metrics count, as with the host.
local function strict_metrics(fake)
  local known = {}
  fake.metrics.declare = function(list)
    for _, entry in ipairs(list) do
      known[entry.name] = entry.type
    end
  end
  require("cxb.core.figures").declare()
  for verb, kind in pairs({ count = "counter", observe = "histogram" }) do
    fake.metrics[verb] = function(name)
      assert(known[name] == kind, name .. " is not declared as a " .. kind)
    end
  end
end

---A stage where nothing has happened yet; close() it after the test.
function M.new()
  local clock, fake = host.install()
  local self = setmetatable({
    clock = clock, fake = fake, sched = sched_of.install(fake, clock),
    caller = { dead = {}, opened = {} }, voice = { dead = {}, opened = {}, said = {} },
    model = { dead = {}, opened = {}, answers = {}, requests = {}, otherwise = "All right then." },
    tools = {},
  }, M)
  self.caller.tell = function(event)
    if self.caller.on_event then
      self.caller.on_event(event)
    end
  end
  fake.media = { read_wav = function()
    return ("\0"):rep(16000), 8000
  end }
  strict_metrics(fake)
  self.kept = {}
  for _, name in ipairs(faked) do
    self.kept[name] = package.loaded[name]
  end
  local providers = require("providers")
  providers.stt.spare, providers.tts.spare = "providers.stt_spare", "providers.tts_spare"
  providers.llm.spare = "providers.llm_spare"
  for _, name in ipairs({ "embedded", "spare" }) do
    package.loaded["providers.stt_" .. name] = { sends_vad = true, open = function(o)
      return fake_stt(self, o)
    end }
    package.loaded["providers.tts_" .. name] = { open = function(o)
      return fake_tts(self, o)
    end }
  end
  for _, name in ipairs({ "rules", "spare" }) do
    package.loaded["providers.llm_" .. name] = { open = function(o)
      return fake_llm(self, o)
    end }
  end
  package.loaded["cxb.tools"] = fake_tools(self)
  self.box = require("cxb.core.outboxes").box
  for _, name in ipairs(reloaded) do
    package.loaded[name] = nil
  end
  return self
end

function M:close()
  local providers = require("providers")
  providers.stt.spare, providers.tts.spare, providers.llm.spare = nil, nil, nil
  for _, name in ipairs(faked) do
    package.loaded[name] = self.kept[name]
  end
  for _, name in ipairs(reloaded) do
    package.loaded[name] = nil
  end
  require("cxb.core.outboxes").box = self.box
  host.restore()
  local real = rawget(_G, "cxb")
  if real then
    real.time.sleep(1) -- to the host, hours of virtual time are one task that does not yield
  end
end

---Whether this cuts what is being said, in the media loop.
function M:may(what)
  local barge = self.leg.barges[#self.leg.barges]
  return barge ~= nil and barge[what]
end

---From `at` on (ms of the media clock) the caller speaks for `ms`; interim texts as they come, the
---final text 120 ms after the silence, or o.final_ms. o.final: what the recogniser makes of it.
---@param at number
---@param ms number
---@param said string
---@param o? {final?: string, final_ms?: number}
function M:speaks(at, ms, said, o)
  local caller, sched = self.caller, self.sched
  local words = require("cxb.text").words(said)
  local final, final_ms = o and o.final or said, o and o.final_ms or 120
  sched.at(at, function()
    local from = cxb.time.mono()
    caller.tell({ type = "speech", at = from })
    for i = 1, #words do
      sched.at(ms * i / #words, function()
        caller.tell({ type = "partial", text = table.concat(words, " ", 1, i) })
      end)
    end
    sched.at(ms + 240, function()
      caller.saying, caller.ready_at = final, cxb.time.mono() + final_ms
      caller.tell({ type = "silence", at = from + ms })
      sched.at(final_ms, function()
        caller.tell({ type = "partial", text = final })
      end)
    end)
  end)
end

---Noise that voice activity takes for speech, without words.
function M:coughs(at, ms)
  self.sched.at(at, function()
    local from = cxb.time.mono()
    self.caller.tell({ type = "speech", at = from })
    self.leg:wire({ type = "speech", t_ms = self.leg:clock() })
    if self:may("vad") then
      self.leg:clear("vad")
    end
    self.sched.at(ms + 240, function()
      self.caller.saying, self.caller.ready_at = "", cxb.time.mono()
      self.caller.tell({ type = "silence", at = from + ms })
      self.leg:wire({ type = "silence", t_ms = self.leg:clock() - 240 })
    end)
  end)
end

---Keys pressed, 200 ms apart; each cuts the bot short as the media loop does.
function M:keys(at, digits)
  for i = 1, #digits do
    self.sched.at(at + (i - 1) * 200, function()
      self.leg:wire({ type = "dtmf", digit = digits:sub(i, i) })
      if self:may("dtmf") and self.leg.queue[1] then
        self.leg:clear("dtmf")
      end
    end)
  end
end

function M:at(ms, fn)
  self.sched.at(ms, fn)
end

---Runs a call of the flow `assistant` (or o.flow) to its end.
---@param config? table fields of the configuration
---@param o? {flow?: function, transport?: string, can_transfer?: boolean, ring_ms?: number,
---room?: string, transfer?: table, meta?: table, after?: fun()} after: when the call is over
---@return {by: string, error?: string} ending
function M:run(config, o)
  o = o or {}
  local Session, flows = require("cxb.core.session"), require("cxb.core.flows")
  local botconfig, record = require("cxb.core.botconfig"), require("cxb.record")
  local flow = o.flow or dofile(cxb.root .. "/lua/flows/assistant.lua")
  flows.get = function()
    return flow
  end
  local checked, field, why = botconfig.check(config or {}, true)
  assert(checked, tostring(field) .. " " .. tostring(why))
  checked.session_id = "s1"
  self.leg = fake_leg.new(self.sched, { can_transfer = o.can_transfer, transfer = o.transfer })
  self.leg.has_room = o.room ~= nil
  self.rows = {}
  require("cxb.core.outboxes").box = { put = function(_, row)
    cxb.time.sleep(5)
    if self.disk then
      return nil, self.disk
    end
    row.at = self.leg:clock()
    self.rows[#self.rows + 1] = row
    return #self.rows
  end }
  self.facts = record.new()
  self.facts:add("accepted", { call_id = "c1", bot_id = "b", direction = "incoming",
    started_at = cxb.time.now(), connected_event = "{}" })
  local meta = { transport = o.transport or "cxb", direction = "incoming", call_id = "c1",
    bot_id = "b", caller_id = "+911", room_name = o.room }
  for key, value in pairs(o.meta or {}) do
    meta[key] = value
  end
  return self.sched.run(function()
    local session = Session.new({
      settings = { CXB_SPEECH_URL = "unix:/x", api = "http://api/v1" }, leg = self.leg,
      facts = self.facts,
      config = checked, start = { rate = 8000 }, origin = cxb.time.mono(), meta = meta,
    })
    self.session = session
    session:connect()
    if o.ring_ms then
      self.sched.at(o.ring_ms, function()
        self.leg:wire({ type = "answer" })
      end)
    else
      self.leg:wire({ type = "answer" })
    end
    local ending = session:run()
    self.lasted_ms = self.leg:clock()
    if o.after then
      o.after()
    end
    return ending
  end)
end

---The caller hangs up at `at`.
function M:leaves(at)
  self.sched.at(at, function()
    self.leg:caller_gone(1000, "caller")
  end)
end

---Events of a kind, in order.
function M:events(kind)
  local out = {}
  for _, event in ipairs(self.facts.events) do
    if event.type == kind then
      out[#out + 1] = event
    end
  end
  return out
end

---"bot: Hello." lines of the transcript.
---@return string[]
function M:lines()
  local out = {}
  for i, entry in ipairs(self.facts.transcript) do
    out[i] = entry.role .. ": " .. entry.text
  end
  return out
end

---"role: content" lines of the messages of request n (default: the last one).
---@return string[]
function M:asked(n)
  local out = {}
  local request = self.model.requests[n or #self.model.requests]
  for i, message in ipairs(request.messages) do
    out[i] = message.role .. ": " .. message.content
  end
  return out
end

return M
