-- The host in the fleet (api.md §5.12): of its live workers the one that holds host.lock tells the
-- API each second how things stand here, and at once when they change. The lock passes on with its
-- holder's death. The API's answer says what is wanted of the host.
local health = require("cxb.core.health")
local json = require("cxb.json")
local machine = require("cxb.core.machine")
local outgoing = require("cxb.core.outgoing")
local url = require("cxb.url")

local M = {
  ---Adds fields to what is told: functions of (settings, body).
  ---@type fun(c: table, body: table)[]
  report = {},
  ---Is told what is wanted, after each answer: functions of (settings, desired).
  ---@type fun(c: table, desired: table)[]
  obey = {},
}

local LOOK_MS, EVERY_MS, TIMEOUT_MS, OUTBOX_MS = 100, 1000, 2000, 10000

local held, busy, last = false, false, nil
local told = {} -- reservations that the API has heard of, while their rows hold them
local outbox, outbox_at

local function host_id(c)
  return c.CXB_HOST_ID or machine.name()
end

-- Undelivered rows of all workers, as their metrics tell; looked at now and then.
local function outbox_figures(now)
  if outbox and now - outbox_at < OUTBOX_MS then
    return outbox
  end
  outbox_at, outbox = now, { pending = 0, dead = 0, oldest_age_seconds = 0 }
  for name, labels, value in cxb.metrics.render("host"):gmatch(
    "\ncxb_outbox_([%l_]+)(%b{}) ([%d.e+]+)") do
    value = tonumber(value) or 0
    if name == "oldest_age_seconds" then
      outbox.oldest_age_seconds = math.max(outbox.oldest_age_seconds, value)
    elseif name == "rows" then
      local key = labels:find('state="dead"', 1, true) and "dead" or "pending"
      outbox[key] = outbox[key] + value
    end
  end
  return outbox
end

local function state_of(row)
  if not row.live then
    return "unreachable"
  elseif row.calls > 0 then
    return "call"
  end
  return row.draining and "draining" or row.disk == false and "storage_full" or "idle"
end

