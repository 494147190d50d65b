-- Specs of flows (docs/flows.md, "Testing a flow"): a call on virtual time, in which the worker's
-- own session runs the flow and a scripted caller talks to it.
--
--   local testing = require("cxb.testing")
--   local call = testing.call({ flow = "demo" }, function(caller)
--     caller:says("What are your opening hours?")
--     caller:hears("nine in the morning")
--     caller:hangs_up()
--   end)
--   assert.equal("customer", call.disconnected_by)
local Caller = require("cxb.testing.caller")
local Stage = require("cxb.testing.stage")

local M = {}

---What a call has become.
---@class cxb.testing.call
---@field disconnected_by string as in the result: "customer", "bot", "RNR", "timeout", "error" …
---@field error? string
---@field vars table<string, any> variables of the call
---@field intents {name: string, data: table}[]
---@field events {type: string, t_ms: integer, data: table}[]
---@field transcript {role: string, text: string, start_ms: integer}[] what was said and heard
---@field transferred? {to: string, type: string, target: string} what the wire was told
---@field seconds number how long it lasted, of virtual time
local call = {}
call.__index = call

---Whether the caller heard these words from the bot.
---@param words string plain text
function call:has_said(words)
  return Caller.words_of(self.transcript):find(words, 1, true) ~= nil
end

---Events of one type, in order.
---@param kind string
---@return table[]
function call:events_of(kind)
  local out = {}
  for _, event in ipairs(self.events) do
    if event.type == kind then
      out[#out + 1] = event
    end
  end
  return out
end

---The conversation as lines: "bot: Hello.", "customer: Hello?"
---@return string
function call:conversation()
  return Caller.lines(self.transcript)
end

local function flow_of(o)
  if type(o.flow) == "function" then
    return o.flow
  end
  local name = o.flow or "assistant"
  local path = name
  if not name:find("/", 1, true) then
    local dir = os.getenv("CXB_FLOWS_DIR") or cxb.root .. "/lua/flows"
    path = ("%s/%s.lua"):format(dir, name)
  elseif name:sub(1, 1) ~= "/" then
    path = cxb.root .. "/" .. name
  end
  local flow, why = require("cxb.core.flows").load_file(path)
  return flow or error(why, 0)
end

-- The flow, whose failure is kept: it ends the call by "error", and the spec by its reason.
local function watched(flow, stage)
  return function(c)
    local ok, why = xpcall(flow, debug.traceback, c)
    if not ok then
      stage.flow_error = why
      error(why, 0)
    end
  end
end

-- The configuration: what the spec says, and targets and tools that it only names.
local function config_of(o)
  local config = {}
  for key, value in pairs(o.config or {}) do
    config[key] = value
  end
  config.flow_settings = config.flow_settings or o.settings
  config.variables = config.variables or o.vars
  if o.transfer and not config.transfer_targets then
    config.transfer_targets = { { id = "desk", label = "Desk", value = "1001", type = "extension",
      method = "websocket_reverse_transfer", is_default = true } }
  end
  if o.tools and not config.tools then
    config.tools = {}
    for name in pairs(o.tools) do
      table.insert(config.tools, { type = "function",
        ["function"] = { name = name, description = name, parameters = { type = "object" } } })
    end
  end
  return config
end

local function outcome(stage, ending)
  local facts = stage.facts
  local intents = {}
  for i, intent in ipairs(facts.intents) do
    intents[i] = { name = intent.name, data = intent.data }
  end
  return setmetatable({
    disconnected_by = ending.by, error = ending.error, vars = stage.session.vars,
    intents = intents, events = facts.events, transcript = facts.transcript,
    transferred = stage.leg.transferred, seconds = stage.lasted_ms / 1000,
  }, call)
end

---@class cxb.testing.options
---@field flow? string|fun(call: table) name in lua/flows, or a path below the installation
---@field config? table fields of the call's configuration
---@field settings? table flow_settings
---@field vars? table<string, any> variables
---@field meta? table caller_id, did, direction …
---@field transfer? {ok: boolean, reason?: string} what comes of a transfer; nil: this line has none
---@field model? (string|table|fun(request: table): any)[] answers of the language model in turn
---@field tools? table<string, {answer: string, status?: integer, ms?: number, error?: string}>
---@field may_fail? boolean the flow's error is what the spec is about
---@field now? number ms UTC when the call begins

---Carries one call to its end. Where the script ends the caller listens to the bot's last words and
---hangs up.
---@param o cxb.testing.options
---@param script? fun(caller: cxb.testing.caller)
---@return cxb.testing.call
function M.call(o, script)
  local stage = Stage.new()
  if o.now then
    stage.clock.ms, stage.clock.start = o.now, o.now
  end
  stage.model.answers = o.model or {}
  for name, tool in pairs(o.tools or {}) do
    stage.tools[name] = tool
  end
  local caller = Caller.new(stage, script or function() end)
  local ok, ending = xpcall(function()
    local flow = watched(flow_of(o), stage)
    return stage:run(config_of(o), { flow = flow, can_transfer = o.transfer ~= nil,
      transfer = o.transfer, meta = o.meta, after = function()
        caller:wait()
      end })
  end, debug.traceback)
  stage:close()
  if not ok then
    error(ending, 0)
  elseif caller.failure then
    error(caller.failure, 0)
  elseif stage.flow_error and not o.may_fail then
    error("the flow failed: " .. stage.flow_error, 0)
  end
  return outcome(stage, ending)
end

return M
