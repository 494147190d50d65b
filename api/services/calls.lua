-- The calls collection: skeletons, lists and single calls as the wire shows them.
local bots = require("services.bots")
local json = require("cxb.json")
local times = require("cxb.times")
local tickets = require("services.tickets")

local M = {}

local ATTEMPTS = 50
local WEEK_MS = 7 * 86400 * 1000
local COUNT_MAX = 10000

---(waits) Reads a call, asks what to change, writes it if nobody else did meanwhile; else again.
---@param change fun(found?: table): table?, table? what to set (nil: nothing), names to unset
---@return table? call, table|string? err_or_outcome "created" | "changed" | "unchanged"
function M.change(store, id, change)
  local err
  for _ = 1, ATTEMPTS do
    local found
    found, err = store:get("calls", id)
    if not found and err.code ~= "not_found" then
      return nil, err
    end
    local set, unset = change(found)
    if not set then
      return found, "unchanged"
    end
    local call
    if found then
      call, err = store:update("calls", id, { set = set, unset = unset },
        { expect = { v = found.v } })
    else
      set._id = id
      call, err = store:insert("calls", set)
    end
    if call then
      return call, found and "changed" or "created"
    elseif err.code ~= "conflict" and err.code ~= "duplicate" and err.code ~= "not_found" then
      return nil, err
    end
  end
  return nil, { code = "unavailable", message = "call " .. id .. " is written by too many at once" }
end

---(waits) The skeleton of a call that begins now. What a result has already told stays.
---@param skeleton fun(found?: table): table
---@return table? call, table? err
function M.begin(store, id, skeleton)
  return M.change(store, id, function(found)
    local fields = skeleton(found)
    if not found or found.status == "in_progress" then
      fields.status = "in_progress"
      fields.call_type = found and found.call_type or "bot"
      fields.started_at = cxb.time.now()
      return fields
    end
    for name in pairs(fields) do
      if found[name] ~= nil then
        fields[name] = nil
      end
    end
    return next(fields) and fields or nil
  end)
end

---(waits) The skeleton of a test call that a browser is about to begin.
---@return table? call, table? err
function M.begin_test(store, id, bot, request)
  return store:insert("calls", {
    _id = id, call_type = "test", status = "in_progress", bot_id = bot._id,
    bot_version = bots.version(bot), flow = bot.flow, direction = "incoming",
    started_at = cxb.time.now(), skip_post_push = true,
    test = { variables = request.variables, mock_crm = request.mock_crm,
      use_draft = request.use_draft },
  })
end

---The digits of a number from the last to the first: numbers are found by their end.
---@return string?
function M.reversed(number)
  local digits = type(number) == "string" and number:gsub("%D", "") or ""
  return digits ~= "" and digits:reverse() or nil
end

local function range(low, high)
  if low or high then
    return { gte = low, lte = high }
  end
end

local function number_filter(number)
  local reversed = M.reversed(number) or ""
  return number:sub(1, 1) == "+" and reversed or { prefix = reversed }
end

local function filter_of(query)
  local filter = {
    bot_id = query.bot_id, campaign_id = query.campaign_id, status = query.status,
    disconnected_by = query.disconnected_by, direction = query.direction,
    call_type = query.call_type, disposition = query.disposition,
    sub_disposition = query.sub_disposition, was_transferred = query.was_transferred,
    number_rev = query.number and number_filter(query.number),
    call_duration_seconds = range(query.min_duration, query.max_duration),
    started_at = { gte = query.from or cxb.time.now() - WEEK_MS, lte = query.to },
  }
  if query.has_recording ~= nil then
    filter.recording_key = { exists = query.has_recording }
  end
  return filter
end

local row_fields = {
  "call_type", "status", "bot_id", "bot_version", "flow", "direction", "stream_id", "caller_id",
  "from_number", "customer_number", "campaign_id", "campaign_call_id", "campaign_attempt",
  "started_at", "answered_at", "ended_at", "completed_at", "call_duration_seconds",
  "disconnected_by", "error", "disposition", "sub_disposition", "has_customer_message",
  "was_transferred", "recording_key", "latency",
}
local time_fields = {
  "started_at", "answered_at", "ended_at", "completed_at", "created_at", "updated_at",
}
local hidden = { "_id", "result_hash", "journal_hash", "result_fields", "number_rev", "test",
  "fanout", "terms", "lat_bucket" }

---A stored call as the wire shows it.
---@return table
function M.shown(call)
  call.session_id = call._id
  for _, name in ipairs(time_fields) do
    call[name] = call[name] and times.format(call[name])
  end
  for _, name in ipairs(hidden) do
    call[name] = nil
  end
  return call
end

---(waits) One page of calls, newest first.
---@return table? answer {items, next, total, total_exact}, table? err
function M.list(store, query)
  local filter = filter_of(query)
  local docs, next_or_err = store:find("calls", filter,
    { sort = { query.sort }, limit = query.limit, after = query.after, fields = row_fields })
  if not docs then
    return nil, next_or_err
  end
  local total, err = store:count("calls", filter, { max = COUNT_MAX + 1 })
  if not total then
    return nil, err
  end
  for i, doc in ipairs(docs) do
    docs[i] = M.shown(doc)
  end
  return {
    items = json.array(docs), next = next_or_err or json.null,
    total = math.min(total, COUNT_MAX), total_exact = total <= COUNT_MAX,
  }
end

---(waits) Everything about one call, with a URL its recording can be played from.
---@return table? call, table? err
function M.detail(app, id)
  local call, err = app.store:get("calls", id)
  if not call then
    return nil, err
  end
  if call.recording_key or call.recording_url then
    call.recording_play_url = ("/api/v1/recordings/%s?ticket=%s"):format(id,
      tickets.playback(app, id))
  end
  return M.shown(call)
end

return M
