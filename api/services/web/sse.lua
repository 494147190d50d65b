-- Live events over HTTP (api.md §4): `ctx:sse(topics)` answers with an event stream. Ids rise over
-- all topics, so the last one a client saw is all it has to send to miss nothing; what is not kept
-- any more is replaced by one `snapshot`.
local caches = require("services.system.caches")
local errors = require("services.web.errors")
local guards = require("services.identity.guards")
local json = require("cxb.json")

local M = {
  ---Milliseconds: between two pings, between two looks at who reads, of a stream's life.
  times = { ping = 15000, check = 60000, life = 7200000 },
}

local QUEUE_MAX, PER_USER = 256, 5
local PLACE_MS = 3 * M.times.ping

local function headers_of(ctx)
  local out = {
    ["content-type"] = "text/event-stream", ["cache-control"] = "no-store",
    ["x-accel-buffering"] = "no", ["x-content-type-options"] = "nosniff",
    ["x-request-id"] = ctx.request_id,
  }
  for name, value in pairs(ctx.headers) do
    out[name] = value
  end
  return out
end

local function frame(name, data, id)
  return ("%sevent: %s\ndata: %s\n\n"):format(id and ("id: %.0f\n"):format(id) or "", name, data)
end

-- An event as text, made once for all streams of a form.
local function plain(event)
  event.plain = event.plain or frame(event.name, event.data, event.id)
  return event.plain
end

local function with_topic(event)
  event.with_topic = event.with_topic or frame(event.name,
    ('{"topic":%s,"data":%s}'):format(json.encode(event.topic), event.data), event.id)
  return event.with_topic
end

---- one stream ----

local function wake(self)
  self.task:unpark()
end

-- Ends a stream from outside; `why` is told to the client while it can be.
local function finish(self, why)
  if not self.ended then
    self.ended = why
    wake(self)
  end
end

-- A reader that is too slow is cut off: it comes back and is given what it missed.
local function overflow(self)
  self.ended = "slow"
  self.cut = true
  self.task:cancel()
end

local function on_event(self, event)
  if self.ended then
    return
  elseif not event then
    finish(self, "resume")
    return
  end
  local n = #self.queue + 1
  self.queue[n] = event
  if n > QUEUE_MAX then
    overflow(self)
  else
    wake(self)
  end
end

local function send(self, text)
  return not self.cut and self.req:write(text)
end

