-- What may be lost: rate limits, presence, reservations, live events. One interface over Redis
-- (several processes) or its in-process twin (cxb.redis.memory: the process, over reloads). Every
-- call returns its value, or nil and {code=, message=} with code "unavailable".
-- A compound change is one script of scripts/, the same text for both.
local events = require("cxb.cache.events")

local M = {}
M.__index = M

local sources = {}

-- The text of scripts/NAME.lua.
local function source_of(name)
  if not sources[name] then
    local file = assert(io.open(("%s/lua/cxb/cache/scripts/%s.lua"):format(cxb.root, name), "rb"))
    sources[name] = file:read("*a")
    file:close()
  end
  return sources[name]
end

---@class cxb.cache.options
---@field url? string of Redis; absent: in this process
---@field prefix? string of every key, "cxb:"
---@field timeout_ms? integer 1000
---@field now? fun(): number
---@param options cxb.cache.options
---@return table? cache, {code: string, message: string}? err
function M.open(options)
  local url, timeout = options.url, { timeout_ms = options.timeout_ms or 1000 }
  local client, code, message
  if url then
    client, code, message = cxb.redis.connect(url, timeout)
  else
    client = cxb.redis.memory()
  end
  if not client then
    return nil, { code = code, message = message }
  end
  local self = setmetatable({
    kind = url and "redis" or "memory", client = client, prefix = options.prefix or "cxb:",
    now = options.now or cxb.time.now,
  }, M)
  self.events = events.new(self, function(pattern)
    if url then
      return cxb.redis.listen(url, pattern, timeout)
    end
    return client:listen(pattern)
  end)
  return self
end

local function failure(code, message)
  if code ~= "unavailable" and code ~= "cancelled" then
    error(("cache: %s: %s"):format(tostring(code), tostring(message)), 0)
  end
  return { code = "unavailable", message = message or code }
end

local function answer(value, code, message)
  if value == nil then
    return nil, failure(code, message)
  elseif value == cxb.null then
    return false
  end
  return value
end

---(waits) One command of Redis on one key.
---@return any value false: there is none
---@return table? err
function M:call(command, key, ...)
  return answer(self.client:call(command, self.prefix .. key, ...))
end

---(waits) @return string|false|nil value false: there is none; nil: unavailable
function M:get(key)
  return self:call("GET", key)
end

---(waits) @param ttl_ms? integer
---@return true?, table? err
function M:set(key, value, ttl_ms)
  local ok, err
  if ttl_ms then
    ok, err = self:call("SET", key, value, "PX", ("%d"):format(ttl_ms))
  else
    ok, err = self:call("SET", key, value)
  end
  return ok and true, err
end

---(waits) Sets what is not there yet.
---@return boolean? added false: it was there; nil: unavailable
function M:add(key, value, ttl_ms)
  local ok, err = self:call("SET", key, value, "NX", "PX", ("%d"):format(ttl_ms))
  if ok == nil then
    return nil, err
  end
  return ok and true
end

---(waits) @return boolean? was there
function M:del(key)
  local n, err = self:call("DEL", key)
  return n and n > 0, err
end

---(waits) Runs scripts/NAME.lua. Numbers among the arguments are written as whole numbers.
---@param name string
---@param keys string[] without prefix
---@param args? (string|number)[]
---@return any value, table? err
function M:script(name, keys, args)
  local full, words = {}, {}
  for i, key in ipairs(keys) do
    full[i] = self.prefix .. key
  end
  for i, word in ipairs(args or {}) do
    words[i] = type(word) == "number" and ("%.0f"):format(word) or word
  end
  return answer(self.client:script(source_of(name), full, words))
end

---(waits) Tells all who listen to `topic`, in every process; kept a while for who comes back.
---@param topic string
---@param name string of the event
---@param data table|string encoded as JSON unless it is text
---@return string? id, table? err
function M:publish(topic, name, data)
  return self.events:publish(topic, name, data)
end

---`fn(event)` for each event of the topic from now on, {id, topic, name, data=<JSON text>};
---fn(nil) when some may have been missed. Must not wait.
---@return fun() unsubscribe
function M:subscribe(topic, fn)
  return self.events:subscribe(topic, fn)
end

---(waits) Whether it answers now.
---@return true?, table? err
function M:ping()
  local pong, err = answer(self.client:call("PING"))
  return pong and true, err
end

---Whether the connection stands; does not wait.
---@return boolean, string? why
function M:healthy()
  return self.client:up()
end

---Lets go: nothing is heard any more.
function M:close()
  self.events:close()
  self.client:close()
end

return M
