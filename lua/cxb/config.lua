-- Configuration from environment variables. Each variable is declared once: a list of
--   {name="CXB_X", type=, default=, alias=, min=, max=, multiple=, choices=, pattern=, required=,
--    fits=, unit=, secret=, help=}
-- and config.load() gives a table keyed by variable name. Types: "string" (default), "int",
-- "number", "bool" (1/0, true/false, yes/no, on/off), "list" (separated by commas or blanks).
-- `fits`, a function of a text (of each item of a list), says whether it has the form that `form`
-- tells people.
-- An empty variable counts as unset. A bad value ends the process with exit code 1 and one line.
local envfile = require("cxb.envfile")

local M = {}

---Refuses to start: the host prints the line and ends with exit code 1.
---@param message string names variable, value and rule
function M.refuse(message)
  error("start refused: " .. message, 0)
end

local truth = {
  ["1"] = true, ["true"] = true, yes = true, on = true,
  ["0"] = false, ["false"] = false, no = false, off = false,
}

local function number_of(text)
  if text:match("^%s*[+-]?%d+%.?%d*%s*$") then
    return tonumber(text)
  end
end

local readers = {
  string = function(text)
    return text
  end,
  int = function(text)
    local n = number_of(text)
    if n and n == math.floor(n) and math.abs(n) < 2 ^ 46 then
      return n
    end
    return nil, "a whole number"
  end,
  number = function(text)
    return number_of(text), "a number"
  end,
  bool = function(text)
    return truth[text:lower()], "1 or 0"
  end,
  list = function(text)
    local items = {}
    for item in text:gmatch("[^,%s]+") do
      items[#items + 1] = item
    end
    return items
  end,
}

local function rule_broken(entry, value)
  if type(value) == "number" then
    if (entry.min and value < entry.min) or (entry.max and value > entry.max) then
      if entry.min and entry.max then
        return ("between %g and %g"):format(entry.min, entry.max)
      end
      return entry.min and ("at least %g"):format(entry.min) or ("at most %g"):format(entry.max)
    end
    if entry.multiple and value % entry.multiple ~= 0 then
      return ("a multiple of %g"):format(entry.multiple)
    end
  end
  if entry.choices then
    for _, choice in ipairs(entry.choices) do
      if choice == value then
        return nil
      end
    end
    return "one of " .. table.concat(entry.choices, ", ")
  end
  if entry.pattern and type(value) == "string" and not value:match(entry.pattern) then
    return entry.form or ("like " .. entry.pattern)
  end
  for _, text in ipairs(entry.fits and (type(value) == "table" and value or { value }) or {}) do
    if not entry.fits(text) then
      return entry.form
    end
  end
end

---Reads one value by its declaration.
---@return any value, string? message
function M.read(entry, text)
  local value, form = readers[entry.type or "string"](text)
  local rule = value == nil and form or rule_broken(entry, value)
  if rule then
    local shown = entry.secret and "the value" or ("%q"):format(text)
    return nil, ("%s: %s is not valid, expected %s%s"):format(entry.name, shown, rule,
      entry.unit and (" (" .. entry.unit .. ")") or "")
  end
  return value
end

local function default_text(entry)
  if type(entry.default) == "table" then
    return table.concat(entry.default, ",")
  elseif type(entry.default) == "boolean" then
    return entry.default and "1" or "0"
  elseif type(entry.default) == "number" then
    return ("%.14g"):format(entry.default)
  end
  return entry.default or ""
end

---The documentation of a schema, itself a valid KEY=value file with everything commented out.
---@return string
function M.help(schema)
  local out = {}
  for _, entry in ipairs(schema) do
    local facts = { entry.type or "string" }
    if entry.unit then
      facts[#facts + 1] = entry.unit
    end
    if entry.min or entry.max then
      facts[#facts + 1] = ("%s to %s"):format(entry.min and ("%g"):format(entry.min) or "any",
        entry.max and ("%g"):format(entry.max) or "any")
    end
    if entry.choices then
      facts[#facts + 1] = "one of " .. table.concat(entry.choices, " ")
    end
    if entry.secret then
      facts[#facts + 1] = "secret"
    end
    if entry.required then
      facts[#facts + 1] = "required"
    end
    if entry.alias then
      facts[#facts + 1] = "also read from " .. entry.alias
    end
    out[#out + 1] = ("# %s\n#   %s (%s)\n#%s=%s\n"):format(entry.name, entry.help or "",
      table.concat(facts, ", "), entry.name, default_text(entry))
  end
  return table.concat(out, "\n")
end

-- The text of a file. `keep` (cxb.process.keep): as it was when the process started; like the
-- environment it is read once, whatever generation asks.
local function read_once(path, keep)
  local text = keep and keep("secrets.env")
  if text then
    return text
  end
  local file = io.open(path, "r")
  text = file and file:read("*a")
  if file then
    file:close()
  end
  return text and keep and keep("secrets.env", text) or text
end

-- $CXB_STATE_DIR/secrets.env fills in secrets that the environment does not give.
local function file_secrets(schema, env, keep)
  local dir = env.CXB_STATE_DIR
  for _, entry in ipairs(schema) do
    if entry.name == "CXB_STATE_DIR" and (dir == nil or dir == "") then
      dir = entry.default
    end
  end
  if not dir then
    return {}
  end
  local path = dir .. "/secrets.env"
  local values, why = envfile.parse(read_once(path, keep) or "")
  if not values then
    M.refuse(path .. ": " .. why)
  end
  return values
end

---@param schema table[]
---@param env? table<string, string> default: the process environment
---@return table<string, any>? config nil when only the documentation was asked for, and printed
function M.load(schema, env)
  if cxb and cxb.mode == "help-config" and not env then
    cxb.process.print(M.help(schema))
    return nil
  end
  local keep = not env and cxb.process.keep or nil
  env = env or cxb.process.environ()
  local secrets = file_secrets(schema, env, keep)
  local config = {}
  for _, entry in ipairs(schema) do
    local text = env[entry.name]
    if (text == nil or text == "") and entry.alias then
      text = env[entry.alias]
    end
    if (text == nil or text == "") and entry.secret then
      text = secrets[entry.name]
    end
    if text == nil or text == "" then
      if entry.required then
        M.refuse(entry.name .. ": is not set, " .. (entry.help or "required"))
      end
      config[entry.name] = entry.default
    else
      local value, message = M.read(entry, text)
      if message then
        M.refuse(message)
      end
      config[entry.name] = value
    end
  end
  return config
end

return M
