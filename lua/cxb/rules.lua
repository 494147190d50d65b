-- Rules of a model that needs none (docs/llm.md, "Rules"): the file, and which rule takes what was
-- said. What a rule then does is providers.llm_rules.
local intent = require("cxb.intent")
local json = require("cxb.json")
local numbers = require("cxb.numbers")

local M = {}

local function list_of(value)
  return type(value) == "table" and value or { value }
end

local function check_pattern(pattern)
  local ok, why = pcall(string.find, "", pattern)
  return ok, not ok and tostring(why):gsub("^.-:%d+: ", "") or nil
end

-- What makes matching quick, beside the rule; nil, why when the rule is wrong.
local function compile_rule(rule, at)
  if type(rule) ~= "table" then
    return nil, ("rules[%d]: expected an object"):format(at)
  end
  local when = type(rule.when) == "table" and rule.when or {}
  local out = { rule = rule, when = when, states = rule["in"] and {} or nil }
  for _, state in ipairs(rule["in"] and list_of(rule["in"]) or {}) do
    out.states[state] = true
  end
  if when.phrases then
    out.intent = intent.compile({ hit = list_of(when.phrases) })
  end
  for _, key in ipairs({ "pattern", "keys" }) do
    for _, pattern in ipairs(when[key] and list_of(when[key]) or {}) do
      local ok, why = check_pattern(pattern)
      if not ok then
        return nil, ("rules[%d].when.%s: %s"):format(at, key, why)
      end
    end
  end
  return out
end

---Checks the content of a rules file.
---@param source table
---@return table? rules, string? message names the first thing that is wrong
function M.compile(source)
  if type(source.rules) ~= "table" then
    return nil, "rules: expected a list"
  end
  local compiled = { source = source }
  for i, rule in ipairs(source.rules) do
    local one, why = compile_rule(rule, i)
    if not one then
      return nil, why
    end
    compiled[i] = one
  end
  return compiled
end

---(waits) A rules file, checked.
---@param path string
---@return table? rules, string? message names the file and what is wrong
function M.read(path)
  local content, code, message = cxb.fs.read(path)
  if not content then
    return nil, ("%s: %s"):format(path, message or code)
  end
  local source, _, why = json.decode_object(content)
  local rules
  if source then
    rules, why = M.compile(source)
  end
  if not rules then
    return nil, ("%s: %s"):format(path, why)
  end
  return rules
end

local function pattern_hit(when, said)
  local lower = said:lower()
  for _, pattern in ipairs(list_of(when.pattern)) do
    local found = { lower:match(pattern) }
    if found[1] ~= nil then
      return true, found
    end
  end
  return false
end

-- Whether a rule takes this input, what it found, and how good the match is: of several rules the
-- best phrase wins, any other condition counts as a full match.
local function hit(compiled, state, input)
  local when = compiled.when
  if compiled.states and not compiled.states[state.name or ""] then
    return nil
  elseif (when.tool ~= nil) ~= (input.tool ~= nil) or (when.tool and when.tool ~= input.tool) then
    return nil
  elseif when.silence and not input.silence or input.silence and not when.silence then
    return nil
  end
  local found, score = {}, next(when) and 0 or -0.5
  if when.keys then
    if not input.keys or not input.keys:match("^" .. when.keys .. "$") then
      return nil
    end
    score = 1.2
  end
  if when.digits then
    local digits = input.keys or numbers.digits(input.text)
    if #digits < (when.digits.min or 1) or #digits > (when.digits.max or 32) then
      return nil
    end
    found.digits, score = digits, 1.1
  end
  if compiled.intent then
    local name, s = intent.match(compiled.intent, input.text)
    if not name then
      return nil
    end
    score = math.max(score, s)
  end
  if when.pattern then
    local ok, captures = pattern_hit(when, input.text)
    if not ok then
      return nil
    end
    for i, capture in ipairs(captures) do
      found[tostring(i)] = capture
    end
    score = math.max(score, 1.15)
  end
  return found, score
end

---The rule that takes an input best, or what the file says otherwise.
---@param rules table of compile()
---@param state {name?: string}
---@param input {text: string, keys?: string, tool?: string, silence?: boolean, opening?: boolean}
---@return table rule
---@return table<string, string> found captures and digits
function M.best(rules, state, input)
  if input.opening then
    return { say = rules.source.opening }, {}
  end
  local best, best_found, best_score = nil, nil, -1
  for _, compiled in ipairs(rules) do
    local found, score = hit(compiled, state, input)
    if found and compiled.states then
      score = score + 1 -- a rule for this very state goes before the general ones
    end
    if found and score > best_score then
      best, best_found, best_score = compiled.rule, found, score
    end
  end
  local fallback = not input.tool and rules.source.otherwise
  return best or fallback or {}, best_found or {}
end

---Whether an entry that stands outside the list of rules takes this text.
---@param entry table {when}
---@param said string
---@return boolean
function M.takes(entry, said)
  local compiled = compile_rule(entry, 1)
  return compiled ~= nil and hit(compiled, {}, { text = said }) ~= nil
end

return M
