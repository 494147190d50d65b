-- call:llm: the language model answers, aloud and sentence by sentence, and may use tools on the
-- way. What the caller says meanwhile is heeded as in call:say.
local Round = require("cxb.call.round")
local Speaking = require("cxb.call.speaking")
local built_in = require("cxb.call.builtin")
local guard = require("cxb.guard")
local json = require("cxb.json")
local phrases = require("cxb.phrases")
local text = require("cxb.text")

local M = {}

local max_tool_calls, filler_ms = 20, 3000

local function request_of(self, opts, without_tools)
  return {
    messages = self.context:messages(opts.instruction),
    tools = not without_tools and self.tools:definitions() or nil,
    temperature = opts.temperature, max_tokens = opts.max_tokens, json = opts.json,
  }
end

local function same_words(a, b)
  return table.concat(text.words(a), " ") == table.concat(text.words(b), " ")
end

---Begins to think about words that may be all the caller has to say. Unheard: call:llm with the
---same words speaks what is there by then.
---@param said string
function M:think_ahead(said)
  self:think_no_further()
  self.context:user(said)
  local request = request_of(self, {})
  self.context:take_back()
  self.ahead = { text = said, round = Round.start(self, request) }
end

---The caller goes on after all.
function M:think_no_further()
  if self.ahead then
    self.ahead.round:cancel()
    self.ahead = nil
  end
end

local function first_round(self, opts)
  local ahead = self.ahead
  self.ahead = nil
  if ahead and opts.text and same_words(ahead.text, opts.text) and not opts.instruction then
    return ahead.round
  elseif ahead then
    ahead.round:cancel()
  end
  return Round.start(self, request_of(self, opts))
end

local function utterance(self, run)
  local s = Speaking.begin(self, run.opts.barge)
  s.heeds_turns, s.spent = true, {}
  if not run.filled then
    s.filler = { ms = filler_ms, text = phrases.of(self.config.tts.language).filler }
  end
  return s
end

-- A sentence keeps what was spent before it: the table is a new one each time.
local function spend(s, part, ms)
  local before = s.spent
  s.spent = { llm_ms = before.llm_ms, tool_ms = before.tool_ms, rag_ms = before.rag_ms }
  s.spent[part] = (before[part] or 0) + ms
end

-- What a round took is counted from the caller's words on, when it was begun before them.
local function follow(self, run, round)
  local s = run.s
  round:speak_to(s, function(now)
    local from = math.max(round.began_at, self.asked and self.asked.final_at or 0)
    spend(s, "llm_ms", math.max(0, now - from))
  end)
  s:run(function()
    return not round.done and not s.stopped
  end)
  if not round.done then
    round:cancel()
  end
  if round.answer and not round.words[1] then
    spend(s, "llm_ms", cxb.time.mono() - round.began_at)
  end
end

