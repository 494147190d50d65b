-- The secrets of one machine: <state>/secrets.env, made once, readable by its owner only. The
-- services read the file themselves, so no secret stands in an environment or on a command line.

local envfile = require("cxb.envfile")

local M = {}

local function random(encode)
  return function() return encode(cxb.crypto.random(32)) end
end

local made = {
  { "CXBCORE_SECRET", random(function(raw) return cxb.crypto.base64url(raw) end) },
  { "JWT_SECRET", random(function(raw) return cxb.crypto.base64url(raw) end) },
  { "CXB_SECRETS_KEY", random(function(raw) return cxb.crypto.base64(raw) end) },
}

---(waits) Makes what is missing. Values that stand in the file stay.
---@param state_dir string
---@return table<string, string>? secrets, string? why
function M.ensure(state_dir)
  local path = state_dir .. "/secrets.env"
  local values, code, why = envfile.read(path)
  if not values and code ~= "not_found" then return nil, why end
  values = values or {}
  local lines, changed = {}, false
  for _, entry in ipairs(made) do
    if not values[entry[1]] then
      values[entry[1]] = entry[2]()
      changed = true
    end
  end
  if changed then
    for key, value in pairs(values) do lines[#lines + 1] = assert(envfile.line(key, value)) end
    table.sort(lines)
    local text = table.concat(lines, "\n") .. "\n"
    local ok, failure, message = cxb.fs.write(path, text, { mode = 384 }) -- 0600
    if not ok then return nil, ("%s: %s"):format(path, message or failure) end
  end
  return values
end

---The header that opens internal routes; empty when there is no secret to be read.
---@return table<string, string>
function M.header(state_dir)
  local secret = cxb.process.env("CXBCORE_SECRET")
  if not secret or secret == "" then
    local values = envfile.read(state_dir .. "/secrets.env")
    secret = values and values.CXBCORE_SECRET
  end
  return secret and { ["X-CXB-Core-Secret"] = secret } or {}
end

return M
