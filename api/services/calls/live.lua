-- Calls that are on now: which worker has them, listening in, ending them (api.md §5.8).
local call_filter = require("services.calls.filter")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local json = require("cxb.json")
local livekit = require("cxb.livekit")
local tickets = require("services.identity.tickets")
local url = require("cxb.url")

local M = {}

local SHOWN_MAX, EVENTS, ASK_MS = 500, 20, 5000

-- Worker and host by session, as the hosts report them.
local function workers_of(hosts)
  local by_session = {}
  for _, host in ipairs(hosts) do
    for _, worker in ipairs(type(host.info.workers) == "table" and host.info.workers or {}) do
      if type(worker) == "table" and type(worker.session_id) == "string" then
        by_session[worker.session_id] = { host = host, worker = worker }
      end
    end
  end
  return by_session
end

-- (waits) The last line that was said and the last state, out of the call's live events.
local function heard(app, session_id)
  local state, line
  local recent = app.cache and app.cache.events:recent("call:" .. session_id, EVENTS) or {}
  for i = #recent, 1, -1 do
    local batch = json.decode_object(recent[i].data) or {}
    local events = type(batch.events) == "table" and batch.events or { batch }
    for k = #events, 1, -1 do
      local event = type(events[k]) == "table" and events[k] or {}
      local data = type(event.data) == "table" and event.data or {}
      if not line and event.type == "transcript" and type(data.text) == "string" then
        line = { role = data.role, text = data.text }
      elseif not state and event.type == "state" then
        state = data.value or data.state
      end
    end
    if line and state then
      break
    end
  end
  return state, line
end

local fields = {
  "bot_id", "call_type", "direction", "transport", "customer_number", "campaign_id", "started_at",
  "host_id", "worker_id",
}

---(waits) Calls in progress, newest first.
---@param principal table a key sees its bots only
---@return {items: table[], total: integer}? answer, api.error? err
function M.list(app, principal)
  local filter = { status = "in_progress", bot_id = call_filter.bots_of(principal) }
  local calls, err = app.store:find("calls", filter,
    { sort = { "-started_at" }, limit = SHOWN_MAX, fields = fields })
  local total
  if calls then
    total, err = app.store:count("calls", filter)
  end
  if not total then
    return nil, errors.of_store(err)
  end
  local by_session, now, bots = workers_of(fleet.hosts(app) or {}), cxb.time.now(), {}
  for i, call in ipairs(calls) do
    local found = by_session[call._id] or { host = {}, worker = {} }
    if call.bot_id and bots[call.bot_id] == nil then
      bots[call.bot_id] = app.store:get("bots", call.bot_id) or false
    end
    local state, line = heard(app, call._id)
    call.session_id = call._id
    call.bot_name = bots[call.bot_id or ""] and bots[call.bot_id].name
    call.seconds = math.max(0, math.floor((now - call.started_at) / 1000))
    call.host_id = found.host.id or call.host_id
    call.worker_id = found.worker.id or call.worker_id
    call.state = state or found.worker.state
    call.last_line = line
    calls[i] = call
  end
  return { items = json.array(calls), total = total }
end

local function not_live()
  return errors.new(409, "not_live", "The call is not on any more.")
end

-- (waits) The host that has a call, or the only one there is.
local function host_of(app, call)
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  local found = workers_of(hosts)[call._id]
  if found then
    return found.host
  end
  for _, host in ipairs(hosts) do
    if host.id == call.host_id or not hosts[2] then
      return host
    end
  end
  return nil, not_live()
end

---(waits) What a supervisor's browser listens in with.
---@param call table as stored
---@param who table principal
---@return table? answer, api.error? err 409 not_live
function M.listen(app, call, who)
  if call.status ~= "in_progress" then
    return nil, not_live()
  end
  if call.transport == "livekit" and call.room_name and livekit.configured(app.settings) then
    return {
      mode = "livekit", server_url = app.settings.LIVEKIT_URL,
      token = livekit.token(app.settings, {
        identity = "listener-" .. tostring(who.id or who.kind), room = call.room_name,
        publish = false, hidden = true,
      }),
    }
  end
  local host, err = host_of(app, call)
  if not host then
    return nil, err
  end
  local ticket, expires_at = tickets.listen(app, call.bot_id, call._id)
  return {
    mode = "ws", ticket = ticket, expires_at = expires_at,
    url = fleet.socket_base(host.base_url) .. "/monitor/" .. url.escape(call._id),
  }
end

-- (waits) Asks hosts at once; true when one had the call.
local function ask(app, hosts, session_id, request_id)
  local tasks, failure = {}, nil
  for i, host in ipairs(hosts) do
    tasks[i] = cxb.task.spawn("hang up", function()
      local answer, code = fleet.call(app, host.base_url, "POST",
        "/calls/" .. url.escape(session_id) .. "/hangup", nil,
        { timeout_ms = ASK_MS, request_id = request_id })
      return answer and answer.status or code
    end)
  end
  for _, task in ipairs(tasks) do
    local status = task:wait()
    if type(status) == "number" and status < 300 then
      return true
    elseif status ~= 404 then
      failure = status
    end
  end
  return false, failure
end

---(waits) Asks the call's host to end it; once more is harmless.
---@param call table as stored
---@return true?, api.error? err 409 not_live
function M.hang_up(app, call, request_id)
  if call.status ~= "in_progress" then
    return nil, not_live()
  end
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  local found = workers_of(hosts)[call._id]
  local done, failure = ask(app, found and { found.host } or hosts, call._id, request_id)
  if done then
    return true
  elseif failure then
    return nil, errors.new(502, "upstream_failed", "The call's host did not answer.")
  end
  return nil, not_live()
end

return M
