-- Where calls go (api.md §5.12): the hosts of the fleet, reservations of their slots, requests to
-- them. What hosts say of themselves and what is reserved of it changes by one script of the cache.
local caches = require("services.system.caches")
local errors = require("services.web.errors")
local json = require("cxb.json")
local poll = require("services.fleet.poll")
local url = require("cxb.url")

local M = {}

cxb.metrics.declare({
  { name = "cxb_fleet_available", type = "gauge", help = "Free slots by host, as it says." },
  { name = "cxb_fleet_reservations", type = "gauge", help = "Reservations that count now." },
  { name = "cxb_fleet_reservations_total", type = "counter",
    help = "Requests for slots by purpose and what came of them." },
})

local TTL_MS, TRIES = 45000, 3

-- Columns of the script's list.
local SOURCE, URL, AVAILABLE, MAX, CALLS, DRAINING, DRAIN = 2, 3, 4, 5, 6, 7, 8
local SEEN, INFO, BOOT, LIVE = 9, 10, 11, 12

---(waits) One step of the fleet's script: its answer, a list of texts.
---@return table? answer, api.error? err
function M.step(app, op, ...)
  local answer, err = caches.script(app, "fleet", { "fleet:" }, { op, app.cache.now(), ... })
  if not answer then
    cxb.log.error("the fleet cannot be asked", { error = err.message })
    return nil, errors.new(503, "cache_unavailable", "The cache cannot be reached.")
  end
  return answer
end

---@class api.fleet.host
---@field id string
---@field source "registered"|"url"
---@field base_url string
---@field available integer as the host says
---@field max integer
---@field calls integer
---@field draining boolean as it says, or as it was asked to
---@field drain boolean as it was asked to
---@field reservations integer that count now
---@field age_ms number since it was heard of
---@field boot_id string
---@field info table what else it told: version, generation, workers, outbox, load, memory, …

---(waits) The hosts that were heard of lately.
---@return api.fleet.host[]? hosts, api.error? err
function M.hosts(app)
  poll.first(app)
  local rows, err = M.step(app, "list")
  if not rows then
    return nil, err
  end
  local hosts, now = {}, app.cache.now()
  for i, row in ipairs(rows) do
    hosts[i] = {
      id = row[1], source = row[SOURCE], base_url = row[URL], boot_id = row[BOOT],
      available = tonumber(row[AVAILABLE]), max = tonumber(row[MAX]), calls = tonumber(row[CALLS]),
      draining = row[DRAINING] == "1" or row[DRAIN] == "1", drain = row[DRAIN] == "1",
      reservations = tonumber(row[LIVE]), age_ms = math.max(0, now - tonumber(row[SEEN])),
      info = json.decode_object(row[INFO]) or {},
    }
  end
  return hosts
end

---(waits) Base URL of the first URL-list host, else of the first registered one.
---@return string?
function M.first_base(app)
  local listed = poll.urls(app)[1]
  if listed then
    return listed
  end
  local hosts = M.hosts(app) or {}
  table.sort(hosts, function(a, b)
    return a.id < b.id
  end)
  return hosts[1] and hosts[1].base_url
end

