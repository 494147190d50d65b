-- What a CRM knows of a caller, asked before the call begins (api.md §5.6 step 3). Whatever goes
-- wrong, the call goes on: with empty values and a warning.
local json = require("cxb.json")
local template = require("cxb.template")
local tenant_url = require("services.web.tenant_url")

local M = {}

local BYTES_MAX = 256 * 1024

local function nothing()
  return ""
end

local function render(text, vars, escape)
  return (template.render(tostring(text), vars, nothing, escape))
end

-- A JSON body keeps its shape; a text is one with its quotes.
local function body_of(body, vars)
  if body == nil or body == json.null then
    return nil
  elseif type(body) == "string" then
    return render(body, vars, template.escapes.json)
  end
  local function filled(value)
    if type(value) == "string" then
      return render(value, vars)
    elseif type(value) ~= "table" then
      return value
    end
    local out = setmetatable({}, getmetatable(value))
    for key, item in pairs(value) do
      out[key] = filled(item)
    end
    return out
  end
  return json.encode(filled(body))
end

local function request_of(app, config, vars)
  local headers = { accept = "application/json" }
  for name, value in pairs(type(config.headers) == "table" and config.headers or {}) do
    headers[name:lower()] = render(value, vars, template.escapes.header)
  end
  local body = config.method == "POST" and body_of(config.body, vars) or nil
  if body then
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  return {
    url = render(config.url, vars, template.escapes.url), method = config.method or "GET",
    headers = headers, body = body, timeout_ms = config.timeout_ms or 3000,
    connect_timeout_ms = math.min(config.timeout_ms or 3000, 3000), max_body = BYTES_MAX,
    redirects = 0, public_only = tenant_url.exceptions(app),
  }
end

-- "$.data.items[0].name" and "data.items.0.name" are the same place.
local function at_path(value, path)
  for key in path:gsub("^%$%.?", ""):gsub("%[(%d+)%]", ".%1"):gmatch("[^.]+") do
    if type(value) ~= "table" then
      return nil
    end
    local position = json.is_array(value) and tonumber(key)
    value = value[position and position + 1 or key]
  end
  return value ~= json.null and value or nil
end

local function mapped(answer, map)
  local out = {}
  for name, path in pairs(map) do
    local value = at_path(answer, path)
    out[name] = value == nil and "" or value
  end
  return out
end

local function ask(app, config, vars)
  local answer, code = cxb.http.request(request_of(app, config, vars))
  if not answer then
    return nil, code
  elseif answer.status < 200 or answer.status > 299 then
    return nil, "http_" .. answer.status
  end
  local value = json.decode_object(answer.body or "")
  if not value then
    return nil, "bad_response"
  end
  return value
end

---(waits)
---@param app table
---@param config? table crm_prefetch of the bot
---@param vars table<string, any> call.*, system.* and what crm.* knows already
---@return table<string, any> crm
---@return {code: string, message: string}? warning
function M.fetch(app, config, vars)
  if type(config) ~= "table" or not config.enabled or (config.url or "") == "" then
    return {}
  end
  local map = type(config.field_map) == "table" and next(config.field_map) and config.field_map
  local answer, code = ask(app, config, vars)
  if not answer then
    return map and mapped({}, map) or {}, { code = "crm_prefetch_" .. code,
      message = "The CRM gave nothing for this call: " .. code .. "." }
  end
  return map and mapped(answer, map) or answer
end

return M
