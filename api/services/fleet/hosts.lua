-- Hosts that register themselves: heartbeats, leaving, draining, and how the fleet is shown (api.md
-- §5.12). What outlives a host's silence (its address, whether it is to drain) is a document of
-- `fleet_hosts`; the rest is in the cache.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local json = require("cxb.json")
local poll = require("services.fleet.poll")

local M = {}

local TTL_MS, HEARTBEAT_S = 5000, 1
local SHOWN_MS = 24 * 3600 * 1000 -- a silent host is listed for so long

---What is wanted of every host beside `drain`; others add to it: functions of (app, desired).
---@type fun(app: table, desired: table)[]
M.wants = {}

-- Told to whoever looks at the fleet.
local function tell(app, name, data)
  app.events:publish("fleet", name, data)
end

-- (waits) The durable side of a host that is new to the cache; whether it is to drain.
local function remember(app, beat)
  local now = cxb.time.now()
  local doc, err = app.store:upsert("fleet_hosts", { base_url = beat.base_url }, {
    set = { host_id = beat.host_id, source = "registered", boot_id = beat.boot_id,
      version = beat.version, seen_at = now, left = false },
    on_insert = { draining = false },
  })
  if not doc then
    return nil, errors.of_store(err)
  end
  return doc.draining == true
end

---(waits) Notes that a registered host was heard of, so that it is listed for a day once it is not.
---@param host api.fleet.host
function M.touch(app, host)
  app.store:upsert("fleet_hosts", { base_url = host.base_url }, {
    set = { host_id = host.id, seen_at = cxb.time.now() },
    on_insert = { source = "registered", draining = false, left = false },
  })
end

local info_fields = {
  "version", "generation", "workers", "flows_revision", "flows_error", "outbox", "load", "memory",
}

local function info_of(beat)
  local info = {}
  for _, name in ipairs(info_fields) do
    info[name] = beat[name]
  end
  return json.encode(info)
end

-- One heartbeat into the cache; `drain` "" when it is not known here whether the host is to drain.
local function keep(app, beat, drain)
  return fleet.step(app, "register", beat.host_id, beat.boot_id, beat.base_url,
    beat.fleet_available, beat.fleet_max, beat.fleet_calls, beat.draining and 1 or 0, drain,
    info_of(beat), TTL_MS, poll.host_id(beat.base_url), unpack(beat.consumed))
end

---(waits) A heartbeat.
---@param beat table checked
---@return table? answer, api.error? err
function M.register(app, beat)
  if beat.fleet_available > beat.fleet_max then
    return nil, errors.invalid({ { path = "fleet_available", rule = "range",
      message = "must be at most fleet_max" } })
  end
  beat.base_url = beat.base_url:gsub("/+$", "")
  local kept, err = keep(app, beat, "")
  if kept and kept[1] == "unknown" then
    local drain, refused = remember(app, beat)
    if drain == nil then
      return nil, refused
    end
    kept, err = keep(app, beat, drain and 1 or 0)
  end
  if not kept then
    return nil, err
  elseif kept[1] == "taken" then
    return nil, errors.new(409, "host_id_taken",
      ("Another machine is registered as %s."):format(beat.host_id))
  end
  if kept[1] == "new" then
    cxb.log.info("a host registers", { host = beat.host_id, version = beat.version })
  end
  if kept[1] == "new" or kept[3] == 1 then
    tell(app, "host.updated", { host_id = beat.host_id, available = beat.fleet_available,
      max = beat.fleet_max, calls = beat.fleet_calls,
      draining = beat.draining or kept[2] == "1" })
  end
  local desired = { drain = kept[2] == "1", flows_revision = 0 }
  for _, add in ipairs(M.wants) do
    add(app, desired)
  end
  return { heartbeat_seconds = HEARTBEAT_S, ttl_seconds = TTL_MS / 1000, desired = desired }
end

---(waits) Documents of a host id, newest first; one a base URL it ever had.
local function documents(app, host_id)
  local docs, err = app.store:find("fleet_hosts", { host_id = host_id }, { limit = 20 })
  if not docs then
    return nil, errors.of_store(err)
  end
  return docs
end

---(waits) Orderly leave.
---@return true?, api.error? err
function M.leave(app, host_id)
  local done, err = fleet.step(app, "leave", host_id)
  if not done then
    return nil, err
  end
  for _, doc in ipairs(documents(app, host_id) or {}) do
    app.store:update("fleet_hosts", doc._id, { set = { left = true, seen_at = cxb.time.now() } })
  end
  if done[1] == 1 then
    cxb.log.info("a host leaves", { host = host_id })
    tell(app, "host.left", { host_id = host_id })
  end
  return true
