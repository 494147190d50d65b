-- Calls as files: one as JSON, many as CSV (api.md §5.8).
local call_view = require("services.calls.view")
local csv = require("cxb.csv")
local download = require("services.web.download")
local errors = require("services.web.errors")
local times = require("cxb.times")

local M = {}

local ROWS_MAX, PAGE = 200000, 500

local function time(name)
  return function(call)
    return call[name] and times.format(call[name])
  end
end

-- A name of a field, or how its cell is made.
local columns = {
  { "session_id", "_id" }, { "started_at", time("started_at") },
  { "answered_at", time("answered_at") }, { "ended_at", time("ended_at") },
  { "duration_seconds", "call_duration_seconds" }, { "status", "status" },
  { "call_type", "call_type" }, { "direction", "direction" }, { "bot_id", "bot_id" },
  { "customer_number", "customer_number" }, { "from_number", "from_number" },
  { "to_number", "to_number" }, { "disconnected_by", "disconnected_by" },
  { "disposition", "disposition" }, { "sub_disposition", "sub_disposition" },
  { "was_transferred", "was_transferred" }, { "campaign_id", "campaign_id" },
  { "campaign_call_id", "campaign_call_id" }, { "campaign_attempt", "campaign_attempt" },
  { "recording_key", "recording_key" },
  { "response_ms_p50", function(call)
    return type(call.latency) == "table" and call.latency.p50_ms or nil
  end },
  { "error", "error" },
}

local function header()
  local names = {}
  for i, column in ipairs(columns) do
    names[i] = column[1]
  end
  return csv.row(names)
end

local function row(call)
  local cells = {}
  for i, column in ipairs(columns) do
    local make = column[2]
    local value = type(make) == "function" and make(call) or call[make]
    cells[i] = value == nil and "" or value
  end
  return csv.row(cells)
end

---(waits) Streams the calls of a filter in the order they are listed, at most 200,000. What fails
---after the first row ends the answer short: the client sees that it is not whole.
---@return "answered"?, api.error? err
function M.csv(ctx, filter, sort)
  local store, after, rows = ctx.app.store, nil, 0
  local started = false
  repeat
    local docs, next_or_err = store:find("calls", filter,
      { sort = { sort }, limit = PAGE, after = after, fields = call_view.row_fields })
    if not docs then
      if not started then
        return nil, errors.of_store(next_or_err)
      end
      cxb.log.error("an export ends short", { rows = rows, error = next_or_err.message })
      return "answered" -- unfinished: the connection is closed
    end
    if not started then
      started = true
      download.csv(ctx, "calls.csv")
      ctx.req:write(header())
    end
    local lines = {}
    for i = 1, math.min(#docs, ROWS_MAX - rows) do
      lines[i] = row(docs[i])
    end
    rows = rows + #lines
    if lines[1] and not ctx.req:write(table.concat(lines)) then
      return "answered" -- the client has gone
    end
    after = next_or_err
  until not after or rows >= ROWS_MAX
  ctx.req:finish()
  return "answered"
end

---(waits) The stored call as it is.
---@return {body: table, headers: table}? answer, api.error? err
function M.json(ctx, id)
  local call, err = call_view.get(ctx, id, { bulk = true })
  if not call then
    return nil, err
  end
  return {
    body = call_view.shown(call),
    headers = { ["content-disposition"] = ('attachment; filename="%s.json"'):format(id) },
  }
end

return M
