-- {{name}} in texts. `variables` is flat: "call.name", "crm.x.y", "system.current_date". A name
-- without a namespace is looked up as it stands, then in system, crm and call. One pass: what a
-- value holds is never expanded again.
local M = {}

local spaces = { "", "system.", "crm.", "call." }

-- result., analysis. and qc. exist only after a call and are only ever named in full.
local function lookup(variables, name)
  for _, space in ipairs(spaces) do
    local value = variables[space .. name]
    if value ~= nil then
      return value
    end
  end
end

local function shown(value)
  if type(value) == "number" and value == math.floor(value) then
    return ("%d"):format(value)
  end
  return tostring(value)
end

---@param text string
---@param variables table<string, string|number|boolean>
---@param missing? fun(name: string): string what stands for an unknown name; default: it stays
---@return string text, string[] unresolved names, each once
function M.render(text, variables, missing)
  local unresolved, seen = {}, {}
  local out = text:gsub("{{%s*([%w_.%-]+)%s*}}", function(name)
    local value = lookup(variables, name)
    if value ~= nil and type(value) ~= "table" then
      return shown(value)
    end
    if not seen[name] then
      seen[name] = true
      unresolved[#unresolved + 1] = name
    end
    return missing and missing(name) or nil
  end)
  return out, unresolved
end

---A nested object as flat variables: {a = {b = 1}} under "crm." is crm.a.b = 1. Lists count from 1.
---@param into table<string, any>
---@param prefix string "crm."
---@param value table
function M.flatten(into, prefix, value, depth)
  for key, item in pairs(value) do
    local name = prefix .. tostring(key)
    if type(item) == "table" then
      if (depth or 1) < 8 then
        M.flatten(into, name .. ".", item, (depth or 1) + 1)
      end
    elseif type(item) ~= "userdata" then
      into[name] = item
    end
  end
  return into
end

return M
