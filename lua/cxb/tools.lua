-- The tools a language model may use in a call (core spec §5.3): what it is offered, and running
-- those of the bot's own and the search of its knowledge. The other built-in ones end or move the
-- call: cxb.call.builtin.
local arguments = require("cxb.arguments")
local json = require("cxb.json")
local knowledge = require("cxb.knowledge")
local outgoing = require("cxb.core.outgoing")
local request = require("cxb.tool_request")
local template = require("cxb.template")
local variables = require("cxb.variables")

local M = {}
M.__index = M

local function built_in(name, description, properties, required)
  return { type = "function", ["function"] = {
    name = name, description = description,
    parameters = { type = "object", properties = properties or json.object({}),
      required = required },
  } }
end

local end_call = built_in("end_call",
  "Ends the call. Say goodbye first; use it when the caller is done or says goodbye.")
local transfer_call = built_in("transfer_call",
  "Hands the caller to a person. Use it when the caller asks for one or you cannot help.", {
    reason = { type = "string", description = "Why, in a few words." },
    target = { type = "string", description = "Whom, by id or name; leave it out otherwise." },
  }, { "reason" })
local detected_voicemail = built_in("detected_voicemail",
  "Use it when a voicemail or answering machine speaks instead of a person.")

local function definition_of(tool)
  local parameters = type(tool.parameters) == "table" and tool.parameters
  return { type = "function", ["function"] = {
    name = tool.name, description = tool.description,
    parameters = parameters or { type = "object", properties = json.object({}) },
  } }
end

-- Wrapped or flat, our keys stand beside the definition or in it.
local function tool_of(entry)
  local fn = type(entry["function"]) == "table" and entry["function"] or entry
  local function ours(key)
    local value = entry[key]
    if value == nil then
      value = fn[key]
    end
    return value ~= json.null and value or nil
  end
  local http = ours("http")
  return {
    name = fn.name, description = fn.description, parameters = fn.parameters,
    http = type(http) == "table" and type(http.url) == "string" and http or nil,
    pre_message = ours("pre_message"), error_message = ours("error_message"),
    end_call_after = ours("end_call_after") == true,
  }
end

---@param call table cxb.call: config, vars, meta, session (its settings), event()
function M.new(call)
  local self = setmetatable({ call = call, named = {}, list = {} }, M)
  for _, entry in ipairs(call.config.tools or {}) do
    local tool = tool_of(entry)
    self.named[tool.name] = tool
    self.list[#self.list + 1] = tool
  end
  return self
end

---A tool of the bot's own.
---@return {name: string, pre_message?: string, error_message?: string, end_call_after: boolean}?
function M:find(name)
  return self.named[name]
end

---What the model is offered, in the shape of chat completions.
---@return table[]
function M:definitions()
  if not self.offered then
    local config = self.call.config
    self.offered = { end_call, transfer_call, detected_voicemail }
    if config.knowledge_enabled then
      table.insert(self.offered, knowledge.definition(config))
    end
    for _, tool in ipairs(self.list) do
      table.insert(self.offered, definition_of(tool))
    end
  end
  return self.offered
end

local function settings_of(call)
  return call.session and call.session.settings or {}
end

local function failed(code, field)
  return json.encode(json.object({ { "error", code }, { "field", field } })), code
end

-- The text for the model and the status, of one of the bot's own.
local function run_own(self, tool, args)
  local field = type(tool.parameters) == "table" and arguments.check(tool.parameters, args)
  if field then
    return failed("invalid_arguments", field)
  elseif not tool.http then
    return '{"status":"ok"}', "ok" -- it only notes what the model was told
  end
  local call = self.call
  local vars = variables.renew(call.vars, call.config.timezone or "UTC")
  local o, code, names = request.build(tool, args, vars)
  if not o then
    call:event("template_unresolved", { tool = tool.name, names = json.array(names) })
    return failed(code)
  end
  local allow = settings_of(call).CXB_OUTBOUND_ALLOW
  local text, status = request.send(tool.http, o, allow and table.concat(allow, ","))
  if not text then
    return failed(status)
  end
  return text, status
end

local function run_search(self, args)
  local call = self.call
  if type(args.query) ~= "string" or args.query == "" then
    local text, code = failed("invalid_arguments", "query")
    return text, code, {}
  end
  local settings = settings_of(call)
  local began = cxb.time.mono()
  local text, found = knowledge.search(settings, outgoing.api(settings, call.meta), call.config,
    args.query)
  call:event("knowledge_search", { query = args.query, results = found.results,
    status = found.status, ms = math.floor(cxb.time.mono() - began + 0.5) })
  return text, found.status, { fallback = found.fallback }
end

local function is_failure(status)
  return type(status) == "string" and status ~= "ok"
end

-- (waits)
local function dispatch(self, name, args)
  if not args then
    return failed("invalid_arguments", "arguments")
  elseif name == "search_knowledge" and self.call.config.knowledge_enabled then
    return run_search(self, args)
  elseif self.named[name] then
    return run_own(self, self.named[name], args)
  end
  return failed("unknown_tool")
end

---@class cxb.tools.info
---@field status string|integer HTTP status, "ok", or the code of the failure
---@field ms integer
---@field error? string code of the failure
---@field error_message? string to be spoken then
---@field end_call? boolean the call ends after the model's next words
---@field rag_ms? integer of a search
---@field fallback? string a strict search found nothing: these words are the answer

---(waits) Runs one of the bot's own tools or the search. Whatever fails, the model is told and the
---call goes on.
---@param name string
---@param text string JSON of the arguments, "" for none
---@return string answer for the model
---@return cxb.tools.info info
function M:run(name, text)
  local began = cxb.time.mono()
  local tool = self.named[name]
  local args = json.decode_object((text or ""):match("%S") and text or "{}")
  self.call:event("tool_call", { name = name, arguments = args or text })
  local answer, status, more = dispatch(self, name, args)
  local info = more or {}
  info.status, info.ms = status, math.floor(cxb.time.mono() - began + 0.5)
  info.error = is_failure(status) and status or nil
  if name == "search_knowledge" then
    info.rag_ms = info.ms
  else
    self.call:event("custom_tool_result", { name = name, status = status, ms = info.ms })
  end
  if tool then
    local message = info.error and tool.error_message or ""
    info.error_message = message ~= "" and template.speech(message, self.call.vars) or nil
    info.end_call = tool.end_call_after or nil
  end
  cxb.metrics.observe("cxb_tool_seconds", { result = info.error or "ok" },
    (cxb.time.mono() - began) / 1000)
  return answer, info
end

return M