local function parsed(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    local id, host, base, till = line:match("^(%S+) (%S+) (%S+) (%d+)$")
    list[#list + 1] = { id = id, host_id = host, base_url = base, expires_at = tonumber(till) }
  end
  return list
end

---@class api.fleet.wish
---@field key? string the same key gets the same answer while it lasts
---@field count? integer 1
---@field ttl_ms? integer 45000
---@field purpose? "dialout"|"attach"|"dispatch"|"widget"|"test"
---@field without? string[] ids of hosts that are not to be taken

---@class api.fleet.reservation
---@field id string
---@field host_id string
---@field base_url string
---@field expires_at number ms

---(waits) Reserves slots: fewer than asked when there are no more.
---@param options api.fleet.wish
---@return api.fleet.reservation[]? reservations
---@return api.error? err 503 no_capacity
function M.reserve(app, options)
  poll.first(app)
  local args = { options.key or "", options.ttl_ms or TTL_MS,
    table.concat(options.without or {}, " ") }
  for _ = 1, options.count or 1 do
    args[#args + 1] = app.store:id("rsv")
    args[#args + 1] = math.random(0, 2 ^ 30)
  end
  local answer, err = M.step(app, "reserve", unpack(args))
  if not answer then
    return nil, err
  end
  local list = parsed(answer[1])
  cxb.metrics.count("cxb_fleet_reservations_total", { purpose = options.purpose or "other",
    result = list[1] and "given" or "none" })
  if not list[1] then
    return nil, errors.new(503, "no_capacity", "No host has a free slot.",
      { headers = { ["retry-after"] = "1" } })
  end
  return list
end

---(waits)
---@return table? reservation, api.error? err 404 once it has ended
function M.renew(app, id, ttl_ms)
  local answer, err = M.step(app, "renew", id, ttl_ms)
  if not answer then
    return nil, err
  elseif answer[1] ~= "ok" then
    return nil, errors.not_found("reservation")
  end
  return { id = id, host_id = answer[2], base_url = answer[3], expires_at = tonumber(answer[4]) }
end

---(waits) Gives a reservation back; repeating it is harmless.
---@return true?, api.error? err
function M.release(app, id)
  local answer, err = M.step(app, "release", id)
  return answer and true, err
end

---(waits) A request to a host, with the secret in both spellings.
---@param base_url string
---@param path string with its query
---@param body? table sent as JSON
---@param options? {headers?: table, timeout_ms?: number, max_body?: integer, request_id?: string}
---@return table? answer as of cxb.http.request; `answer` is the decoded body, {} when no object
---@return string? code, string? message
function M.call(app, base_url, method, path, body, options)
  options = options or {}
  local headers = {
    ["x-cxbcore-secret"] = app.secrets.core, ["x-cxb-core-secret"] = app.secrets.core,
    ["x-request-id"] = options.request_id, ["content-type"] = body and "application/json" or nil,
  }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local answer, code, message = cxb.http.request({
    url = base_url .. path, method = method, headers = headers,
    body = body and json.encode(body) or nil, timeout_ms = options.timeout_ms or 10000,
    max_body = options.max_body,
  })
  if not answer then
    return nil, code, message
  end
  answer.answer = json.decode_object(answer.body or "") or {}
  return answer
end

local function listed_any(app)
  if poll.urls(app)[1] then
    return true
  end
  local rows = M.step(app, "list")
  return rows ~= nil and rows[1] ~= nil
end

-- Why there is no slot, in the words of the contract.
local function nobody(app, err)
  if err.code ~= "no_capacity" then
    return err
  end
  return errors.new(503, "fleet_unavailable", listed_any(app) and "No healthy fleet" or "No fleet",
    { headers = { ["retry-after"] = "1" } })
end

---@class api.fleet.start
---@field purpose string
---@field path string
---@field body table
---@field timeout_ms number
---@field request_id? string
---@field prepare? fun(body: table, host_id: string, attempt: integer, tries: integer): integer?
--- completes the body for one host; may answer how many tries there are in all

---(waits) Starts a call: reserves a slot, asks its host, after 429 the next one, three at most.
---@param request api.fleet.start
---@return table? answer of the host that did not say 429, or of the last that did; with `host_id`
---and `base_url` when it took the call
---@return api.error? err 503 "No fleet" / "No healthy fleet", 502 on a failed request
function M.start(app, request)
  local without, answer, tries = {}, nil, TRIES
  local attempt = 1
  while attempt <= tries do
    local given, err = M.reserve(app, { purpose = request.purpose, ttl_ms = request.timeout_ms
      + TTL_MS, without = without })
    if not given then
      return answer, not answer and nobody(app, err) or nil
    end
    local slot = given[1]
    if request.prepare then
      tries = request.prepare(request.body, slot.host_id, attempt, tries) or tries
    end
    local code, message
    answer, code, message = M.call(app, slot.base_url, "POST", request.path, request.body, {
      timeout_ms = request.timeout_ms, request_id = request.request_id,
      headers = { ["x-cxb-reservation"] = slot.id },
    })
    if answer and answer.status < 300 then
      M.step(app, "took", slot.id)
      answer.host_id, answer.base_url = slot.host_id, slot.base_url
      return answer
    end
    M.release(app, slot.id)
    if not answer then
      M.step(app, "void", slot.host_id)
      cxb.log.warn("a host does not answer", { host = slot.host_id, error = message or code })
      return nil, errors.new(502, "upstream_failed",
        ("The host did not answer: %s."):format(code or "failed"))
    elseif answer.status ~= 429 then
      return answer
    end
    without[#without + 1] = slot.host_id
    attempt = attempt + 1
  end
  return answer
end

---The socket base of a host: "wss://…" for https.
---@return string
function M.socket_base(base_url)
  return (base_url:gsub("^http", "ws"):gsub("/+$", ""))
end

---The path of a route of a host, its last part escaped.
function M.path(prefix, part, rest)
  return prefix .. url.escape(part) .. (rest or "")
end

return M
