-- Which rows of the CRM outbox are sent now (api.md §5.19). Every process takes part: a row is
-- leased for 60 s before it is tried. A receiver is the origin of a URL: at most four deliveries at
-- once to each, over all processes; after ten failures in a row, whoever met them, it is left alone
-- for 60 s, then gets one at a time until one succeeds. So one that is away keeps nobody else
-- waiting. Failures and places are kept in the cache; while it is away each process has its own.
local caches = require("services.system.caches")
local crm_delivery = require("services.crm.delivery")
local crm_schedule = require("services.crm.schedule")

local M = {}
M.__index = M

local LEASE_MS, PAUSE_MS, MEASURE_MS = 60000, 60000, 15000
local AT_ONCE, AT_ONCE_ALL, FAILURES_MAX = 4, 64, 10
local REMEMBERED_MS = 24 * 3600000 -- longer than between two tries of one row

---@param app table
function M.new(app)
  local owner = ("%d-%s"):format(cxb.process.pid, cxb.crypto.hex(cxb.crypto.random(4)))
  return setmetatable({ app = app, owner = owner, serial = 0, running = 0 }, M)
end

local function key_of(host)
  return "crm:" .. host
end

-- (waits) A refusal of one body says that the receiver is there; what was not even sent, nothing.
local function account(self, host, outcome)
  if outcome.give_up then
    return
  end
  local there = outcome.delivered or crm_schedule.is_refusal(outcome)
  caches.script(self.app, "failures", { key_of(host) },
    { cxb.time.now(), there and "ok" or "failed", FAILURES_MAX, PAUSE_MS, REMEMBERED_MS })
end

-- (waits) Host → {failures, paused_until}.
local function failures_of(self, waiting)
  local hosts, keys, out = {}, {}, {}
  for host in pairs(waiting) do
    hosts[#hosts + 1], keys[#keys + 1] = host, key_of(host)
  end
  local found = caches.script(self.app, "failures", keys, { cxb.time.now() })
  for i, host in ipairs(hosts) do
    out[host] = { failures = tonumber(found[2 * i - 1]), paused_until = tonumber(found[2 * i]) }
  end
  return out
end

-- Host → number of rows, of the rows that match.
local function by_host(self, filter)
  local groups, err = self.app.store:group("crm_deliveries", filter, { "host" })
  if not groups then
    return nil, err
  end
  local counts = {}
  for _, group in ipairs(groups) do
    counts[group.by.host] = group.count
  end
  return counts
end

-- (waits) One of the places that a receiver has for all processes; it ends with the row's lease.
local function take_place(self, host, most)
  local now = cxb.time.now()
  self.serial = self.serial + 1
  local place = ("%s:%d"):format(self.owner, self.serial)
  local taken = caches.script(self.app, "busy", { "crm:busy:" .. host },
    { now, place, now + LEASE_MS, most })
  return tonumber(taken) == 1 and place or nil
end

local function give_back(self, host, place)
  caches.script(self.app, "busy", { "crm:busy:" .. host }, { cxb.time.now(), place, 0, 0 })
end

local function try(self, row, place)
  local host = row.host
  self.running = self.running + 1
  cxb.task.spawn("crm delivery", function()
    local ok, outcome = xpcall(function()
      local came = crm_delivery.attempt(self.app, row)
      if came then
        account(self, host, came)
      end
      return came
    end, debug.traceback)
    self.running = self.running - 1
    give_back(self, host, place)
    if not ok then
      cxb.log.error("crm delivery failed", { delivery = row._id, error = outcome })
    elseif outcome and self.app.jobs then
      self.app.jobs:wake("crm_outbox")
    end
  end)
end

-- Rows that are due, also those whose sender died.
local function due(now, host)
  return { state = { ["in"] = { "pending", "sending" } }, next_at = { lte = now }, host = host }
end

-- (waits) Places for rows that wait, as many as a receiver and we have now.
local function places_for(self, host, waiting, state)
  local places = {}
  if cxb.time.now() < state.paused_until then
    return places
  end
  local most = state.failures >= FAILURES_MAX and 1 or AT_ONCE
  for i = 1, math.min(waiting, most, AT_ONCE_ALL - self.running) do
    places[i] = take_place(self, host, most)
    if not places[i] then
      break
    end
  end
  return places
end

---(waits) Begins what may be sent now.
---@return integer? begun, table? err
function M:turn()
  local store, now, begun = self.app.store, cxb.time.now(), 0
  local waiting, err = by_host(self, due(now))
  if not waiting then
    return nil, err
  elseif not next(waiting) then
    return 0
  end
  local states = failures_of(self, waiting)
  for host, count in pairs(waiting) do
    local places = places_for(self, host, count, states[host])
    local rows = places[1] and store:lease("crm_deliveries", due(now, host),
      { sort = { "next_at" }, owner = self.owner, ttl_ms = LEASE_MS, set = { state = "sending" },
        limit = #places }) or {}
    begun = begun + #rows
    for i, place in ipairs(places) do
      if rows[i] then
        try(self, rows[i], place)
      else
        give_back(self, host, place)
      end
    end
  end
  return begun
end

---(waits) The figures of the outbox, now and then.
function M:measure()
  local store, now = self.app.store, cxb.time.now()
  if self.measured_at and now - self.measured_at < MEASURE_MS then
    return
  end
  self.measured_at = now
  for _, state in ipairs({ "pending", "sending", "dead" }) do
    local n = store:count("crm_deliveries", { state = state })
    cxb.metrics.set("cxb_crm_deliveries", { state = state }, n or 0)
  end
  local oldest = store:find("crm_deliveries", { state = { ["in"] = { "pending", "sending" } } },
    { sort = { "created_at" }, limit = 1, fields = { "since" } })
  local since = oldest and oldest[1] and oldest[1].since
  cxb.metrics.set("cxb_crm_oldest_pending_seconds", nil, since and (now - since) / 1000 or 0)
end

return M
