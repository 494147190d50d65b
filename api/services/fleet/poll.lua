-- Hosts of the URL list (settings `core_fleet`, hosts that do not register): their /health/fleet is
-- asked every two seconds, one request a host at a time, and one that is slow delays nobody. An
-- answer counts for 30 s.
local channel = require("cxb.channel")
local json = require("cxb.json")
local system_settings = require("services.system.settings")

local M = {}

local STALE_MS = 30000

local flying = {} -- base URL → its poll is under way
local asked = {} -- base URL → somebody has asked it in this process

---@return string
function M.host_id(base_url)
  return "url-" .. cxb.crypto.hex(cxb.crypto.sha256(base_url)):sub(1, 16)
end

---(waits) Base URLs of the list.
---@return string[]
function M.urls(app)
  local settings = system_settings.get(app)
  local list = {}
  for i, base in ipairs(settings and settings.core_fleet or {}) do
    list[i] = base:gsub("/+$", "")
  end
  return list
end

local function whole(value, low, high)
  return type(value) == "number" and value == math.floor(value) and value >= low
    and value <= (high or 2 ^ 31)
end

---What a host's answer says; nil when it is not one that counts.
---@param answer? table of cxb.http.request
---@return {fleet_max: integer, fleet_available: integer, fleet_calls: integer, workers: table}?
function M.read(answer)
  if not answer or answer.status < 200 or answer.status > 299 then
    return nil
  end
  local body = json.decode_object(answer.body or "")
  local good = body and body.status == "ok" and whole(body.fleet_max, 0)
    and whole(body.fleet_available, 0, body.fleet_max) and whole(body.fleet_calls, 0)
    and type(body.workers) == "table" and (json.is_array(body.workers) or #body.workers > 0)
  return good and body or nil
end

local function is_listed(app, base)
  for _, listed in ipairs(M.urls(app)) do
    if listed == base then
      return true
    end
  end
  return false
end

-- (waits) One poll of one host. An answer that comes once it was taken off the list counts no more.
local function poll(app, base)
  local began = cxb.time.now()
  local answer, code, message = cxb.http.request({
    url = base .. "/health/fleet", timeout_ms = app.settings.FLEET_HEALTH_TIMEOUT_SECONDS * 1000,
    max_body = 1024 * 1024,
  })
  local said = M.read(answer)
  if not said then
    cxb.log.debug("a host of the URL list gives no good answer", { host = base,
      error = answer and "status " .. answer.status or message or code })
    return nil
  elseif not is_listed(app, base) then
    return nil
  end
  local kept = require("services.fleet").step(app, "poll", M.host_id(base), base,
    said.fleet_available, said.fleet_max, said.fleet_calls,
    json.encode({ workers = json.array(said.workers) }), STALE_MS, began)
  return kept and said
end

-- Begins a poll unless one is under way; `done` is told what the host said.
local function begin(app, base, done)
  asked[base] = true
  if flying[base] then
    return false
  end
  flying[base] = true
  cxb.task.spawn("fleet_poll", function()
    local ok, said = pcall(poll, app, base)
    flying[base] = nil
    if not ok then
      cxb.log.error("poll failed", { host = base, error = tostring(said) })
    end
    if done then
      done(ok and said or nil)
    end
  end)
  return true
end

---(waits) Begins a poll of each host of the list that does not register itself.
---@param registered table<string, boolean> base URLs
function M.all(app, registered)
  for _, base in ipairs(M.urls(app)) do
    if not registered[base] then
      begin(app, base)
    end
  end
end

-- (waits) Base URLs of the list that nobody has asked yet. Who registers itself is not asked.
local function unasked(app)
  local list = {}
  for _, base in ipairs(M.urls(app)) do
    list[#list + 1] = not asked[base] and base or nil
  end
  local rows = list[1] and require("services.fleet").step(app, "list")
  for _, row in ipairs(rows or {}) do
    local source, base = row[2], row[3]
    asked[base] = asked[base] or source == "registered" or nil
  end
  return list
end

---(waits) At first use the hosts that nobody has asked yet are asked at once: until one of them has
---a free slot, or all have answered.
function M.first(app)
  local answers, n = channel.new(), 0
  for _, base in ipairs(unasked(app)) do
    if not asked[base] and begin(app, base, function(said)
      answers:push({ free = said and said.fleet_available > 0 })
    end) then
      n = n + 1
    end
  end
  while n > 0 do
    local answer = answers:pop(app.settings.FLEET_HEALTH_TIMEOUT_SECONDS * 1000 + 1000)
    if not answer or answer.free then
      return
    end
    n = n - 1
  end
end

return M
