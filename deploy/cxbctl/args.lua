-- Command lines: a verb declares its options, this reads them and writes its help.
--   verb.options = { {name="workers", value="N", type="int", min=1, max=512, help="…"}, … }
-- An option without `value` is a switch; `many` collects a list; `--a b` and `--a=b` are the same.

local M = {}

local common = {
  { name = "json", help = "one JSON object, stable keys" },
  { name = "help", help = "this text" },
}

local function find(verb, name)
  for _, list in ipairs({ verb.options or {}, common }) do
    for _, option in ipairs(list) do
      if option.name == name then return option end
    end
  end
end

local function convert(option, text)
  if option.type == "int" or option.type == "number" then
    local n = tonumber(text)
    if not n or (option.type == "int" and n % 1 ~= 0)
      or (option.min and n < option.min) or (option.max and n > option.max) then
      return nil, ("--%s is %q: expected a %s%s"):format(option.name, text,
        option.type == "int" and "whole number" or "number",
        option.min and option.max and (" from %d to %d"):format(option.min, option.max) or "")
    end
    return n
  elseif option.choices then
    for _, choice in ipairs(option.choices) do
      if choice == text then return text end
    end
    return nil, ("--%s is %q: expected one of %s"):format(
      option.name, text, table.concat(option.choices, ", "))
  end
  return text
end

local function store(options, option, text)
  local value, why = convert(option, text)
  if value == nil then return why end
  if option.many then
    options[option.name] = options[option.name] or {}
    table.insert(options[option.name], value)
  else
    options[option.name] = value
  end
end

---@param verb table with `options`
---@param words string[]
---@param first integer where the verb's own words begin
---@return table? options, string[]? rest, string? why
function M.parse(verb, words, first)
  local options, rest, i = {}, {}, first
  while words[i] do
    local word = words[i]
    local name, inline = word:match("^%-%-([%w-]+)=?(.*)$")
    if word == "-h" then name = "help" end
    if not name then
      if word:match("^%-.") then return nil, nil, ("%s is not an option here"):format(word) end
      rest[#rest + 1] = word
    else
      local option = find(verb, name)
      if not option then return nil, nil, ("--%s is not an option here"):format(name) end
      if not option.value then
        options[name] = true
      else
        if not word:find("=", 1, true) then
          i = i + 1
          inline = words[i]
        end
        if not inline then return nil, nil, ("--%s needs %s"):format(name, option.value) end
        local why = store(options, option, inline)
        if why then return nil, nil, why end
      end
    end
    i = i + 1
  end
  for _, option in ipairs(verb.options or {}) do
    if options[option.name] == nil then options[option.name] = option.default end
  end
  return options, rest
end

---@return string
function M.help(name, verb)
  local usage = ("usage: cxbctl %s %s"):format(name, verb.usage or "[options]")
  local lines = { usage, "", verb.summary, "" }
  for _, list in ipairs({ verb.options or {}, common }) do
    for _, option in ipairs(list) do
      local form = "--" .. option.name .. (option.value and " " .. option.value or "")
      local default = option.default ~= nil and (" (%s)"):format(tostring(option.default)) or ""
      lines[#lines + 1] = ("  %-22s %s%s"):format(form, option.help, default)
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "example: " .. verb.example
  return table.concat(lines, "\n")
end

return M
