-- What a language model makes of a finished call: a JSON object, asked for at temperature 0.
local json = require("cxb.json")
local prompt_cache = require("cxb.prompt_cache")
local providers = require("providers")
local result = require("cxb.result")
local template = require("cxb.template")
local text = require("cxb.text")
local variables = require("cxb.variables")

local M = {}

local least_tokens, first_ms, total_ms, max_raw = 1024, 15000, 25000, 16384

local only_json = "Answer with one JSON object and nothing else."
local repair = "That was not one JSON object. Give the same answer as one JSON object and nothing "
  .. "else."
local callback = "Find out whether the customer asked to be called back, and add these keys to the "
  .. 'JSON object: "callback_requested" (true or false), "callback_preferred_time_text" (the '
  .. 'customer\'s words for the time, or ""), "callback_reason" (or ""), "callback_confidence" '
  .. "(0 to 1)."

local speakers = { bot = "Bot", customer = "Customer", agent = "Agent", dtmf = "Customer's keys" }

-- The conversation as the model reads it.
local function transcript_of(facts)
  local f, lines = facts.fields, {}
  lines[1] = ("A phone call (%s), ended by: %s."):format(f.direction or "incoming",
    f.disconnected_by or "unknown")
  for _, entry in ipairs(facts.transcript) do
    lines[#lines + 1] = ("%s: %s"):format(speakers[entry.role] or entry.role, entry.text or "")
  end
  return table.concat(lines, "\n")
end

-- {{result.*}}, {{analysis.*}} and {{qc.*}} exist only now; what is unknown stays visible.
local function rendered(prompt, facts, vars)
  if not prompt:find("{{", 1, true) then
    return prompt
  end
  local after = { result = json.decode_object(result.build(facts)) }
  after.analysis, after.qc = facts.analysis, facts.qc
  return (template.render(prompt, variables.after_call(vars or {}, after)))
end

-- A prompt that holds something of this call is not the one the provider keeps.
local function cache_of(plan, stage, raw, prompt)
  if not plan.cache then
    return nil
  end
  local kept = plan.cache.handles and plan.cache.handles[stage]
  local handle = type(kept) == "table" and (kept.prompt_cache_key or kept.name) or kept
  return {
    key = ("%s:%s:%s"):format(plan.bot_id or "", stage, plan.cache.version or ""), static = prompt,
    handle = raw == prompt and prompt_cache.is_handle(handle) and handle or nil,
    lost = function() end, renew = function() end,
  }
end

---The request of a stage.
---@param plan table of cxb.core.postcall
---@param stage "analysis"|"qc"
---@param facts table cxb.record, ended
---@return table request
function M.request(plan, stage, facts)
  local raw = stage == "qc" and plan.qc_prompt or plan.analysis_prompt or ""
  local prompt = rendered(raw, facts, plan.vars)
  local messages = {}
  if prompt ~= "" then
    messages[1] = { role = "system", content = prompt }
  end
  local instruction = stage == "analysis" and plan.callback and callback .. " " .. only_json
    or only_json
  messages[#messages + 1] = { role = "system", content = instruction }
  messages[#messages + 1] = { role = "user", content = transcript_of(facts) }
  return { messages = messages, temperature = 0, json = true,
    cache = cache_of(plan, stage, raw, prompt) }
end

---The JSON object in a model's answer, whatever stands around it.
---@param answer string
---@return table?
function M.object_in(answer)
  local inner = answer:match("```%w*%s*(.-)%s*```") or answer
  return json.decode_object(inner) or json.decode_object(inner:match("{.*}") or "")
end

-- (waits) One request within what is left of the time.
local function say(llm, request, deadline)
  local left = deadline - cxb.time.mono()
  if left <= 0 then
    return nil, "timeout", "no time is left"
  end
  request.first_ms, request.total_ms = math.min(first_ms, left), math.min(total_ms, left)
  return llm:stream(request)
end

-- (waits) One repair at most: an object, or what the model said instead.
local function object_from(llm, request, deadline)
  local answer, code, message = say(llm, request, deadline)
  if not answer then
    return nil, code, message
  end
  local object, said = M.object_in(answer.text), answer.text
  if not object then
    local messages = { unpack(request.messages) }
    messages[#messages + 1] = { role = "assistant", content = said }
    messages[#messages + 1] = { role = "user", content = repair }
    request.messages = messages
    answer = say(llm, request, deadline)
    object = answer and M.object_in(answer.text)
  end
  return object or { raw = (text.limit(said, max_raw)) }
end

-- (waits)
local function ask_one(settings, choice, request, deadline)
  local provider = providers.get("llm", choice.provider)
  if not provider then
    return nil, "unknown_provider"
  end
  local llm, code, message = provider.open({ stage = choice, settings = settings, vars = {},
    cold = true })
  if not llm then
    return nil, code, message
  end
  request.max_tokens = math.max(choice.max_tokens or 0, least_tokens)
  local object
  object, code, message = object_from(llm, request, deadline)
  llm:close()
  return object, code, message
end

---(waits) The object of a stage, from the bot's model or one that takes over from it.
---@param settings table
---@param plan table
---@param stage "analysis"|"qc"
---@param facts table
---@param limit_ms number
---@return table? object, string? code, string? message
function M.ask(settings, plan, stage, facts, limit_ms)
  local deadline = cxb.time.mono() + limit_ms
  local code, message
  for _, choice in ipairs(plan.models) do
    local object
    object, code, message = ask_one(settings, choice, M.request(plan, stage, facts), deadline)
    if object then
      return object
    end
  end
  return nil, code, message
end

return M