-- Ends the utterance: the model remembers what was heard, not what it wanted to say.
local function conclude(run)
  local s = run.s
  run.filled = not s.filler
  s:run()
  local said, rounds = s:finish()
  for n, message in pairs(run.messages) do
    message.content = rounds[n] or ""
  end
  run.messages = {}
  run.said = said
  local heard = {}
  for _, round in pairs(rounds) do
    heard[#heard + 1] = round
  end
  run.heard = run.heard .. (run.heard ~= "" and heard[1] and " " or "") .. table.concat(heard, " ")
  run.heard_ms = run.heard_ms + said.heard_ms
  return not (said.hangup or said.interrupted or s.stopped)
end

-- (waits) A tool of the bot's own, to its answer.
local function run_tool(self, run, call)
  local s, done, answer, info = run.s, false, nil, nil
  local tool = self.tools:find(call.name) or {}
  if tool.pre_message and tool.pre_message ~= "" then
    s:add(self:render(tool.pre_message), { aside = true })
  end
  self.session:state("tool")
  self.session:hold(true)
  local began = cxb.time.mono()
  local function over()
    done = true
    self.inbox:push({ type = "thought" })
  end
  cxb.task.spawn("tool " .. call.name, guard, function()
    answer, info = '{"error":"internal"}', { status = "internal", error = "internal" }
    over()
  end, function()
    answer, info = self.tools:run(call.name, call.arguments)
    over()
  end)
  s:run(function()
    return not done
  end)
  self.session:hold(false)
  info = info or {}
  spend(s, info.rag_ms and "rag_ms" or "tool_ms", cxb.time.mono() - began)
  if info.error_message then
    s:add(info.error_message, { aside = true })
  end
  if info.fallback and info.fallback ~= "" then
    s:add(self:render(info.fallback), { round = run.n }) -- these words are the answer
    run.answered = true
  end
  run.ending = info.end_call or run.ending
  return answer or '{"error":"cancelled"}', info
end

-- (waits) Every call of a round has an answer before the model is asked again.
local function use_tools(self, run, calls)
  for _, call in ipairs(calls) do
    local answer
    self.tool_calls = self.tool_calls + 1
    run.tools_used = run.tools_used + 1
    if run.tools_used > max_tool_calls then
      answer = '{"error":"too_many_tool_calls"}'
    elseif self.gone then
      answer = '{"error":"cancelled"}'
    elseif built_in[call.name] then
      self:event("tool_call", { name = call.name,
        arguments = json.decode_object(call.arguments) or call.arguments })
      answer = built_in[call.name](self, run, call)
    else
      answer = run_tool(self, run, call)
    end
    self.context:tool(call.id, answer)
  end
end

-- One request and what follows from it. True: ask again.
local function step(self, run, round)
  follow(self, run, round)
  local answer = round.answer
  if round.failed then
    run.failed = round.failed
    return false
  end
  if not answer then
    run.messages[round.n] = self.context:assistant(table.concat(round.words, " "))
    return false
  end
  run.messages[round.n] = self.context:assistant(answer.text, answer.tool_calls)
  for name, value in pairs(answer.set or {}) do
    self:set(name, value)
  end
  if not answer.tool_calls[1] then
    return false
  end
  use_tools(self, run, answer.tool_calls)
  return not (run.after or run.over or run.answered or run.s.stopped or self.gone or run.last)
end

---@class cxb.call.answered : cxb.call.said
---@field text string what was heard of the answer
---@field ended? string "end_call" "transfer" "handoff" "voicemail": the call is over for the flow
---@field new_turn? boolean the caller spoke before the answer began: listen() has the words

---@class cxb.call.llm
---@field text? string what the caller said; it is remembered
---@field instruction? string for this answer only
---@field barge? false|"words"|"vad"|"dtmf" as in say
---@field temperature? number
---@field max_tokens? integer

---Lets the language model answer: aloud, from its first sentence on, with the bot's tools. Waits
---until the answer was heard or interrupted.
---@param opts? cxb.call.llm
---@return cxb.call.answered
function M:llm(opts)
  opts = opts or {}
  if self.gone then
    return { text = "", heard_ms = 0, interrupted = false, hangup = true }
  end
  local run = { opts = opts, messages = {}, heard = "", heard_ms = 0, tools_used = 0, n = 1 }
  if opts.text then
    self.context:user(opts.text)
  end
  self.session:state("thinking")
  run.s = utterance(self, run)
  run.conclude = function()
    return conclude(run)
  end
  run.again = function()
    run.s = utterance(self, run)
  end
  local round = first_round(self, opts)
  while step(self, run, round) do
    run.n = run.n + 1
    run.last = run.tools_used >= max_tool_calls
    self.session:state("thinking")
    round = Round.start(self, request_of(self, opts, run.last), run.n)
  end
  run.after = run.after or (run.ending and not run.failed and "end_call") or nil
  local whole = run.over or conclude(run)
  self.session:spent()
  if run.failed and not self.gone then
    self.session:provider_lost("llm")
  elseif run.after == "end_call" and (whole or self.gone) then
    self:hangup("end_call")
  end
  local said = run.said or { interrupted = false }
  return {
    text = run.heard, heard_ms = run.heard_ms, interrupted = said.interrupted, by = said.by,
    hangup = said.hangup or self.gone or nil, failed = run.failed or said.failed,
    ended = run.over or (self.gone and run.after) or nil, new_turn = self.pending ~= nil or nil,
  }
end

---Runs one of the bot's own tools, as the model would.
---@param name string
---@param args? table
---@return {text: string, value: any, status: string|integer, ms: integer, error?: string} result
function M:tool(name, args)
  if self.gone then
    return { text = "", status = "cancelled", ms = 0, error = "cancelled", hangup = true }
  end
  local run = { opts = {}, messages = {}, heard = "", heard_ms = 0, filled = false }
  run.s = utterance(self, run)
  self.tool_calls = self.tool_calls + 1
  local began = cxb.time.mono()
  local answer, info = run_tool(self, run, { name = name,
    arguments = args and next(args) and json.encode(args) or "{}" })
  conclude(run)
  return {
    text = answer, value = json.decode(answer), status = info.status or "cancelled",
    ms = math.floor(cxb.time.mono() - began + 0.5), error = info.error, hangup = self.gone or nil,
  }
end

return M
