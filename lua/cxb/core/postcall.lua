-- After a call (core spec §6): its result waits in the outbox, in state "analysis", until a model
-- has looked at it; then it leaves as one POST. What is left to do stands in the row, so a crash
-- between stages resumes behind the last one, here or at a neighbour. 60 s of work and 3 attempts
-- at most: then the result goes without.
local analysis = require("cxb.core.analysis")
local disposition = require("cxb.disposition")
local json = require("cxb.json")
local outboxes = require("cxb.core.outboxes")
local record = require("cxb.record")
local result = require("cxb.result")

local M = { limit_ms = 60000, attempts = 3, pauses = { 1000, 3000 } }

local at_once = 4
local running = 0

local function non_empty(text)
  return type(text) == "string" and text:match("%S") and text or nil
end

local function models_of(llm)
  local models = {}
  for i, choice in ipairs({ llm, unpack(llm.fallback or {}) }) do
    models[i] = { provider = choice.provider, api_key = choice.api_key, model = choice.model,
      max_tokens = choice.max_tokens, base_url = choice.base_url, extra = choice.extra }
  end
  return models
end

---What the end of a call needs to know of its configuration; it goes into the journal.
---@param config table of the call
---@return table plan
function M.plan(config)
  local plan = {
    bot_id = config.bot_id, analysis_prompt = non_empty(config.post_call_analysis_prompt),
    qc_prompt = non_empty(config.qc_prompt), callback = config.callback_detection_enabled or nil,
    auto_dispositions = config.auto_dispositions,
  }
  if config.llm and (plan.analysis_prompt or plan.qc_prompt or plan.callback) then
    plan.models = models_of(config.llm)
    plan.cache = config.post_call_cache_enabled and
      { version = config.post_call_cache_version, handles = config.post_call_cache } or nil
  end
  return plan
end

---The variables of the call at its end, for templates: plain values only.
---@return table plan to be added to the record
function M.variables(vars)
  local plain = {}
  for name, value in pairs(vars or {}) do
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then
      plain[tostring(name)] = value
    end
  end
  return { vars = plain }
end

---What has to be done before this result is sent, for delivery.commit(); nil: nothing. A call that
---is not analysed gets its disposition here.
---@param facts table cxb.record, ended
---@return string? work
function M.prepare(facts)
  local plan = facts.plan or {}
  local analysed, key = disposition.judge(facts)
  if not analysed then
    facts.analysis = key and disposition.of(key, plan.auto_dispositions) or nil
    return nil
  end
  local left = json.array()
  if plan.models and (plan.analysis_prompt or plan.callback) then
    left[1] = "analysis"
  end
  if plan.models and plan.qc_prompt then
    left[#left + 1] = "qc"
  end
  if #left == 0 then
    return nil
  end
  return json.encode({ left = left, failures = 0, spent_ms = 0, facts = facts:snapshot() }, true)
end

-- The result goes without what is left.
local function give_up(work, facts, code)
  facts:add("event", { t_ms = facts.times.ended, type = "post_call_failed", data = {
    stage = work.left[1], code = code } })
  cxb.log.warn("the call's analysis failed", { stage = work.left[1], code = code,
    session_id = facts.fields.session_id })
  work.left = {}
end

-- (waits) The stage that is next. What it found goes into the work, what failed is counted.
local function step(c, work, facts)
  local stage, began = work.left[1], cxb.time.mono()
  local object, code = analysis.ask(c, facts.plan, stage, facts, M.limit_ms - work.spent_ms)
  work.spent_ms = work.spent_ms + math.max(1, math.floor(cxb.time.mono() - began))
  if object then
    facts[stage] = object
    table.remove(work.left, 1)
    return
  end
  work.failures = work.failures + 1
  if work.failures >= M.attempts or work.spent_ms >= M.limit_ms then
    return give_up(work, facts, code)
  end
  return M.pauses[work.failures]
end

-- (waits) From where it was left to the finished result.
local function run(c, box, row)
  local work = json.decode_object(row.work)
  if not work or type(work.facts) ~= "table" then
    cxb.log.error("what is to be done after a call cannot be read", { session_id = row.session_id })
    return box:finish(row.id)
  end
  local facts = record.restore(work.facts)
  cxb.task.tag({ session_id = facts.fields.session_id, call_id = facts.fields.call_id })
  if row.attempts > M.attempts then
    give_up(work, facts, "crashed")
  end
  while work.left[1] do
    local pause = step(c, work, facts)
    if work.left[1] then
      work.facts = facts:snapshot()
      if not box:keep_analysis(row.id, json.encode(work)) then
        return -- somebody else has it now
      elseif pause then
        cxb.time.sleep(pause)
        work.spent_ms = work.spent_ms + pause
      end
    end
  end
  return box:finish(row.id, result.build(facts))
end

-- (waits) As many rows as may be worked on; each in a task of its own.
local function take(c, box)
  while running < at_once and box:stats().analysis > 0 do
    local row = box:claim_analysis()
    if not row then
      return
    end
    running = running + 1
    cxb.task.spawn("post_call", function()
      local ok, why = pcall(run, c, box, row)
      running = running - 1
      if not ok then
        cxb.log.error("after a call", { session_id = row.session_id, error = tostring(why) })
      end
    end)
  end
end

---Whether results are being worked on: an idle worker that ends now would leave them to another.
---@return boolean
function M.busy()
  return running > 0
end

---(waits ≤ ms) For what is being worked on: it could leave with this process.
---@param ms number
---@return number left of ms
function M.wait(ms)
  local deadline = cxb.time.mono() + ms
  while running > 0 and cxb.time.mono() < deadline do
    cxb.time.sleep(50)
  end
  return math.max(0, deadline - cxb.time.mono())
end

---(waits) Looks for results to work on, in every outbox this process holds.
---@param c table settings
function M.work(c)
  for _, held in ipairs(outboxes.held()) do
    take(c, held.box)
  end
end

return M