end

---(waits) A host by its id, also one that is silent: from the cache, else its document.
---@return {id: string, base_url: string}? host, api.error? err
function M.find(app, host_id)
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  for _, host in ipairs(hosts) do
    if host.id == host_id then
      return host
    end
  end
  local docs
  docs, err = documents(app, host_id)
  if docs and docs[1] then
    return { id = host_id, base_url = docs[1].base_url, silent = true }
  end
  return nil, err or errors.not_found("host")
end

---(waits) Asks a host to take no new calls, or takes that back.
---@return {host_id: string, drain: boolean}? answer, api.error? err
function M.drain(app, host_id, drain)
  local host, err = M.find(app, host_id)
  if not host then
    return nil, err
  end
  for _, doc in ipairs(documents(app, host_id) or {}) do
    local ok, failed = app.store:update("fleet_hosts", doc._id, { set = { draining = drain } })
    if not ok then
      return nil, errors.of_store(failed)
    end
  end
  local done
  done, err = fleet.step(app, "drain", host_id, drain and 1 or 0)
  if not done then
    return nil, err
  end
  tell(app, "host.updated", { host_id = host_id, draining = drain })
  return { host_id = host_id, drain = drain }
end

-- Hosts that were there lately, or are on the list, and say nothing now; `hosts` are those that do.
-- One that left in order may come back, too, but is not missed. With the store's error: not all.
local function silent_rows(app, hosts, with_left)
  local now, known = cxb.time.now(), {}
  for _, host in ipairs(hosts) do
    known[host.base_url], known[host.id] = true, true
  end
  local docs, err = app.store:find("fleet_hosts", { seen_at = { gt = now - SHOWN_MS } },
    { limit = 500 })
  local rows = {}
  for _, doc in ipairs(docs or {}) do
    local away = with_left or not doc.left
    if away and not known[doc.base_url] and not known[doc.host_id] then
      rows[#rows + 1] = { host_id = doc.host_id, base_url = doc.base_url, source = doc.source,
        status = "Unreachable", version = doc.version, draining = doc.draining == true,
        age = (now - doc.seen_at) / 1000 }
      known[doc.base_url] = true
    end
  end
  for _, base in ipairs(poll.urls(app)) do
    if not known[base] then
      rows[#rows + 1] = { host_id = poll.host_id(base), base_url = base, source = "url",
        status = "Unreachable", draining = false }
    end
  end
  return rows, not docs and err or nil
end

---(waits) Addresses of hosts that were there in the last day, or are on the list, and say nothing
---now, whether they left or went silent.
---@return string[]? addresses, api.error? err
function M.silent(app)
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  local rows, failed = silent_rows(app, hosts, true)
  if failed then
    return nil, errors.of_store(failed)
  end
  local out = {}
  for i, row in ipairs(rows) do
    out[i] = row.base_url
  end
  return out
end

local function row_of(host)
  local info = host.info
  return {
    host_id = host.id, base_url = host.base_url, source = host.source, status = "Healthy",
    version = info.version, generation = info.generation, flows_revision = info.flows_revision,
    flows_error = info.flows_error, draining = host.draining, max = host.max, calls = host.calls,
    available = host.available, reservations = host.reservations, workers = info.workers,
    outbox = info.outbox, load = info.load, memory = info.memory,
    age = host.age_ms / 1000,
  }
end

-- The first system's row of a host.
local function plain(row)
  return {
    url = row.base_url, status = row.status, total_capacity = row.max or 0,
    total_available = row.available or 0, worker_calls = row.calls or 0,
    workers = row.workers and #row.workers or 0,
  }
end

---(waits) The fleet as it is shown.
---@return table? status, api.error? err
function M.status(app)
  local hosts, err = fleet.hosts(app)
  if not hosts then
    return nil, err
  end
  local rows = {}
  for i, host in ipairs(hosts) do
    rows[i] = row_of(host)
  end
  for _, row in ipairs((silent_rows(app, hosts))) do
    rows[#rows + 1] = row
  end
  table.sort(rows, function(a, b)
    return a.host_id < b.host_id
  end)
  local sums = { total_capacity = 0, active_calls = 0, available = 0, reservations = 0,
    workers = json.array(), hosts = json.array(rows) }
  for i, row in ipairs(rows) do
    sums.workers[i] = plain(row)
    sums.total_capacity = sums.total_capacity + (row.max or 0)
    sums.active_calls = sums.active_calls + (row.calls or 0)
    sums.available = sums.available + (row.available or 0)
    sums.reservations = sums.reservations + (row.reservations or 0)
  end
  return sums
end

return M
