-- Live events: published to every process, and the last of each topic kept for a while, so that who
-- was away a moment misses nothing. Ids rise over all topics together; a sequence that begins anew
-- begins at the time in milliseconds, above any id there was.
local json = require("cxb.json")

local M = {}
M.__index = M

local KEPT, KEPT_MS, KNOWN_MS = 256, 300000, 600000
local TURN = 32 -- messages delivered before others get to work

---@param cache table
---@param listen fun(pattern: string): userdata?
function M.new(cache, listen)
  return setmetatable({ cache = cache, listen = listen, topics = {} }, M)
end

function M:publish(topic, name, data)
  local text = type(data) == "table" and json.encode(data) or data or "{}"
  return self.cache:script("publish", { "evseq", "evbuf:" .. topic, "evlast:" .. topic },
    { self.cache.now(), self.cache.prefix .. "ev:" .. topic, name, text, KEPT, KEPT_MS, KNOWN_MS })
end

local function parse(topic, text)
  local id, name, data = text:match("^(%d+) [%d-]+ (%S+) (.*)$")
  return { id = tonumber(id), topic = topic, name = name, data = data }
end

---(waits) What was published to a topic after `id`.
---@return table[]? events nil: not known any more (or err)
---@return number|table last_or_err the newest id of all
function M:since(topic, id)
  local found, err = self.cache:script("events_since",
    { "evseq", "evbuf:" .. topic, "evlast:" .. topic }, { self.cache.now(), id, KNOWN_MS })
  if not found then
    return nil, err
  end
  local list = {}
  for i = 3, #found do
    list[i - 2] = parse(topic, found[i])
  end
  return found[1] == 1 and list or nil, tonumber(found[2])
end

---(waits) The last events of a topic that are still kept, oldest first.
---@param n integer
---@return table[]? events, table? err
function M:recent(topic, n)
  local texts, err = self.cache:call("LRANGE", "evbuf:" .. topic, -n, -1)
  local list = {}
  for i, text in ipairs(texts or {}) do
    list[i] = parse(topic, text)
  end
  return texts and list, err
end

local function deliver(self, topic, event)
  for fn in pairs(self.topics[topic] or {}) do
    fn(event)
  end
end

-- Ends when the inbox is closed.
local function run(self, inbox)
  local cut = #self.cache.prefix + #"ev:" + 1
  local first, in_a_row = true, 0
  while true do
    in_a_row = in_a_row + 1
    if in_a_row % TURN == 0 then
      cxb.time.sleep(0) -- who listens gets to work between
    end
    local kind, channel, text = inbox:receive()
    if kind == "message" then
      local topic = channel:sub(cut)
      if self.topics[topic] then
        deliver(self, topic, parse(topic, text))
      end
    elseif kind == "up" then
      for topic in pairs(first and {} or self.topics) do
        deliver(self, topic, nil)
      end
      first = false
    else
      return
    end
  end
end

local function start(self)
  local inbox, _, why = self.listen(self.cache.prefix .. "ev:*")
  if not inbox then
    error("cache: " .. tostring(why))
  end
  self.inbox = inbox
  cxb.task.spawn("events", run, self, inbox)
end

---@param fn fun(event?: table) nil: some may have been missed
---@return fun() unsubscribe
function M:subscribe(topic, fn)
  if not self.inbox and not self.closed then
    start(self)
  end
  self.topics[topic] = self.topics[topic] or {}
  self.topics[topic][fn] = true
  return function()
    local listeners = self.topics[topic]
    if listeners then
      listeners[fn] = nil
      self.topics[topic] = next(listeners) and listeners or nil
    end
  end
end

---Hears nothing any more, nor does who subscribes later: a start that a reload overtook.
function M:close()
  self.closed = true
  if self.inbox then
    self.inbox:close()
    self.inbox = nil
  end
end

return M
