-- What of a bot no schema can say: rules that span fields, names that must exist, URLs that may be
-- called. Each answers {path, rule, message} for all that is wrong.
local json = require("cxb.json")
local schema_words = require("cxb.schema_words")
local shapes = require("cxb.botshapes")
local tenant_url = require("services.web.tenant_url")

local M = {}

local TOOL_MS_MIN, TOOL_MS_MAX = 100, 20000

local function present(value)
  return value ~= nil and value ~= json.null
end

local rules = {}

for _, kind in ipairs({ "stt", "llm", "tts" }) do
  rules[kind] = function(_, value, report)
    local why = shapes.unknown_provider(kind, value)
    if why then
      report(kind, "provider", why)
    end
  end
end

-- What frames a request is its sender's to say: another length cuts the body off.
local framing = {}
for name in ("connection content-length expect host keep-alive proxy-connection te trailer "
  .. "transfer-encoding upgrade"):gmatch("%S+") do
  framing[name] = true
end

local function judge_headers(path, headers, report)
  for name, value in pairs(type(headers) == "table" and headers or {}) do
    local at = ("%s.headers.%s"):format(path, tostring(name))
    if type(name) ~= "string" or not name:match("^[%w!#$%%&'*+.^_`|~-]+$") then
      report(at, "header", "is no name of a header")
    elseif framing[name:lower()] then
      report(at, "header", "is a header the request brings itself")
    elseif type(value) == "string" and value:find("%c") then
      report(at, "header", "must be one line")
    end
  end
end

local function judge_request(app, path, http, report)
  if type(http) ~= "table" or type(http.url) ~= "string" then
    return report(path .. ".url", "required", "is required")
  end
  judge_headers(path, http.headers, report)
  local ms = http.timeout_ms
  if present(ms) and (type(ms) ~= "number" or ms < TOOL_MS_MIN or ms > TOOL_MS_MAX) then
    report(path .. ".timeout_ms", "range", ("must be %d to %d"):format(TOOL_MS_MIN, TOOL_MS_MAX))
  end
  local why = tenant_url.refused(app, http.url, { base = true })
  if why then
    report(path .. ".url", "url_not_allowed", why)
  end
end

local function judge_name(path, name, seen, report)
  if type(name) ~= "string" or #name > 64 or not name:match("^[a-z][a-z0-9_]*$") then
    return report(path, "format", "must be 1 to 64 characters of a-z 0-9 _, a letter first")
  elseif shapes.built_in_tools[name] then
    return report(path, "reserved", ("%s is built in"):format(name))
  elseif seen[name] then
    return report(path, "unique", ("%s is there twice"):format(name))
  end
  seen[name] = true
end

function rules.tools(app, tools, report)
  local seen = {}
  for i, tool in ipairs(tools) do
    local path = ("tools[%d]"):format(i - 1)
    local definition = shapes.definition_of(tool)
    local inner = definition == tool and path or path .. ".function"
    judge_name(inner .. ".name", definition.name, seen, report)
    if present(definition.parameters) then
      local at, why = schema_words.check(definition.parameters)
      if at then
        report(inner .. "." .. at, "json_schema", why)
      end
    end
    local http = present(tool.http) and tool.http or definition.http
    if present(http) then
      judge_request(app, (http == tool.http and path or inner) .. ".http", http, report)
    end
  end
end

function rules.transfer_targets(_, targets, report)
  local seen, default = {}, nil
  for i, target in ipairs(targets) do
    local path = ("transfer_targets[%d]"):format(i - 1)
    local why, field = shapes.bad_target(target)
    if why then
      report(path .. "." .. field, "transfer_target", why)
    end
    if target.is_default and default then
      report(path .. ".is_default", "unique", "there is a default already")
    end
    default = default or target.is_default
    if target.id and seen[target.id] then
      report(path .. ".id", "unique", ("%s is there twice"):format(target.id))
    end
    seen[target.id or ""] = true
  end
end

-- An address that is called when the bot takes part in a call or ends one.
for _, name in ipairs({ "crm_prefetch", "post_call_push" }) do
  rules[name] = function(app, value, report)
    judge_headers(name, value.headers, report)
    if (value.url or "") == "" then
      if value.enabled then
        report(name .. ".url", "required", "is required")
      end
      return
    end
    local why = tenant_url.refused(app, value.url)
    if why then
      report(name .. ".url", "url_not_allowed", why)
    end
  end
end

function rules.flow(app, name, report)
  local known, err = require("services.flows").exists(app, name)
  if known == nil then
    error(err)
  elseif not known then
    report("flow", "unknown_flow", ("there is no published flow %q"):format(name))
  end
end

---(waits) Judges the fields given; null says nothing.
---@param fields table checked by schemas.bot
---@return {path: string, rule: string, message: string}[] wrong
function M.judge(app, fields)
  local wrong = {}
  for name, rule in pairs(rules) do
    if present(fields[name]) then
      rule(app, fields[name], function(path, word, message)
        wrong[#wrong + 1] = { path = path, rule = word, message = message }
      end)
    end
  end
  table.sort(wrong, function(a, b)
    return a.path < b.path
  end)
  return wrong
end

return M
