-- Calls as the wire shows them: rows of lists, one call with what belongs to it (api.md §5.8).
local call_filter = require("services.calls.filter")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local tickets = require("services.identity.tickets")

local M = {}

---Fields of a row of a list.
M.row_fields = {
  "call_type", "status", "bot_id", "bot_version", "flow", "direction", "transport", "stream_id",
  "caller_id", "from_number", "to_number", "customer_number", "campaign_id", "campaign_call_id",
  "campaign_attempt", "run_number", "started_at", "answered_at", "ended_at", "completed_at",
  "call_duration_seconds", "disconnected_by", "error", "disposition", "sub_disposition",
  "has_customer_message", "was_transferred", "recording_key", "latency", "lost", "redacted_at",
}

local hidden = {
  "_id", "result_hash", "journal_hash", "result_fields", "number_rev", "test", "terms",
  "lat_bucket", "fanout",
}

---A stored call without what is ours alone.
---@return table
function M.shown(call)
  call.session_id = call._id
  call.has_recording = call.recording_key ~= nil or call.recording_url ~= nil
  for _, name in ipairs(hidden) do
    call[name] = nil
  end
  return call
end

---(waits) A call the principal may see, as stored but for its bulk fields.
---@param options? table of the store's get
---@return table? call, api.error? err
function M.get(ctx, id, options)
  local call, err = documents.get(ctx, "calls", id, "call", options or { bulk = false })
  if call and not call_filter.visible(ctx.principal, call) then
    return nil, errors.not_found("call")
  end
  return call, err
end

local function picked(doc, names, as_id)
  local out = { [as_id] = doc._id }
  for _, name in ipairs(names) do
    out[name] = doc[name]
  end
  return out
end

local function deliveries(app, id)
  local rows, err = app.store:find("crm_deliveries", { session_id = id },
    { sort = { "created_at" }, limit = 50 })
  for i, row in ipairs(rows or {}) do
    local last = row.log and row.log[#row.log] or {}
    rows[i] = picked(row, { "kind", "state", "attempts", "next_at", "delivered_at" }, "id")
    rows[i].last_status, rows[i].last_error = last.status, last.error
  end
  return rows and json.array(rows), err
end

local agent_fields = {
  "state", "agent_id", "language", "enqueued_at", "assigned_at", "active_at", "completed_at",
  "disposition", "notes",
}

local function agent_call(app, id)
  local rows, err = app.store:find("agent_desk_calls", { session_id = id },
    { sort = { "-enqueued_at" }, limit = 1 })
  if not rows or not rows[1] then
    return nil, err
  end
  local out = picked(rows[1], agent_fields, "call_id")
  local agent = out.agent_id and app.store:get("users", out.agent_id)
  out.agent_name = agent and agent.name
  return out
end

local attempt_fields = {
  "attempt", "kind", "outcome", "from_number", "carrier_id", "dialled_at", "ringing_at",
  "answered_at", "ended_at", "sip_code", "talk_seconds",
}

local function attempt(app, id)
  local rows, err = app.store:find("campaign_attempts", { session_id = id }, { limit = 1 })
  if rows and rows[1] then
    return picked(rows[1], attempt_fields, "id")
  end
  return nil, err
end

local parts = { deliveries = deliveries, agent_call = agent_call, attempt = attempt }

local function name_of(app, collection, id)
  local doc = id and app.store:get(collection, id)
  return doc and doc.name
end

---(waits) Everything about one call.
---@param options? {recording_url?: boolean} false: without a URL its recording plays from
---@return table? call, api.error? err
function M.detail(ctx, id, options)
  local call, err = M.get(ctx, id, { bulk = true })
  if not call then
    return nil, err
  end
  local app = ctx.app
  if (call.recording_key or call.recording_url) and not (options and options.recording_url == false)
  then
    call.recording_play_url = ("/api/v1/recordings/%s?ticket=%s"):format(id,
      tickets.playback(app, id, ctx.principal))
  end
  for name, read in pairs(parts) do
    call[name], err = read(app, id)
    if err then
      return nil, errors.of_store(err)
    end
  end
  call.campaign_name = name_of(app, "campaigns", call.campaign_id)
  call.bot_name = name_of(app, "bots", call.bot_id)
  return M.shown(call)
end

return M
