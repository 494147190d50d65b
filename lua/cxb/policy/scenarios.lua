-- The scenarios of a policy: those of its kind, as an operator changed them and added to them, and
-- which of them this call is in.
local json = require("cxb.json")
local values = require("cxb.policy.values")

local M = {}

---The conditions a scenario may name: {fact=, is=, value=}.
M.conditions = { "present", "absent", "equals", "differs", "at_least", "at_most" }

-- "₹5,000" and 5000 are the same sum.
local function number_of(value)
  local rupees, paise = values.amount(value)
  return rupees and rupees + paise / 100 or tonumber(value)
end

local function same(a, b)
  local x, y = number_of(a), number_of(b)
  if x and y then
    return x == y
  end
  return tostring(a):lower() == tostring(b):lower()
end

local tests = {
  present = function(value)
    return value ~= nil
  end,
  absent = function(value)
    return value == nil
  end,
  equals = function(value, wanted)
    return value ~= nil and same(value, wanted)
  end,
  differs = function(value, wanted)
    return value == nil or not same(value, wanted)
  end,
  at_least = function(value, wanted)
    local a, b = number_of(value), number_of(wanted)
    return a ~= nil and b ~= nil and a >= b
  end,
  at_most = function(value, wanted)
    local a, b = number_of(value), number_of(wanted)
    return a ~= nil and b ~= nil and a <= b
  end,
}

local function holds(conditions, value_of)
  for _, condition in ipairs(conditions) do
    local test = tests[condition.is]
    local value = condition.fact and value_of(condition.fact)
    if not test or not test(value, condition.value) then
      return false
    end
  end
  return true
end

local function overlaid(base, change)
  local out = {}
  for _, part in ipairs({ base, change }) do
    for name, value in pairs(part) do
      if value ~= json.null then
        out[name] = value
      end
    end
  end
  return out
end

-- Those of the kind in their order, then the operator's own.
local function merged(kind, own)
  local list, at = {}, {}
  for _, scenarios in ipairs({ kind.scenarios, own or {} }) do
    for _, scenario in ipairs(scenarios) do
      local id = scenario.id
      if type(scenario) == "table" and type(id) == "string" then
        at[id] = at[id] or #list + 1
        list[at[id]] = overlaid(list[at[id]] or {}, scenario)
      end
    end
  end
  return list
end

---What counts in this call. `enabled: false` takes a scenario out, whatever else it says; `always`
---takes it in whatever its conditions say.
---@param kind table
---@param own? table[] of the policy
---@param value_of fun(fact: string): any
---@return table[] applying, table[] possible those that only the talk can show
function M.choose(kind, own, value_of)
  local applying, possible = {}, {}
  for _, scenario in ipairs(merged(kind, own)) do
    local conditions = type(scenario.when) == "table" and scenario.when or {}
    local counts = scenario.enabled ~= false and (scenario.instructions or "") ~= ""
    if counts and scenario.always == true then
      applying[#applying + 1] = scenario
    elseif counts and holds(conditions, value_of) then
      local list = (scenario.trigger or "") ~= "" and possible or applying
      list[#list + 1] = scenario
    end
  end
  return applying, possible
end

return M
