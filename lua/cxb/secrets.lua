-- The secrets of one machine: {state}/secrets.env (0600), each made once. The services read the
-- file themselves (cxb.config), so no secret stands in an environment or on a command line.
local envfile = require("cxb.envfile")

local M = {}

local function read(path)
  local values, code, message = envfile.read(path)
  if not values and code ~= "not_found" then
    return nil, message
  end
  return values or {}
end

local function missing(values, names)
  local out = {}
  for _, name in ipairs(names) do
    if not values[name] or values[name] == "" then
      out[#out + 1] = name
    end
  end
  return out
end

-- Another process of this machine makes them now: its file appears whole or not at all.
local function wait_for_other(path, names)
  local deadline = cxb.time.mono() + 5000
  repeat
    local values, why = read(path)
    if not values then
      return nil, why
    end
    if not missing(values, names)[1] then
      return values
    end
    cxb.time.sleep(20)
  until cxb.time.mono() > deadline
  return nil, path .. ": another process holds its lock but does not write it"
end

---(waits) The secrets of these names; what is missing is made and kept. Values in the file stay.
---@param state_dir string
---@param names string[]
---@return table<string, string>? secrets, string? why
function M.ensure(state_dir, names)
  local path = state_dir .. "/secrets.env"
  local values, why = read(path)
  if not values then
    return nil, why
  end
  if not missing(values, names)[1] then
    return values
  end
  local _, code, message = cxb.fs.lock(path .. ".lock")
  if code == "busy" then
    return wait_for_other(path, names)
  elseif code then
    return nil, ("%s.lock: %s"):format(path, message or code)
  end
  values, why = read(path)
  if not values then
    return nil, why
  end
  for _, name in ipairs(missing(values, names)) do
    values[name] = cxb.crypto.base64url(cxb.crypto.random(32))
  end
  local lines = {}
  for name, value in pairs(values) do
    lines[#lines + 1] = assert(envfile.line(name, value))
  end
  table.sort(lines)
  local ok
  ok, code, message = cxb.fs.write(path, table.concat(lines, "\n") .. "\n", { mode = 384 })
  if not ok then
    return nil, ("%s: %s"):format(path, message or code)
  end
  return values
end

return M
