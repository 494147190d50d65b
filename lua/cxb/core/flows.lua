-- Flows: scripts that return function(call). All are loaded with the generation, so that one with a
-- mistake refuses it; a call runs the one its configuration names.
local json = require("cxb.json")
local botconfig = require("cxb.core.botconfig")
local draft = require("cxb.core.draft")
local lint = require("cxb.core.lint")
local rules = require("cxb.rules")

local M = {}
local loaded = {}

-- A library without what would end the process or hold up all of it.
local function without(library, name, ...)
  local own = setmetatable({}, { __index = library })
  for _, field in ipairs({ ... }) do
    own[field] = function()
      error(("%s.%s is not for flows: it stops the whole worker"):format(name, field), 2)
    end
  end
  return own
end

local safe = { os = without(os, "os", "exit", "execute"), io = without(io, "io", "popen", "read") }

---One file; a flow does not see globals of its own making (they would be shared by all calls).
---@param path string
---@return fun(call: table)? flow, string? why
function M.load_file(path)
  local chunk, why = loadfile(path)
  if not chunk then
    return nil, why
  end
  local env = setmetatable({ os = safe.os, io = safe.io }, {
    __index = _G,
    __newindex = function(_, name)
      error(("global %s is assigned; use a local"):format(tostring(name)), 2)
    end,
  })
  local wrong = lint.check(chunk, env)
  if wrong then
    return nil, ("%s:%d: %s"):format(path, wrong.line, wrong.message)
  end
  local ok, flow = pcall(setfenv(chunk, env))
  if not ok then
    return nil, tostring(flow)
  end
  if type(flow) ~= "function" then
    return nil, path .. ": a flow returns function(call)"
  end
  return flow
end

---(waits) Loads every flow of a folder; those that were published go before them.
---@param dir string
---@param more? table<string, fun(call: table)> cxb.core.published
---@return boolean? ok, string? why
function M.load_all(dir, more)
  local names, _, message = cxb.fs.list(dir)
  if not names then
    return nil, ("flows: %s: %s"):format(dir, message or "cannot be read")
  end
  table.sort(names)
  local flows = {}
  for _, file in ipairs(names) do
    local name = file:match("^([%w_%-]+)%.lua$")
    if name then
      local flow, why = M.load_file(dir .. "/" .. file)
      if not flow then
        return nil, why
      end
      flows[name] = flow
    end
  end
  for name, flow in pairs(more or {}) do
    flows[name] = flow
  end
  loaded = flows
  return true
end

---(waits) Every bot file is readable and names a flow that exists; every rules file can be used.
---@return boolean? ok, string? why
function M.check_bots(dir)
  local names = cxb.fs.list(dir)
  for _, file in ipairs(names or {}) do
    if file:match("%.rules%.json$") then
      local ok, why = rules.read(dir .. "/" .. file)
      if not ok then
        return nil, why
      end
    elseif file:match("%.json$") then
      local text = cxb.fs.read(dir .. "/" .. file) or ""
      local raw, _, why = json.decode_object(text)
      local config, field
      if raw then
        config, field = botconfig.check(raw, true)
      end
      if not config then
        return nil, ("%s/%s: %s"):format(dir, file, why or ("bad " .. field))
      elseif not loaded[config.flow] then
        return nil, ("%s/%s: there is no flow %q"):format(dir, file, config.flow)
      end
    end
  end
  return true
end

---@return fun(call: table)? flow
function M.get(name)
  return loaded[name]
end

---The flow of a call: a draft that comes with the configuration goes before the published one. It
---is loaded by the flow's own task: with a mistake it is a flow that fails, or stalls.
---@param config table
---@return fun(call: table)? flow nil when there is none of that name
function M.of(config)
  if not config.flow_source then
    return M.get(config.flow)
  end
  return function(call)
    local flow, why = draft.load(config.flow_source, "draft of " .. config.flow)
    if not flow then
      error(why, 0)
    end
    return flow(call)
  end
end

return M
