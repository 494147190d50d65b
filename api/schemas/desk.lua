-- Shapes of the Agent Desk (api.md §5.17).
local M = {}

local text = { type = "string" }
local integer = { type = "integer" }
local time = { type = "string", format = "time" }
local list = { type = "array", items = { type = "object", additionalProperties = true } }
local free = { type = "object", additionalProperties = true }

M.brief = {
  type = "object", title = "DeskCall",
  properties = {
    call_id = text, session_id = text, state = text, agent_id = text, agent_name = text,
    caller = text, bot = text, bot_id = text, language = text, priority = integer,
    escalation_reason = text, summary = text, position = integer, enqueued_at = time,
    waiting_seconds = integer, since = time, seconds = integer, v = integer,
    front = { type = "boolean" },
  },
}

M.full = {
  type = "object", title = "DeskRecord",
  properties = {
    call_id = text, session_id = text, room = text, caller = text, bot = text, bot_id = text,
    language = text, priority = integer, escalation_reason = text, summary = text, state = text,
    agent_id = text, agent_name = text, disposition = text, sub_disposition = text, notes = text,
    variables = free, context = free, recording_key = text, recording_url = text,
    end_reason = text, bot_call = free, transfer = free, v = integer, extensions = integer,
    enqueued_at = time, assigned_at = time, active_at = time, wrap_up_at = time,
    wrap_up_until = time, completed_at = time, callback_at = time, transcript = list,
    events = list, tips = list,
  },
}

M.media = {
  type = "object", title = "DeskMedia", nullable = true,
  properties = { server_url = text, token = text, room_name = text },
}

M.with_media = {
  type = "object", title = "DeskCallWithMedia", required = { "call", "media" },
  properties = { call = M.full, media = M.media, media_error = text },
}

M.queue = {
  type = "object", title = "DeskQueue", required = { "items" },
  properties = { items = { type = "array", items = M.brief } },
}

M.presence = {
  type = "object", title = "DeskPresence", required = { "status" },
  properties = {
    status = { type = "string", enum = { "available", "away", "busy", "on_call", "wrap_up",
      "disconnected", "offline" } },
    call_id = text, since = time, queue_waiting = integer,
  },
}

M.dashboard = {
  type = "object", title = "DeskDashboard",
  properties = {
    agents = { type = "array", items = { type = "object", title = "DeskAgent", properties = {
      agent_id = text, name = text, status = text, since = time, call_id = text,
      languages = { type = "array", items = text },
    } } },
    calls = { type = "array", items = M.brief }, waiting = { type = "array", items = M.brief },
  },
}

M.params = { type = "object", properties = { id = { type = "string", format = "id" } } }

return M
