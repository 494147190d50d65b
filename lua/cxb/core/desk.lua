-- What the Agent Desk of the API is told of one call (core spec §5.5). Everything is a row of the
-- outbox, on disk before anybody acts on it; the outbox keeps the order of a session's hand-off and
-- events.
local outboxes = require("cxb.core.outboxes")
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local url = require("cxb.url")

local M = {}
M.__index = M

---@param o {settings: table, meta: table, session_id: string, facts: table}
---@return table? desk nil: there is no API to hand over to
function M.new(o)
  local api = outgoing.api(o.settings, o.meta)
  return api and setmetatable({
    base = api .. "/agent-desk", call_id = o.meta.call_id, session_id = o.session_id,
    facts = o.facts, seq = 0,
  }, M)
end

local function put(self, row)
  row.session_id = self.session_id
  return outboxes.box:put(row)
end

local function said_so_far(facts)
  local list = json.array()
  for i, entry in ipairs(facts.transcript) do
    list[i] = { role = entry.role, text = entry.text, start_ms = entry.start_ms }
  end
  return list
end

---(waits) Puts the call into the queue of the desk: true once that is on disk, and never before.
---@param call {room: string, caller?: string, bot_id: string, language?: string,
---priority?: integer, reason?: string, variables: table, queue?: string}
---@return true?, string? code, string? message
function M:enqueue(call)
  self.facts:add("handoff", { base = self.base, call_id = self.call_id })
  local id, code, message = put(self, {
    kind = "handoff", url = self.base .. "/enqueue",
    body = json.encode(json.object({
      { "call_id", self.call_id }, { "session_id", self.session_id }, { "room", call.room },
      { "caller", call.caller }, { "bot", call.bot_id }, { "bot_id", call.bot_id },
      { "language", call.language }, { "priority", call.priority },
      { "escalation_reason", call.reason }, { "transcript", said_so_far(self.facts) },
      { "variables", json.object(M.pairs_of(call.variables)) },
      { "context", json.object({ { "queue", call.queue } }) },
    }), true),
  })
  if id or code == "duplicate" then
    return true
  end
  return nil, code, message
end

---An object's pairs in alphabetical order: equal variables give an equal body.
function M.pairs_of(value)
  local names, list = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    list[i] = { name, value[name] }
  end
  return list
end

-- (waits) The next numbered message about this call.
local function tell(self, what, data)
  self.seq = self.seq + 1
  local body = { seq = self.seq }
  for key, value in pairs(data or {}) do
    body[key] = value
  end
  local id, code, message = put(self, {
    kind = "event", n = self.seq, body = json.encode(body, true),
    url = ("%s/calls/%s/%s"):format(self.base, url.escape(self.call_id), what),
  })
  if not id and code ~= "duplicate" then
    cxb.log.error("the agent desk is not told", { what = what, code = code, error = message })
    return nil, code, message
  end
  return true
end

---(waits) The caller has gone.
function M:customer_disconnected()
  return tell(self, "customer-disconnected")
end

---(waits) Something happened to the call.
---@param kind string
---@param data? table
function M:event(kind, data)
  return tell(self, "events", { type = kind, data = data })
end

---(waits) The worker of this call is gone; its room and its caller are left alone. Its own messages
---may have any number: this one comes after them all.
---@param handoff {base: string, call_id: string}
---@param session_id string
function M.lost(handoff, session_id)
  local self = setmetatable({ base = handoff.base, call_id = handoff.call_id,
    session_id = session_id, seq = 999999 }, M)
  return self:event("core_lost")
end

return M
