-- {{name}} in texts. `variables` is flat: "call.name", "crm.x.y", "system.current_date". A name
-- is looked up as it stands, then in system, crm and call. One pass: what a value holds is never
-- expanded again.
local json = require("cxb.json")
local url = require("cxb.url")

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
    return ("%.0f"):format(value + 0) -- %d turns round at 2^63; no -0
  end
  return tostring(value)
end

---How a value becomes harmless in the place it is put into.
M.escapes = {
  ---Inside the quotes of a JSON text.
  json = function(text)
    return (json.encode(text):sub(2, -2))
  end,
  ---A part of a path or query.
  url = url.escape,
  ---The value of a header: one line.
  header = function(text)
    return (text:gsub("[%c\127]+", " "))
  end,
}

---Takes a text apart, for one that is rendered again and again.
---@param text string
---@return table compiled plain texts, placeholders {name=, text=} between them; `open`: it has any
function M.compile(text)
  local out, at = { open = false }, 1
  while true do
    local first, last, name = text:find("{{%s*([%w_.%-]+)%s*}}", at)
    if not first then
      break
    end
    out[#out + 1] = text:sub(at, first - 1)
    out[#out + 1] = { name = name, text = text:sub(first, last) }
    out.open, at = true, last + 1
  end
  out[#out + 1] = text:sub(at)
  return out
end

---@param compiled table by M.compile()
---@param variables table<string, string|number|boolean>
---@param missing? fun(name: string): string what stands for an unknown name; default: it stays
---@param escape? fun(value: string): string one of M.escapes
---@return string text, string[] unresolved names, each once
function M.render_compiled(compiled, variables, missing, escape)
  local unresolved, seen, out = {}, {}, {}
  if not compiled.open then
    return compiled[1], unresolved
  end
  for i, piece in ipairs(compiled) do
    out[i] = piece
    if type(piece) == "table" then
      local name = piece.name
      local value = lookup(variables, name)
      if value ~= nil and type(value) ~= "table" and value ~= json.null then
        out[i] = escape and escape(shown(value)) or shown(value)
      else
        if not seen[name] then
          seen[name] = true
          unresolved[#unresolved + 1] = name
        end
        out[i] = missing and missing(name) or piece.text
      end
    end
  end
  return table.concat(out), unresolved
end

---The same for a text that is rendered once.
---@param text string
---@return string text, string[] unresolved
function M.render(text, variables, missing, escape)
  return M.render_compiled(M.compile(text), variables, missing, escape)
end

local function nothing()
  return ""
end

---For words to be spoken: an unknown name is left out, with the blank it would leave behind.
---@return string text, string[] unresolved
function M.speech(text, variables)
  local out, unresolved = M.render(text, variables, nothing)
  if #unresolved > 0 then
    out = out:gsub("[ \t]+", " "):gsub(" ([,.!?;:])", "%1"):match("^%s*(.-)%s*$")
  end
  return out, unresolved
end

-- A text that is one placeholder and nothing else keeps its value's type: 5 stays a number.
local function whole(text, variables)
  local name = text:match("^{{%s*([%w_.%-]+)%s*}}$")
  if name then
    return lookup(variables, name)
  end
end

---Renders every text of a value (a JSON body, a table of headers); keys stay as they are.
---@param value any
---@param variables table
---@param unresolved string[] unknown names are appended
---@param escape? fun(value: string): string
---@return any value a copy
function M.fill(value, variables, unresolved, escape)
  if type(value) == "string" then
    local found
    if not escape then
      found = whole(value, variables)
    end
    if found ~= nil then
      return found
    end
    local out, names = M.render(value, variables, nil, escape)
    for _, name in ipairs(names) do
      unresolved[#unresolved + 1] = name
    end
    return out
  elseif type(value) ~= "table" then
    return value
  end
  local out = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    out[key] = M.fill(item, variables, unresolved, escape)
  end
  return out
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
