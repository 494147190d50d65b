-- Conversation policies (api.md §5.6 step 6): a bot's prompt, the facts of this call in English and
-- Hindi words, how to behave, and what to do in which situation.
local facts = require("cxb.policy.facts")
local scenarios = require("cxb.policy.scenarios")
local template = require("cxb.template")

local M = {}

---The policy types there are.
M.kinds = {
  collection_recovery = require("cxb.policy.kinds.collection_recovery"),
  collection_early_dpd = require("cxb.policy.kinds.collection_early_dpd"),
  collection_pre_due = require("cxb.policy.kinds.collection_pre_due"),
  insurance_renewal_motor = require("cxb.policy.kinds.insurance_renewal_motor"),
}

---@return table? kind nil: the policy is off, or of a type nobody knows
function M.kind_of(policy)
  if type(policy) ~= "table" or policy.enabled == false then
    return nil
  end
  return M.kinds[policy.type]
end

local function fact_line(fact)
  local line = ("- %s: %s"):format(fact.label, fact.shown)
  if fact.en and fact.hi then
    line = ("%s (say in English: %s; in Hindi: %s)"):format(line, fact.en, fact.hi)
  end
  return line
end

local function list_of(values, line)
  local out = {}
  for i, value in ipairs(values) do
    out[i] = line(value)
  end
  return table.concat(out, "\n")
end

local function section(out, title, text)
  if text ~= "" then
    out[#out + 1] = ("## %s\n%s"):format(title, text)
  end
end

-- What an operator wrote may hold placeholders like every other prompt.
local function renderer(variables, unresolved)
  return function(text)
    local out, names = template.render(text, variables)
    for _, name in ipairs(names) do
      unresolved[#unresolved + 1] = name
    end
    return out
  end
end

---The variables of a call with those of its policy's facts beside them (policy.<fact>).
---@param policy? table
---@param variables table<string, any>
---@return table<string, any>
function M.view(policy, variables)
  local kind = M.kind_of(policy)
  if not kind then
    return variables
  end
  return facts.variables(facts.known(kind, policy.facts, variables),
    setmetatable({}, { __index = variables }))
end

---The system prompt of a call. Without a policy that counts it is the bot's own, rendered.
---@param bot_system_prompt string
---@param policy? table type; enabled, goal, facts (fact → variable), conduct (rules), scenarios
---@param variables table<string, any> flat
---@return string prompt, string[] unresolved names
function M.build_policy_system_prompt(bot_system_prompt, policy, variables)
  local kind = M.kind_of(policy)
  if not kind then
    return template.render(bot_system_prompt, variables)
  end
  local known = facts.known(kind, policy.facts, variables)
  local by_name, own = {}, {}
  for _, fact in ipairs(known) do
    by_name[fact.name] = fact.value
  end
  for _, rule in ipairs(type(policy.conduct) == "table" and policy.conduct or {}) do
    own[#own + 1] = rule
  end
  local unresolved = {}
  local render = renderer(facts.variables(known, setmetatable({}, { __index = variables })),
    unresolved)
  local function value_of(name)
    return by_name[name] == nil and facts.lookup(variables, name) or by_name[name]
  end
  local applying, possible = scenarios.choose(kind,
    type(policy.scenarios) == "table" and policy.scenarios, value_of)
  local goal = type(policy.goal) == "string" and policy.goal ~= "" and policy.goal or kind.goal

  local out = {}
  if bot_system_prompt ~= "" then
    out[1] = render(bot_system_prompt)
  end
  section(out, kind.title, render(goal))
  section(out, "How to behave", list_of(kind.conduct, function(rule)
    return "- " .. rule
  end))
  section(out, "Also", list_of(own, function(rule)
    return "- " .. render(rule)
  end))
  section(out, "Facts of this call", list_of(known, fact_line))
  section(out, "What counts in this call", list_of(applying, function(s)
    return ("- %s: %s"):format(s.title or s.id, render(s.instructions))
  end))
  section(out, "If it comes up", list_of(possible, function(s)
    return ("- %s, when %s: %s"):format(s.title or s.id, render(s.trigger), render(s.instructions))
  end))
  return table.concat(out, "\n\n"), unresolved
end

return M
