-- The front, rendered from one source: the same settings give the same bytes. Nothing here runs
-- nginx or writes a file.

local M = {}

local sort, concat = table.sort, table.concat

---@class cxbctl.front
---@field workers integer CXBCORE_WORKERS, 1…512
---@field run_dir string where the services' sockets are
---@field listen string "127.0.0.1:8080"
---@field server_name string
---@field longest_call_s integer
---@field metrics_allow string addresses that may read /metrics, comma separated
---@field trusted_ingress string addresses whose X-Forwarded-For counts, comma separated
---@field pages string folder of the test page
---@field access_log string value of access_log: "off" or "<path> cxb"

local defaults = {
  workers = 16,
  run_dir = "/run/cxb",
  listen = "127.0.0.1:8080",
  server_name = "_",
  longest_call_s = 7500,
  metrics_allow = "127.0.0.1,::1",
  trusted_ingress = "",
  pages = "/opt/cxb/current/api/page",
  access_log = "/var/log/nginx/cxb.log cxb",
}

local blanks_in = { access_log = true, metrics_allow = true, trusted_ingress = true }

-- Variables of cxb.env behind the settings.
local variables = {
  workers = "CXBCORE_WORKERS",
  run_dir = "CXB_RUN_DIR",
  listen = "CXB_FRONT_LISTEN",
  server_name = "CXB_SERVER_NAME",
  longest_call_s = "CXB_LONGEST_CALL_S",
  metrics_allow = "CXB_METRICS_ALLOW",
  trusted_ingress = "CXB_TRUSTED_INGRESS",
}

local function whole(value, low, high)
  local n = tonumber(value)
  return n and n % 1 == 0 and n >= low and n <= high and n
end

---Settings from variables, given ones first. nil, why when a value breaks its rule.
---@param env fun(name: string): string?
---@param given? table
---@return cxbctl.front?, string? why
function M.settings(env, given)
  local s = {}
  for key, default in pairs(defaults) do
    local value = given and given[key]
    if value == nil and variables[key] then value = env(variables[key]) end
    if value == nil or value == "" then value = default end
    s[key] = value
  end
  for key, range in pairs({ workers = { 1, 512 }, longest_call_s = { 60, 86400 } }) do
    local n = whole(s[key], range[1], range[2])
    if not n then
      return nil, ("%s is %q: a whole number from %d to %d"):format(
        variables[key], tostring(s[key]), range[1], range[2])
    end
    s[key] = n
  end
  for key, value in pairs(s) do
    local bad = tostring(value):match(blanks_in[key] and "[;{}\"'\\%c$]" or "[;{}\"'\\%c%s$]")
    if bad then
      return nil, ("%s is %q: %q cannot stand in it"):format(
        variables[key] or key, tostring(value), bad)
    end
  end
  return s
end

local function each(list, form)
  local out = {}
  for item in list:gmatch("[^,%s]+") do out[#out + 1] = form:format(item) end
  return concat(out, " ")
end

-- Fills {{name}}; a line with {{n}} stands once for each worker.
local function fill(template, values)
  local out = {}
  local function line_of(line)
    return (line:gsub("{{([%w_]+)}}", function(name)
      return tostring(values[name] or error("template: no value for " .. name))
    end))
  end
  for line in template:gmatch("([^\n]*)\n") do
    if line:find("{{n}}", 1, true) and not line:match("^%s*#") then
      for n = 1, values.workers do out[#out + 1] = line_of((line:gsub("{{n}}", tostring(n)))) end
    elseif not line:match("^%s*#.*{{") then
      out[#out + 1] = line_of(line)
    end
  end
  return concat(out, "\n") .. "\n"
end

---What the first line of a rendered file says its inputs were: settings and template.
---@param settings cxbctl.front
---@param template string
---@param sha256_hex fun(data: string): string
function M.inputs(settings, template, sha256_hex)
  local lines = {}
  for key, value in pairs(settings) do lines[#lines + 1] = key .. "=" .. tostring(value) end
  sort(lines)
  return sha256_hex(concat(lines, "\n") .. "\n" .. template)
end

---@param settings cxbctl.front of M.settings()
---@param template string text of nginx/cxb.conf.tmpl
---@param version string
---@param sha256_hex fun(data: string): string
---@return string
function M.render(settings, template, version, sha256_hex)
  local values = setmetatable({
    zone_k = math.max(128, 2 * settings.workers),
    metrics_allow = each(settings.metrics_allow, "allow %s;") .. " deny all;",
    real_ip = settings.trusted_ingress == "" and ""
      or each(settings.trusted_ingress, "set_real_ip_from %s;")
        .. " real_ip_header X-Forwarded-For; real_ip_recursive on;",
  }, { __index = settings })
  return ("# rendered by cxbctl %s inputs=%s\n"):format(
    version, M.inputs(settings, template, sha256_hex)) .. fill(template, values)
end

---The main file of an nginx of our own that includes the front.
---@param settings cxbctl.front
---@param template string text of nginx/standalone.conf.tmpl
---@param own {front: string, error_log: string, processes?: integer, user?: string}
---@return string
function M.standalone(settings, template, own)
  local connections = 4 * settings.workers + 1024
  return fill(template, setmetatable({
    front = own.front,
    error_log = own.error_log,
    processes = own.processes or 1,
    user = own.user and "user " .. own.user .. ";" or "",
    connections = connections,
    files = 2 * connections,
  }, { __index = settings }))
end

return M
