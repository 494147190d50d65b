-- The facts of a policy: which variables of the call stand for them, and what they are worth.
local json = require("cxb.json")
local template = require("cxb.template")
local values = require("cxb.policy.values")

local M = {}

-- A name as it stands, then as crm., call. and system. know it.
local spaces = { "", "crm.", "call.", "system." }

---The value of a name; a blank text is none.
---@return any? value
function M.lookup(variables, name)
  for _, space in ipairs(spaces) do
    local value = variables[space .. name]
    if value ~= nil and value ~= json.null and value ~= "" and type(value) ~= "table" then
      return value
    end
  end
end

-- What an operator wrote for a fact: the name of a variable, or a text with placeholders.
local function given(choice, variables)
  if type(choice) ~= "string" or choice == "" then
    return nil
  elseif choice:find("{{", 1, true) then
    local text, missing = template.render(choice, variables)
    return #missing == 0 and text or nil
  end
  return M.lookup(variables, choice), choice
end

local function first_of(names, variables)
  for _, name in ipairs(names) do
    local value = M.lookup(variables, name)
    if value ~= nil then
      return value, name
    end
  end
end

-- The Hindi twin of a name: "customer_name_HI" beside "customer_name".
local function twin(name, variables)
  return name and M.lookup(variables, name .. "_HI")
end

---@class cxb.policy.fact
---@field name string
---@field label string
---@field value any as the variable has it
---@field shown string
---@field en? string said in English
---@field hi? string said in Hindi

---The facts that are known, in the order of their declaration.
---@param kind table of cxb.policy.kinds
---@param chosen? table<string, string> fact → variable, where a policy says which
---@param variables table<string, any>
---@return cxb.policy.fact[]
function M.known(kind, chosen, variables)
  local out = {}
  for _, fact in ipairs(kind.facts) do
    local value, name = given(type(chosen) == "table" and chosen[fact.name], variables)
    if value == nil then
      value, name = first_of(fact.variables, variables)
    end
    if value ~= nil then
      local spoken = values.spoken(fact.kind, value)
      local hindi = fact.pair and twin(name, variables)
      out[#out + 1] = {
        name = fact.name, label = fact.label, value = value, shown = spoken.shown,
        en = spoken.en or hindi and spoken.shown or nil,
        hi = spoken.hi or hindi and tostring(hindi) or nil,
      }
    end
  end
  return out
end

---The facts as variables of a template: policy.<fact>, policy.<fact>_words, policy.<fact>_words_hi.
---@param facts cxb.policy.fact[]
---@param into table<string, any>
function M.variables(facts, into)
  for _, fact in ipairs(facts) do
    local name = "policy." .. fact.name
    into[name] = fact.shown
    into[name .. "_words"] = fact.en or fact.shown
    into[name .. "_words_hi"] = fact.hi or fact.shown
  end
  return into
end

return M
