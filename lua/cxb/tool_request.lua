-- The HTTP request behind a tool (core spec §5.3): filled in from the call's variables and the
-- model's arguments, sent to public servers only, and its answer cut to what the model is told.
local json = require("cxb.json")
local template = require("cxb.template")
local text = require("cxb.text")
local url = require("cxb.url")

local M = {}

local methods = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true }
local repeatable = { GET = true, PUT = true, DELETE = true }
local max_bytes, longest_ms, retry_pause_ms = 1024 * 1024, 20000, 250

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  return keys
end

-- Variables of the call and args.*; an argument the tool declares but the model left out counts as
-- known and empty.
local function values_of(variables, tool, args)
  local values = setmetatable({}, { __index = variables })
  for name, value in pairs(args) do
    values["args." .. name] = value
  end
  template.flatten(values, "args.", args)
  local properties = type(tool.parameters) == "table" and tool.parameters.properties or {}
  local left_out = {}
  for name in pairs(properties) do
    if args[name] == nil or args[name] == json.null then
      values["args." .. name] = ""
      left_out["{{args." .. name .. "}}"] = true
    end
  end
  return values, left_out
end

-- A base address at the very beginning stands as it is; an argument never does: a model, or a
-- caller through it, must not choose the server.
local function address_of(given, values, unknown)
  local base, rest = given:match("^({{%s*[%w_.%-]+%s*}})(.*)$")
  if base and base:find("args.", 1, true) then
    base, rest = nil, nil
  end
  local head = base and template.fill(base, values, unknown, tostring) or ""
  return head .. template.fill(rest or given, values, unknown, template.escapes.url)
end

local function empty(value, left_out)
  return type(value) == "string" and left_out[(value:gsub("%s", ""))] == true
end

-- What was left out is not sent at all.
local function without(value, left_out)
  if type(value) ~= "table" then
    return value
  end
  local out = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do
    if not empty(item, left_out) then
      out[key] = without(item, left_out)
    end
  end
  return out
end

local function query_of(map, values, left_out, unknown)
  local list = {}
  for _, name in ipairs(sorted_keys(map)) do
    local value = map[name]
    if not empty(value, left_out) and value ~= json.null then
      local filled = template.fill(value, values, unknown)
      list[#list + 1] = { name, type(filled) == "table" and json.encode(filled, true)
        or tostring(filled) }
    end
  end
  return url.encode_query(list)
end

local function headers_of(map, values, unknown)
  local headers = {}
  for name, value in pairs(map or {}) do
    headers[name:lower()] = template.fill(tostring(value), values, unknown,
      template.escapes.header)
  end
  return headers
end

local function body_of(body, values, left_out, unknown)
  if type(body) == "string" then
    return template.fill(body, values, unknown, template.escapes.json)
  end
  return json.encode(template.fill(without(body, left_out), values, unknown), true)
end

local function absent(value)
  return value == nil or value == json.null
end

---The request of a tool with these arguments.
---@param tool table {name, parameters, http}
---@param args table
---@param variables table of the call
---@return table? options of cxb.http.request
---@return string? code "template_unresolved"
---@return string[]? names the unknown ones
function M.build(tool, args, variables)
  local http, unknown = tool.http, {}
  local values, left_out = values_of(variables, tool, args)
  local method = (type(http.method) == "string" and http.method or "GET"):upper()
  local o = {
    method = methods[method] and method or "GET",
    url = address_of(http.url, values, unknown),
    headers = headers_of(not absent(http.headers) and http.headers, values, unknown),
  }
  local query, body
  if absent(http.query) and absent(http.body) then
    if o.method == "GET" or o.method == "DELETE" then
      query = query_of(args, {}, {}, {})
    else
      body = json.encode(next(args) and args or json.object({}), true)
    end
  else
    query = not absent(http.query) and query_of(http.query, values, left_out, unknown)
    body = not absent(http.body) and body_of(http.body, values, left_out, unknown)
  end
  if #unknown > 0 then
    return nil, "template_unresolved", unknown
  end
  if query and query ~= "" then
    o.url = o.url .. (o.url:find("?", 1, true) and "&" or "?") .. query
  end
  if body then
    o.body = body
    o.headers["content-type"] = o.headers["content-type"] or "application/json"
  end
  return o
end

-- What a failure is called towards the model.
local function failure(code)
  if code == "timeout" or code == "url_not_allowed" or code == "cancelled" then
    return code
  end
  return code == "too_large" and "bad_response" or "network"
end

local function again(method, answer, code)
  if not repeatable[method] then
    return false
  elseif answer then
    return answer.status == 429 or answer.status >= 500
  end
  return code ~= "url_not_allowed" and code ~= "too_large" and code ~= "cancelled"
end

local function bounded(value, low, high, otherwise)
  value = tonumber(value) or otherwise
  return math.max(low, math.min(high, value))
end

local function send(http, o)
  local deadline = cxb.time.mono() + longest_ms
  local retries = bounded(http.retries, 0, 5, 0)
  while true do
    local answer, code = cxb.http.request(o)
    local left = deadline - cxb.time.mono()
    if (answer and answer.status < 300) or retries == 0 or left < retry_pause_ms
      or not again(o.method, answer, code) then
      return answer, code
    end
    retries = retries - 1
    if not cxb.time.sleep(retry_pause_ms) then
      return nil, "cancelled"
    end
    o.timeout_ms = math.min(o.timeout_ms, math.max(100, deadline - cxb.time.mono()))
  end
end

-- "data.items.0.name": keys and positions from 0.
local function at_path(value, path)
  for key in path:gmatch("[^.]+") do
    if type(value) ~= "table" then
      return nil
    end
    local position = json.is_array(value) and tonumber(key)
    value = value[position and position + 1 or key]
  end
  return value
end

-- The part of an answer the model is told, as text.
local function told(http, answer)
  if (answer.body or "") == "" then
    return '{"status":' .. answer.status .. "}"
  end
  local value, code = json.decode(answer.body)
  if code then
    return nil
  end
  if type(http.response_path) == "string" and http.response_path ~= "" then
    value = at_path(value, http.response_path)
    if value == nil then
      return nil
    end
  end
  local out = type(value) == "string" and value or json.encode(value, true)
  return (text.limit_characters(out, bounded(http.max_chars, 1, max_bytes, 4000)))
end

---(waits) Sends a built request.
---@param http table of the tool
---@param o table of build()
---@param exceptions? string CXB_OUTBOUND_ALLOW
---@return string? text what the model is told
---@return string|integer status HTTP status, or the code of the failure
function M.send(http, o, exceptions)
  o.timeout_ms = bounded(http.timeout_ms, 100, longest_ms, 5000)
  o.connect_timeout_ms = math.min(o.timeout_ms, 3000)
  o.max_body, o.redirects, o.public_only = max_bytes, 0, exceptions or true
  local answer, code = send(http, o)
  if not answer then
    return nil, failure(code)
  elseif answer.status >= 300 then
    return nil, "http_" .. answer.status
  end
  local out = told(http, answer)
  if not out then
    return nil, "bad_response"
  end
  return out, answer.status
end

return M