-- The workers as they are told, and the reservations that calls of theirs were started with.
local function workers_of(rows)
  local workers, consumed, here = json.array(), json.array(), {}
  for i, row in ipairs(rows) do
    local on_call = row.live and row.calls > 0
    workers[i] = {
      id = tostring(row.id), state = state_of(row), calls = row.live and row.calls or 0,
      max = row.live and row.max or 0, pid = row.pid or 0,
      session_id = on_call and row.session_id ~= "" and row.session_id or nil,
      since = on_call and cxb.time.iso(row.since) or nil,
    }
    local id = row.live and row.reservation or ""
    if id ~= "" then
      here[id] = true
      if not told[id] then
        consumed[#consumed + 1] = id
      end
    end
  end
  for id in pairs(told) do
    told[id] = here[id] and told[id] or nil
  end
  return workers, consumed
end

---What is told of the host now.
---@param c table settings
---@param rows table[] cxb.scoreboard.rows()
---@return table body
function M.body(c, rows)
  local draining = cxb.scoreboard.host_draining()
  local sums = health.sums(rows, c.CXB_FLEET_AVAILABLE_CAP, draining)
  local workers, consumed = workers_of(rows)
  local body = {
    host_id = host_id(c), boot_id = machine.boot_id(c.CXB_RUN_DIR),
    base_url = (c.CXB_HOST_URL:gsub("/+$", "")), version = cxb.version,
    generation = cxb.generation, fleet_max = sums.max, fleet_calls = sums.calls,
    fleet_available = sums.available, workers = workers, draining = draining,
    consumed = consumed, flows_revision = 0, outbox = outbox_figures(cxb.time.mono()),
    load = machine.load(), memory = machine.memory(),
  }
  for _, add in ipairs(M.report) do
    add(c, body)
  end
  return body
end

-- What makes a report due at once.
local function signature(rows)
  local parts = { tostring(cxb.scoreboard.host_draining()) }
  for _, row in ipairs(rows) do
    parts[#parts + 1] = row.live and ("%d/%d%s%s%s%s"):format(row.calls, row.max,
      row.draining and "d" or "", row.disk == false and "f" or "", row.session_id or "",
      row.reservation or "") or "-"
  end
  return table.concat(parts, " ")
end

local function request(c, method, path, body, timeout_ms)
  local target = c.api .. path
  return cxb.http.request({
    url = target, method = method, body = body and json.encode(body), timeout_ms = timeout_ms,
    headers = outgoing.headers(c, target, { ["content-type"] = "application/json" }),
  })
end

-- One line when it goes wrong and one when it goes right again.
local function note(why, level)
  if why ~= M.problem then
    M.problem = why
    if why then
      cxb.log[level or "warn"]("the host is not registered", { error = why })
    else
      cxb.log.info("the host is registered", {})
    end
  end
end

local function obey(c, desired)
  if type(desired.drain) == "boolean" and desired.drain ~= cxb.scoreboard.host_draining() then
    cxb.log.info(desired.drain and "the host drains" or "the host takes calls again", {})
    cxb.scoreboard.host_draining(desired.drain)
  end
  for _, follow in ipairs(M.obey) do
    follow(c, desired)
  end
end

---(waits) Tells the API once.
---@param c table settings
---@param rows table[]
---@return boolean
function M.tell(c, rows)
  local body = M.body(c, rows)
  local answer, code, message = request(c, "POST", "/fleet/register", body, TIMEOUT_MS)
  if not answer then
    note(message or code)
    return false
  elseif answer.status ~= 200 then
    local refusal = json.decode_object(answer.body or "") or {}
    note(("%d %s"):format(answer.status, tostring(refusal.message or refusal.error)), "error")
    return false
  end
  note(nil)
  for _, id in ipairs(body.consumed) do
    told[id] = true
  end
  local wanted = json.decode_object(answer.body or "")
  if wanted and type(wanted.desired) == "table" then
    obey(c, wanted.desired)
  end
  return true
end

local function look(c)
  if busy or not held then
    return
  end
  local now, rows = cxb.time.mono(), cxb.scoreboard.rows()
  local sign = signature(rows)
  if last and sign == last.sign and now - last.at < EVERY_MS then
    return
  end
  busy = true
  last = { sign = sign, at = now }
  local ok, sent = pcall(M.tell, c, rows)
  busy = false
  if not ok then
    cxb.log.error("the host could not be described", { error = tostring(sent) })
  end
end

local function wants(c)
  return c.api ~= nil and c.CXB_HOST_URL ~= nil
end

---@return boolean whether this worker is the one that registers the host
function M.holds()
  return held
end

---From now on this worker registers the host, if it comes to hold its lock.
---@param c table settings
function M.begin(c)
  if not wants(c) then
    return
  end
  cxb.task.every(EVERY_MS / 2, "host_lock", function()
    held = held or cxb.fs.lock(c.CXB_RUN_DIR .. "/host.lock") == true
  end)
  cxb.task.every(LOOK_MS, "register", function()
    look(c)
  end)
end

local function others_stay(c)
  for _, row in ipairs(cxb.scoreboard.rows()) do
    if row.live and not row.draining and row.id ~= c.worker then
      return true
    end
  end
  return false
end

---(waits) This worker ends. With the last one that takes calls the host leaves the fleet.
---@param c table settings
function M.leave(c)
  if not wants(c) or not held then
    return
  end
  -- The others may have been told to end in the same moment.
  local deadline = cxb.time.mono() + EVERY_MS
  while others_stay(c) do
    if cxb.time.mono() >= deadline then
      return
    end
    cxb.time.sleep(50)
  end
  held = false
  while busy do
    cxb.time.sleep(10)
  end
  local answer = request(c, "DELETE", "/fleet/register/" .. url.escape(host_id(c)), nil, 1000)
  cxb.log.info("the host leaves the fleet", { status = answer and answer.status })
end

return M
