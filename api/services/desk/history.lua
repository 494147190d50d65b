-- A handoff that is over is a call of its own in the history: `agent-{call_id}` (api.md §5.17).
local call_terms = require("services.calls.terms")
local calls = require("services.calls")

local M = {}

local function seconds(ms)
  return ms and math.floor(ms / 100 + 0.5) / 10
end

---(waits) Writes it, or writes it again; the same record gives the same call.
---@param call table of agent_desk_calls, finished
---@return table? history, table? err
function M.keep(app, call)
  local talked = call.first_active_at ~= nil
  return app.store:upsert("calls", { _id = "agent-" .. call._id }, { set = {
    call_type = "agent", parent_session_id = call.session_id, bot_id = call.bot_id,
    status = talked and "completed" or "failed", direction = "incoming",
    caller_id = call.caller, customer_number = call.caller,
    number_rev = calls.reversed(call.caller),
    started_at = call.enqueued_at, answered_at = call.first_active_at,
    ended_at = call.wrap_up_at or call.completed_at, completed_at = call.completed_at,
    call_duration_seconds = seconds(call.handle_ms) or 0, wait_seconds = seconds(call.wait_ms),
    wrap_up_seconds = seconds(call.wrap_up_ms),
    disconnected_by = call.end_reason == "customer_left" and "customer"
      or talked and "agent" or call.state,
    disposition = call.disposition, sub_disposition = call.sub_disposition,
    agent_id = call.agent_id, agent_name = call.agent_name, agent_notes = call.notes,
    language = call.language, escalation_reason = call.escalation_reason,
    agent_summary = call.summary, desk_state = call.state, transcript = call.transcript,
    terms = call_terms.of(call.transcript), recording_key = call.recording_key,
    recording_url = call.recording_url, skip_post_push = true,
  } })
end

return M