-- What was missed since the client's last id, or a snapshot; nil when the cache is away.
local function catch_up(self, after)
  local cache, missed, newest = self.app.cache, {}, 0
  for _, topic in ipairs(self.topics) do
    local list, last = cache.events:since(topic, after or 0)
    if not list and type(last) == "table" then
      return nil
    end
    newest = math.max(newest, last)
    for _, event in ipairs(list or {}) do
      missed[#missed + 1] = event
    end
    after = list and after
  end
  return after and missed, newest
end

local function by_id(a, b)
  return a.id < b.id
end

local function begin(self, last_id)
  local missed, newest = catch_up(self, last_id)
  if missed then
    table.sort(missed, by_id)
    for _, event in ipairs(missed) do
      if not send(self, self.format(event)) then
        return false
      end
      self.seen = event.id
    end
    return true
  end
  local data = self.snapshot and self.snapshot() or { topics = json.array(self.topics) }
  self.seen = newest
  return data and send(self, frame("snapshot", json.encode(data), newest and newest > 0 and newest))
end

-- Whether who reads may still do so.
local function still_allowed(self)
  local ctx = self.ctx
  local principal = guards.judge(ctx.route.guard, ctx)
  return principal and (not self.authorise or self.authorise(principal))
end

local function place(self, until_ms, max)
  if not self.place then
    return true
  end
  return caches.script(self.app, "busy", { self.place },
    { cxb.time.now(), self.id, until_ms, max }) == 1
end

-- Sends what has come; an event may have been among those that were missed.
local function flush(self)
  local queue, out = self.queue, {}
  if #queue == 0 then
    return true
  end
  self.queue = {}
  for _, event in ipairs(queue) do
    if not self.seen or event.id > self.seen then
      out[#out + 1] = self.format(event)
      self.seen = event.id
    end
  end
  return not out[1] or send(self, table.concat(out))
end

local function run(self)
  local now, times = cxb.time.mono(), M.times
  local ping_at, check_at, end_at = now + times.ping, now + times.check, now + times.life
  while not self.ended do
    if not flush(self) then
      return false
    end
    now = cxb.time.mono()
    if now >= end_at then
      self.ended = "time"
    elseif now >= check_at then
      check_at = now + times.check
      self.ended = not still_allowed(self) and "forbidden" or nil
    elseif now >= ping_at then
      ping_at = now + times.ping
      place(self, cxb.time.now() + PLACE_MS, PER_USER)
      if not send(self, ": ping\n\n") then
        return false
      end
    elseif #self.queue == 0 and not self.ended then
      cxb.task.park(math.min(ping_at, check_at, end_at) - now)
      if self.req.gone then
        return false
      end
    end
  end
  return flush(self) and send(self, frame("bye", json.encode({ reason = self.ended })))
end

---- serving ----

local function gauge(app)
  local n = 0
  for _ in pairs(app.streams) do
    n = n + 1
  end
  cxb.metrics.set("cxb_sse_streams", nil, n)
  return n
end

local function take_place(self)
  if place(self, cxb.time.now() + PLACE_MS, PER_USER) then
    return true
  end
  for other in pairs(self.app.streams) do -- those whose page has gone, but not been noticed yet
    if other.place == self.place and other.req.gone then
      place(other, 0, 0)
    end
  end
  return place(self, cxb.time.now() + PLACE_MS, PER_USER)
end

local function let_go(self)
  for _, unsubscribe in ipairs(self.subscriptions) do
    unsubscribe()
  end
  self.app.streams[self] = nil
  cxb.task.spawn("stream", place, self, 0, 0) -- this task may be cancelled
  if gauge(self.app) == 0 and self.app.streams_ended then
    self.app.cache.events:close()
  end
end

local function going_away()
  return errors.new(503, "shutting_down", "Going away; ask again.",
    { headers = { ["retry-after"] = "1" } })
end

---(waits for as long as the stream lives) Answers a request with the events of these topics.
---@param ctx table
---@param topics string[]
---@param options? {snapshot?: fun(): table, tagged?: boolean, authorise?: fun(principal): any}
---tagged: each event's data is {topic, data}
---@return "answered"?, api.error?
function M.serve(ctx, topics, options)
  options = options or {}
  local app, who = ctx.app, ctx.principal
  if app.streams_ended then
    return nil, going_away()
  end
  local self = {
    app = app, ctx = ctx, req = ctx.req, topics = topics, queue = {}, subscriptions = {},
    snapshot = options.snapshot, authorise = options.authorise,
    format = options.tagged and with_topic or plain, task = cxb.task.self(),
    id = cxb.crypto.hex(cxb.crypto.random(8)),
    place = who.kind == "user" and "sse:" .. who.id or nil,
  }
  if not take_place(self) then
    return nil, errors.new(429, "at_capacity", ("At most %d streams at once."):format(PER_USER),
      { headers = { ["retry-after"] = "5" } })
  elseif app.streams_ended then -- meanwhile: nobody would end this one
    place(self, 0, 0)
    return nil, going_away()
  end
  cxb.task.deadline(nil)
  app.streams[self] = true
  gauge(app)
  for i, topic in ipairs(topics) do
    self.subscriptions[i] = app.cache:subscribe(topic, function(event)
      on_event(self, event)
    end)
  end
  ctx.req:start(200, headers_of(ctx))
  ctx.status = 200
  local ok, why = xpcall(function()
    local last_id = tonumber(ctx.req.headers["last-event-id"])
    if send(self, "retry: 1000\n\n") and begin(self, last_id) then
      return run(self)
    end
  end, debug.traceback)
  let_go(self)
  if not ok then
    error(why, 0)
  elseif why then
    ctx.req:finish()
  end
  return "answered"
end

---Says goodbye on every stream: the clients come back elsewhere.
---@param why "shutdown"|"reload"
function M.end_all(app, why)
  app.streams_ended = true
  for self in pairs(app.streams) do
    finish(self, why)
  end
  if not next(app.streams) and app.cache then
    app.cache.events:close()
  end
end

return M
