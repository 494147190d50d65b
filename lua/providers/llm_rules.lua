-- A language model that is a file of patterns: no network, the same answer to the same words. The
-- bot's `llm.model` names the file, <bots folder>/<model>.rules.json, or `llm.extra.rules` holds
-- its content. docs/llm.md describes the format.
--
-- Nothing is remembered between requests: the state of the conversation is worked out from its
-- messages, so a request that was cancelled or asked twice changes nothing.
local json = require("cxb.json")
local numbers = require("cxb.numbers")
local rules = require("cxb.rules")
local template = require("cxb.template")
local text = require("cxb.text")

local M = {}
local llm = {}
llm.__index = llm

-- Values of a reply: what the rule found, what was set before, the tool's answer, the call's.
local function values_of(self, state, input, found)
  local values = {}
  for name, value in pairs(self.vars) do
    values[name] = value
  end
  for name, value in pairs(state.set) do
    values[name] = value
  end
  for name, value in pairs(found) do
    values[name] = value
  end
  values.text = input.text
  if found.digits then
    values.digits_spelled = numbers.spell(found.digits)
  end
  if input.answer then
    template.flatten(values, "tool.", input.answer)
  end
  return values
end

local function fill(value, values)
  if type(value) == "string" then
    return (template.render(value, values, function()
      return ""
    end))
  elseif type(value) ~= "table" then
    return value
  end
  local out = json.is_array(value) and json.array() or {}
  for key, item in pairs(value) do
    out[key] = fill(item, values)
  end
  return out
end

-- Replies in a list take turns, by how often the rule was used.
local function wording(rule, used)
  local say = rule.say
  if type(say) == "table" then
    return say[(used - 1) % #say + 1] or ""
  end
  return say or ""
end

local function copy(map)
  local twin = {}
  for key, value in pairs(map) do
    twin[key] = value
  end
  return twin
end

-- One input: the state after it, and what is said and called.
local function step(self, state, input)
  local rule, found = rules.best(self.rules, state, input)
  local after = { name = state.name, set = copy(state.set), used = copy(state.used) }
  after.used[rule] = (state.used[rule] or 0) + 1
  local values = values_of(self, state, input, found)
  for name, value in pairs(rule.set or {}) do
    after.set[name] = fill(value, values)
    values[name] = after.set[name]
  end
  if rule.state ~= nil then
    after.name = rule.state ~= "" and rule.state or nil
  end
  local call = rule.call
  return after, {
    text = fill(wording(rule, after.used[rule]), values), set = rule.set and after.set,
    call = call and { name = call.name, arguments = json.encode(fill(call.arguments or
      json.object({}), values), true) },
  }
end

-- What the caller did, message by message; several answers of tools in a row are one input.
local function inputs_of(messages)
  local inputs, names = {}, {}
  for _, m in ipairs(messages) do
    if m.role == "user" then
      local keys = (m.content or ""):match("%[dtmf:([%d*#]+)%]")
      inputs[#inputs + 1] = { text = m.content or "", keys = keys and keys:gsub("#$", "") }
    elseif m.role == "tool" then
      local answer = json.decode_object(m.content or "") or { result = m.content }
      inputs[#inputs + 1] = { text = "", tool = names[m.tool_call_id] or "", answer = answer }
    end
    for _, call in ipairs(m.tool_calls or {}) do
      names[call.id] = (call["function"] or call).name
    end
  end
  local last, spoken = messages[#messages], false
  for _, m in ipairs(messages) do
    spoken = spoken or m.role ~= "system"
  end
  if not last or (last.role ~= "user" and last.role ~= "tool") then
    inputs[#inputs + 1] = { text = "", silence = spoken, opening = not spoken }
  end
  return inputs
end

-- What was worked out for the last request serves the next, as far as their inputs agree.
local function run(self, inputs)
  local state, action = { set = {}, used = {} }, {}
  for i, input in ipairs(inputs) do
    local key = ("%s|%s|%s"):format(input.tool or "", tostring(input.silence), input.text)
    local known = self.steps[i]
    if not known or known.key ~= key or i == #inputs then
      local after
      after, action = step(self, state, input)
      known = { key = key, after = after }
      self.steps[i] = known
      for j = #self.steps, i + 1, -1 do
        self.steps[j] = nil
      end
    end
    state = known.after
  end
  return action
end

-- A request for JSON (post-call analysis) takes the first entry of `json` whose phrase or pattern
-- is in the last message.
local function json_answer(self, messages)
  local last = messages[#messages]
  for _, entry in ipairs(self.rules.source.json or {}) do
    if rules.takes(entry, last and last.content or "") then
      return json.encode(fill(entry.value or {}, self.vars), true)
    end
  end
  return "{}"
end

---(waits) docs/llm.md; answer.set = the variables the rule set
function llm:stream(request)
  local answer = {
    text = "", tool_calls = {}, finish = "stop", ttft_ms = 0,
    usage = { prompt_tokens = 0, completion_tokens = 0, cache_read_input_tokens = 0,
      cache_creation_input_tokens = 0 },
  }
  if request.json then
    answer.text = json_answer(self, request.messages)
  else
    local inputs = inputs_of(request.messages)
    local action = run(self, inputs)
    answer.text, answer.set = action.text or "", action.set
    if action.call then
      answer.finish = "tool_calls"
      answer.tool_calls[1] = { id = ("rule_%d"):format(#inputs), name = action.call.name,
        arguments = action.call.arguments }
    end
  end
  answer.usage.completion_tokens = text.count_words(answer.text)
  if request.on_text and answer.text ~= "" then
    request.on_text(answer.text)
  end
  return answer
end

function llm:cancel() end

function llm:close() end

local function rules_of(stage, settings)
  local inline = stage.extra and stage.extra.rules
  if type(inline) == "table" then
    return rules.compile(inline)
  elseif not (stage.model or ""):match("^[%w_-]+$") then
    return nil, "model: expected the name of a rules file"
  end
  return rules.read(("%s/%s.rules.json"):format(settings.bots_dir, stage.model))
end

---(waits)
---@param options table {stage, settings, vars}
---@return table? llm, string? code, string? message
function M.open(options)
  local mine, why = rules_of(options.stage, options.settings)
  if not mine then
    return nil, "invalid", why
  end
  return setmetatable({ rules = mine, vars = options.vars or {}, steps = {} }, llm)
end

return M
