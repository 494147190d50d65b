-- How calls of the Agent Desk are shown.
local json = require("cxb.json")
local times = require("cxb.times")

local M = {}

---The fields lists are made from: without transcripts and variables.
M.light = {
  "session_id", "room", "caller", "bot", "bot_id", "language", "priority", "escalation_reason",
  "summary", "state", "enqueued_at", "waiting_from", "front", "assigned_at", "active_at",
  "first_active_at", "wrap_up_at", "wrap_up_more_ms", "agent_id", "agent_name", "agent_lost_at",
  "agent_out", "declined_by", "no_agent_since", "all_declined_since", "supervisors", "wait_ms",
  "handle_ms",
}

local function seconds(ms)
  return math.max(0, math.floor(ms / 1000))
end

---A waiting call in the queue.
function M.queued(call, now, position)
  return json.object({
    { "call_id", call._id }, { "session_id", call.session_id }, { "caller", call.caller },
    { "bot", call.bot }, { "bot_id", call.bot_id }, { "language", call.language },
    { "priority", call.priority }, { "escalation_reason", call.escalation_reason },
    { "summary", call.summary }, { "state", call.state }, { "position", position },
    { "front", call.front or false }, { "enqueued_at", times.format(call.enqueued_at) },
    { "waiting_seconds", seconds(now - call.waiting_from) },
  })
end

local since = { waiting = "waiting_from", assigned = "assigned_at", active = "active_at",
  wrap_up = "wrap_up_at" }

---A call of which only what happens to it is told.
function M.brief(call)
  local at = call[since[call.state] or "completed_at"]
  return json.object({
    { "call_id", call._id }, { "state", call.state }, { "agent_id", call.agent_id },
    { "agent_name", call.agent_name }, { "v", call.v }, { "caller", call.caller },
    { "bot_id", call.bot_id }, { "language", call.language }, { "summary", call.summary },
    { "escalation_reason", call.escalation_reason },
    { "since", at and times.format(at) }, { "seconds", at and seconds(cxb.time.now() - at) },
  })
end

local moments = { "enqueued_at", "assigned_at", "active_at", "wrap_up_at", "completed_at",
  "callback_at" }
local plain = { "session_id", "room", "caller", "bot", "bot_id", "language", "priority",
  "escalation_reason", "summary", "state", "agent_id", "agent_name", "disposition",
  "sub_disposition", "notes", "variables", "context", "recording_key", "recording_url",
  "end_reason", "wrap_up_until", "bot_call", "transfer", "v" }

local function copies(list)
  local out = json.array()
  for i, item in ipairs(list or {}) do
    local twin = {}
    for name, value in pairs(item) do
      twin[name] = value
    end
    if type(twin.at) == "number" then
      twin.at = times.format(twin.at)
    end
    out[i] = twin
  end
  return out
end

---A whole record.
---@param wrap_up_ms? number how long wrap-up lasts
function M.full(call, wrap_up_ms)
  local out = { call_id = call._id }
  for _, name in ipairs(plain) do
    out[name] = call[name]
  end
  for _, name in ipairs(moments) do
    out[name] = call[name] and times.format(call[name])
  end
  if call.state == "wrap_up" and wrap_up_ms then
    out.wrap_up_until = times.format(call.wrap_up_at + wrap_up_ms + (call.wrap_up_more_ms or 0))
  end
  out.extensions = call.extensions or 0
  out.transcript, out.events = copies(call.transcript), copies(call.events)
  out.tips = copies(call.tips)
  return out
end

return M
