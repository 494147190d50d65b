-- KEY=value files (cxb.env, secrets.env): `#` comments, no expansion, no duplicate keys. Read
-- alike by systemd, cxbctl and the services. A value may be wrapped in one pair of quotes.
local M = {}

---@param text string the file's content
---@return table<string, string>? values, string? message, string[]? order keys as they came
function M.parse(text)
  local values, order, number = {}, {}, 0
  for line in (text .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    local body = line:match("^%s*(.-)%s*$")
    if body ~= "" and body:sub(1, 1) ~= "#" and body:sub(1, 1) ~= ";" then
      local key, value = body:match("^([%a_][%w_]*)=(.*)$")
      if not key then
        return nil, ("line %d: expected KEY=value"):format(number)
      end
      if values[key] then
        return nil, ("line %d: %s is set twice"):format(number, key)
      end
      values[key] = value:match('^"(.*)"$') or value:match("^'(.*)'$") or value
      order[#order + 1] = key
    end
  end
  return values, nil, order
end

---Reads a file; used while a process starts, before anything else runs.
---@param path string
---@return table<string, string>? values, string? code "not_found" | "invalid", string? message
function M.read(path)
  local file = io.open(path, "r")
  if not file then
    return nil, "not_found", path .. " cannot be read"
  end
  local text = file:read("*a")
  file:close()
  local values, why = M.parse(text or "")
  if not values then
    return nil, "invalid", path .. ": " .. why
  end
  return values
end

---One `KEY=value` line that M.parse reads back.
---@return string? line, string? message
function M.line(key, value)
  if not key:match("^[%a_][%w_]*$") then
    return nil, "bad key " .. key
  end
  if value:find("[\r\n]") then
    return nil, key .. ": a value is one line"
  end
  if value:match("^%s") or value:match("%s$") or value:match("^[\"'].*[\"']$") then
    value = '"' .. value .. '"'
  end
  return key .. "=" .. value
end

return M
