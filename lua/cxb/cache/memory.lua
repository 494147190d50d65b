-- A small Redis in memory: the part of it that our scripts use, with the same answers, so that one
-- script text serves both. Runs in a Lua state of its own (cxb.redis.memory) without `cxb`: the
-- time comes with each call, in milliseconds.
local lists = require("cxb.cache.memory_lists")
local maps = require("cxb.cache.memory_maps")
local sorted = require("cxb.cache.memory_sorted")
local strings = require("cxb.cache.memory_strings")

local M = {}
M.__index = M

-- Keys looked at for their time at each call, so that what nobody asks for goes too.
local SWEEP = 8

local commands = {}
for _, group in ipairs({ strings, maps, sorted, lists }) do
  for name, command in pairs(group) do
    commands[name] = command
  end
end

---@param publish fun(channel: string, data: string): integer
function M.new(publish)
  return setmetatable({ entries = {}, now = 0, publish = publish, scripts = {} }, M)
end

---What is held under a key: {kind=, value=, expires=?}; nil when nothing, or its time is up.
function M:entry(key, kind)
  local entry = self.entries[key]
  if entry and entry.expires and entry.expires <= self.now then
    self.entries[key] = nil
    entry = nil
  end
  if entry and kind and entry.kind ~= kind then
    error("WRONGTYPE Operation against a key holding the wrong kind of value", 0)
  end
  return entry
end

---The entry of a key, made empty when there is none.
function M:make(key, kind, empty)
  local entry = self:entry(key, kind)
  if not entry then
    entry = { kind = kind, value = empty }
    self.entries[key] = entry
  end
  return entry
end

local function sweep(self)
  local key = self.swept
  if key ~= nil and self.entries[key] == nil then
    key = nil
  end
  for _ = 1, SWEEP do
    local entry
    key, entry = next(self.entries, key)
    if not key then
      break
    end
    if entry.expires and entry.expires <= self.now then
      self.entries[key] = nil -- next() may go on from a key that was just removed
    end
  end
  self.swept = key
end

local function run(self, args)
  local command = commands[args[1]] or commands[tostring(args[1]):upper()]
  if not command then
    error(("ERR unknown command '%s'"):format(tostring(args[1]):upper()), 0)
  end
  return command(self, args)
end

---One command; false is Redis' nil.
function M:command(now, _, args)
  self.now = now
  sweep(self)
  return run(self, args)
end

-- What a script returns, as Redis passes it on.
local function reply(value)
  local kind = type(value)
  if kind == "number" then
    return value < 0 and math.ceil(value) or math.floor(value)
  elseif kind == "boolean" then
    return value and 1
  elseif kind == "table" then
    local out = {}
    for i, item in ipairs(value) do
      out[i] = reply(item)
    end
    return out
  end
  return kind == "string" and value
end

local function compile(self, source)
  local redis = {
    call = function(...)
      local args = { ... }
      for i = 1, #args do
        args[i] = type(args[i]) == "number" and strings.text(args[i]) or args[i]
      end
      return run(self, args)
    end,
  }
  local env = {
    redis = redis, tonumber = tonumber, tostring = tostring, type = type, ipairs = ipairs,
    pairs = pairs, unpack = unpack, error = error, math = math, string = string, table = table,
  }
  local chunk, why = loadstring(source, "@script")
  if not chunk then
    error("ERR " .. why, 0)
  end
  setfenv(chunk, env)
  return { chunk = chunk, env = env }
end

---Runs a script's text, atomically like everything here.
function M:script(now, source, keys, args)
  self.now = now
  sweep(self)
  local script = self.scripts[source]
  if not script then
    script = compile(self, source)
    self.scripts[source] = script
  end
  script.env.KEYS, script.env.ARGV = keys, args
  return reply(script.chunk())
end

return M
