-- A call as lists show it and as one call is shown (api.md §5.8). What the worker owns (core.md §7)
-- passes as it is.
local result = require("schemas.result").properties

local M = {}

local text = { type = "string", nullable = true }
local flag = { type = "boolean" }
local count = { type = "integer" }
local number = { type = "number" }
local time = { type = "integer", format = "time", nullable = true }
local free = { type = "object", additionalProperties = true }

local function one_of(...)
  return { type = "string", enum = { ... } }
end

---What calls are asked for by: every value there is.
M.status = one_of("in_progress", "completed", "failed", "voicemail")
M.call_type = one_of("bot", "agent", "test")
M.direction = result.call_direction
M.disconnected_by = one_of(unpack(result.disconnected_by.enum))
for _, by in ipairs({ "agent", "abandoned", "timed_out", "declined", "force_ended" }) do
  table.insert(M.disconnected_by.enum, by) -- of agent calls, services/desk/history.lua
end

local row = {
  session_id = { type = "string" }, call_type = text, status = text, bot_id = text,
  bot_version = count, flow = text, direction = text, transport = text, stream_id = text,
  caller_id = text, from_number = text, to_number = text, customer_number = text,
  campaign_id = text, campaign_call_id = text, campaign_attempt = count, run_number = count,
  started_at = time, answered_at = time, ended_at = time, completed_at = time,
  call_duration_seconds = number, disconnected_by = text, error = text, disposition = text,
  sub_disposition = text, has_customer_message = flag, was_transferred = flag,
  recording_key = text, has_recording = flag, latency = free, lost = flag, redacted_at = time,
  v = count, created_at = time, updated_at = time,
}

M.row = {
  type = "object", title = "CallRow", required = { "session_id", "status", "started_at" },
  properties = row,
}

local delivery = {
  type = "object", properties = {
    id = { type = "string" }, kind = text, state = text, attempts = count, next_at = time,
    delivered_at = time, last_status = count, last_error = text,
  },
}

local attempt = {
  type = "object", properties = {
    id = { type = "string" }, attempt = count, kind = text, outcome = text, from_number = text,
    carrier_id = text, dialled_at = time, ringing_at = time, answered_at = time, ended_at = time,
    sip_code = count, talk_seconds = number,
  },
}

local agent_call = {
  type = "object", properties = {
    call_id = { type = "string" }, state = text, agent_id = text, agent_name = text,
    language = text, enqueued_at = time, assigned_at = time, active_at = time,
    completed_at = time, disposition = text, notes = text,
  },
}

local whole = {
  recording_play_url = { type = "string", description = "with a ticket of two hours" },
  deliveries = { type = "array", items = delivery }, agent_call = agent_call, attempt = attempt,
  campaign_name = text, bot_name = text, contact_number = text,
}
for name, property in pairs(row) do
  whole[name] = property
end

M.detail = {
  type = "object", title = "Call", required = M.row.required, properties = whole,
  additionalProperties = true,
}

M.live = {
  type = "object", title = "LiveCall", properties = {
    session_id = { type = "string" }, bot_id = text, bot_name = text, call_type = text,
    direction = text, transport = text, customer_number = text, campaign_id = text,
    started_at = time, seconds = count, host_id = text, worker_id = text, state = text,
    last_line = {
      type = "object", nullable = true,
      properties = { role = text, text = text },
    },
  },
}

return M
