-- A flow that was written in the API: a draft of a test call (core spec §4, flow_source), or one
-- that is published. It runs in an environment of its own: what it assigns, or changes in a library
-- table, no other flow sees, and it reaches neither files nor processes.
local M = {
  ---The chunk of a helper's file.
  ---@type fun(path: string): function?, string?
  open = loadfile,
}

local shared = { "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber",
  "tostring", "type", "unpack", "xpcall", "rawequal", "rawget", "rawset", "setmetatable" }
-- Parts of the script API that are for flows.
local parts = { "time", "task", "log", "metrics", "http", "ws", "crypto", "version", "null",
  "json" }
local libraries = { "string", "table", "math", "coroutine", "bit" }

local function copy(from, depth)
  local to = {}
  for key, value in pairs(from) do
    to[key] = type(value) == "table" and depth > 0 and copy(value, depth - 1) or value
  end
  return to
end

-- Text only: bytecode is not checked by anybody.
local function compile(source, name, env)
  if source:sub(1, 1) == "\27" then
    return nil, name .. ": is no Lua text"
  end
  local chunk, why = loadstring(source, name)
  return chunk and setfenv(chunk, env), why
end

-- What the host lends to the helpers: pure functions.
local lent = { ["cxb.words"] = true, ["cxb.json_codec"] = true }

-- Helpers are loaded anew for each draft, from the installation's own files.
local function require_in(env)
  local loaded = {}
  return function(name)
    if type(name) ~= "string" or not name:match("^cxb%.[%w_.]+$") or name:find("..", 1, true)
      or name:match("^cxb%.core") then
      error(("module %s is not for flows"):format(tostring(name)), 2)
    end
    if lent[name] then
      local value = require(name)
      return type(value) == "table" and copy(value, 0) or value
    end
    if loaded[name] == nil then
      local path = ("%s/lua/%s.lua"):format(cxb.root, (name:gsub("%.", "/")))
      local chunk, why = M.open(path)
      if not chunk then
        error(why, 2)
      end
      local value = setfenv(chunk, env)(name)
      loaded[name] = value == nil and true or value
    end
    return loaded[name]
  end
end

local function part_of(api)
  local out = {}
  for _, name in ipairs(parts) do
    local there, value = pcall(function()
      return api[name]
    end)
    -- the host's own tables are read only and seem empty
    local plain = there and type(value) == "table" and next(value) ~= nil
    out[name] = there and (plain and copy(value, 0) or value) or nil
  end
  return out
end

---What such a flow sees.
---@return table env
function M.environment()
  local env = {}
  for _, name in ipairs(shared) do
    env[name] = _G[name]
  end
  for _, name in ipairs(libraries) do
    env[name] = copy(_G[name], 0)
  end
  env.os = { time = os.time, date = os.date, clock = os.clock, difftime = os.difftime }
  env.cxb = part_of(cxb)
  function env.getmetatable(value)
    return type(value) == "table" and getmetatable(value) or nil
  end
  function env.print(...)
    local words = {}
    for i = 1, select("#", ...) do
      words[i] = tostring((select(i, ...)))
    end
    cxb.log.debug("print", { pii = { text = table.concat(words, " ") } })
  end
  function env.loadstring(source, name)
    return compile(tostring(source), name or "=loadstring", env)
  end
  env.require = require_in(env)
  env._G = env
  return env
end

---@param source string Lua text that returns function(call)
---@param title string of the flow, for messages
---@return (fun(call: table))? flow, string? why
function M.load(source, title)
  local chunk, why = compile(source, "@" .. title, M.environment())
  if not chunk then
    return nil, why
  end
  local ok, flow = pcall(chunk)
  if not ok then
    return nil, tostring(flow)
  elseif type(flow) ~= "function" then
    return nil, ("%s: a flow returns function(call)"):format(title)
  end
  return flow
end

return M
