-- core.lua: the call worker. One process, one call at a time. Routes, guards and the life of the
-- process are here; a call itself is cxb.core.calls → cxb.core.session → the flow.
local adoption = require("cxb.core.adoption")
local auth = require("cxb.core.auth")
local calls = require("cxb.core.calls")
local carriers = require("cxb.core.carriers")
local disk = require("cxb.core.disk")
local door = require("cxb.core.door")
local figures = require("cxb.core.figures")
local flow_pull = require("cxb.core.flow_pull")
local flows = require("cxb.core.flows")
local health = require("cxb.core.health")
local host = require("cxb.core.host")
local loglines = require("cxb.core.loglines")
local lost = require("cxb.core.lost")
local monitor = require("cxb.core.monitor")
local outboxes = require("cxb.core.outboxes")
local published = require("cxb.core.published")
local postcall = require("cxb.core.postcall")
local recordings = require("cxb.core.recordings")
local registration = require("cxb.core.registration")
local settings = require("cxb.core.settings")
local standing = require("cxb.core.status")
local router = require("cxb.router")
local url = require("cxb.url")

-- One worker of many on its host keeps little garbage, though it looks for it more often.
collectgarbage("setpause", 120)

local c = settings.load()
if not c then
  return 0 -- --help-config has printed the variables
end
cxb.log.level(c.CXB_LOG_LEVEL)
cxb.log.context({ service = "core", worker = tostring(c.worker) })
figures.declare()
if c.CXB_DEV and c.CXB_CRASH_AT then
  cxb.fault.arm(c.CXB_CRASH_AT)
end

local routes = router.new({
  error = function(req, status, code, headers)
    req:respond(status, { error = code }, headers)
  end,
})

-- Paths of the calls' sockets, by transport; nginx has the same list.
local sockets = { cxb = "ws", exotel = "exotel", twilio = "twilio", telnyx = "telnyx",
  plivo = "plivo", vonage = "vonage", asterisk = "asterisk", audiofork = "audiofork",
  browser = "browser" }
local guards = {}

for transport, prefix in pairs(sockets) do
  guards[#guards + 1] = { prefix = "/" .. prefix .. "/", upgrade = true }
  routes:get("/" .. prefix .. "/{bot_id}", function(req, params)
    calls.serve(c, req, transport, params.bot_id, function(jti)
      return host.take_ticket(c, jti)
    end)
  end)
end

for path, kind in pairs({ ["/livekit/dispatch"] = "dispatch", ["/livekit/dialout"] = "dialout",
  ["/attach"] = "attach", ["/livekit/widget"] = "widget" }) do
  routes:post(path, function(req)
    door.serve(c, req, kind)
  end)
end

routes:get("/monitor/{session_id}", function(req, params)
  monitor.serve(c, calls, req, params.session_id)
end)

-- Handlers that only the API and operators may call.
local function with_secret(handler)
  return function(req, params)
    if not auth.secret_ok(c, req.headers) then
      return req:respond(403, { error = "forbidden" })
    end
    return handler(req, params)
  end
end

routes:get("/health", function(req)
  local slot = cxb.slot.state()
  local reload, reload_error = cxb.process.reload_state()
  req:respond(200, health.worker({
    worker_calls = slot.used, worker_max = slot.max, total_capacity = c.CXBCORE_WORKERS * slot.max,
    workers = c.CXBCORE_WORKERS, worker_id = tostring(c.worker), pid = cxb.process.pid,
    draining = slot.draining, generation = cxb.generation, reload = reload,
    reload_error = reload_error, version = cxb.version,
  }), { ["content-type"] = "application/json" })
end)

routes:get("/health/fleet", function(req)
  req:respond(200, health.fleet(cxb.scoreboard.rows(), c.CXB_FLEET_AVAILABLE_CAP,
    cxb.scoreboard.host_draining()), { ["content-type"] = "application/json" })
end)

-- What a carrier fetches that was asked to transfer a call; the token says whereto.
routes:get("/carrier/plivo.xml", function(req)
  local xml = carriers.plivo_xml(c, url.parse_query(req.query).t)
  if not xml then
    return req:respond(403, { error = "forbidden" })
  end
  return req:respond(200, xml, { ["content-type"] = "application/xml" })
end)

routes:get("/metrics", function(req)
  local scope = url.parse_query(req.query).scope == "worker" and "worker" or "host"
  req:respond(200, cxb.metrics.render(scope),
    { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" })
end)

routes:get("/recordings/{key*}", with_secret(function(req, params)
  recordings.serve(req, c.recordings_dir, params.key)
end))

routes:delete("/recordings/{key*}", with_secret(function(req, params)
  recordings.erase(req, c.recordings_dir, params.key)
end))

routes:get("/outbox", with_secret(function(req)
  local q = url.parse_query(req.query)
  req:respond(200, host.outbox(c, q.state, tonumber(q.limit)),
    { ["content-type"] = "application/json" })
end))

routes:post("/outbox/{id}/replay", with_secret(function(req, params)
  local ok = host.replay(c, params.id)
  req:respond(ok and 200 or 404, ok and { status = "ready" } or { error = "not_found" })
end))

routes:post("/calls/{session_id}/hangup", with_secret(function(req, params)
  local ok = host.hangup(c, params.session_id)
  req:respond(ok and 200 or 404, ok and { status = "ending" } or { error = "not_found" })
end))

routes:get("/logs", with_secret(function(req)
  local q = url.parse_query(req.query)
  local items, rule = loglines.find(c, q.id, q.since, tonumber(q.limit))
  req:respond(items and 200 or 422, items and { items = items }
    or { error = "invalid", field = "id", message = rule })
end))

-- An idle worker that has served long or grown large ends; its supervisor starts a fresh one.
local function recycle()
  local slot = cxb.slot.state()
  if slot.used > 0 or slot.draining or postcall.busy() then
    return
  end
  local many = c.CXB_WORKER_MAX_CALLS > 0 and slot.served >= c.CXB_WORKER_MAX_CALLS
  local large = c.CXB_WORKER_MAX_RSS_MB > 0
    and cxb.process.rss_kb() > c.CXB_WORKER_MAX_RSS_MB * 1024
  if many or large then
    cxb.log.info("worker recycles", { calls = slot.served, rss_kb = cxb.process.rss_kb() })
    cxb.process.kill(cxb.process.pid, "TERM")
  end
end

local function tell_manager(outbox)
  local slot = cxb.slot.state()
  local _, reload_error = cxb.process.reload_state()
  cxb.process.status(standing.line({
    draining = slot.draining, reload_error = reload_error, generation = cxb.generation,
    call_seconds = slot.used > 0 and slot.age_ms / 1000 or nil, outbox = outbox,
  }))
end

local function every_seconds()
  local free, outbox = figures.sample(c, outboxes.boxes)
  disk.space(c, free)
  if outboxes.box or outboxes.open(c, c.worker) then
    disk.probe(c)
  end
  tell_manager(outbox)
  recycle()
end

local adopting = false

-- One worker of the host looks after outboxes and journals whose worker is gone.
local function adopt()
  if adopting or not outboxes.box or not cxb.fs.lock(c.journal_dir .. "/adopt.lock") then
    return
  end
  adopting = true
  local ok, why = pcall(function()
    adoption.sweep(c)
    lost.sweep(c)
  end)
  adopting = false
  if not ok then
    cxb.log.error("adoption failed", { error = tostring(why) })
  end
end

-- What belongs to the generation that takes calls. An outbox itself outlives generations.
local function active()
  published.catch_up(c)
  if not outboxes.box then
    outboxes.open(c, c.worker)
  end
  cxb.task.every(2000, "figures", every_seconds)
  cxb.task.every(1000, "post_call", function()
    postcall.work(c)
  end)
  registration.begin(c)
  flow_pull.begin(c)
  cxb.task.spawn("adopt", adopt)
  cxb.task.every(5000, "adopt", adopt)
end

-- Folders are made before the sockets: one of them holds the control socket.
local function make_folders()
  for _, dir in ipairs({ c.CXB_RUN_DIR .. "/ctl", c.CXB_RUN_DIR .. "/tickets", c.journal_dir,
    c.recordings_dir }) do
    local ok, code, message = cxb.fs.mkdir(dir)
    if not ok then
      error("start refused: " .. (message or dir .. ": " .. code), 0)
    end
  end
end

local function start()
  local ok, code, message = cxb.scoreboard.attach(c.CXB_RUN_DIR .. "/scoreboard", c.worker,
    c.CXBCORE_WORKERS)
  if not ok then
    error(("start refused: worker %d: %s"):format(c.worker, message or code), 0)
  end
  cxb.slot.max(c.MAX_CONCURRENT_CALLS)
  local box, why
  box, why, code = adoption.reclaim(c, function(worker)
    host.ask_for_outbox(c, worker)
  end)
  if code == "no_space" then -- no call until there is room, but somebody who says so
    cxb.log.error("the outbox cannot be opened", { error = why })
    disk.refuses(true)
  elseif not box then
    error("start refused: " .. why, 0)
  end
  disk.space(c, (figures.sample(c, outboxes.boxes)))
end

local function selftest()
  local written, why = published.load(c)
  local ok = written ~= nil
  if ok then
    ok, why = flows.load_all(c.flows_dir, written)
  end
  if ok then
    ok, why = flows.check_bots(c.bots_dir)
  end
  return ok, why
end

-- Due rows are tried for so long at the end.
local stop_ms = 10000

local function call_lost(info)
  local current = calls.current
  calls.current = nil
  cxb.log.error("the task of a call died", { reason = info.reason, error = info.error })
  if not current then
    return
  end
  current.leg:hangup()
  local deadline = cxb.time.mono() + 3000
  repeat
    local event, code = current.leg:event(500)
  until (event and event.type == "closed") or code == "closed" or cxb.time.mono() > deadline
  current.leg:close()
  if current.path then
    lost.recover(c, current.path, { disconnected_by = "error", error = info.reason })
  end
  if current.hub then
    current.hub:tell({ type = "call_ended", data = { disconnected_by = "error",
      error = info.reason } })
  end
end

if cxb.mode == "run" then
  make_folders()
end

local listen = {
  { addr = c.listen, mode = 432 }, -- 0660
  { addr = ("unix:%s/ctl/core-%d.sock"):format(c.CXB_RUN_DIR, c.worker), mode = 432,
    control = true },
}
if c.audiosocket then
  listen[#listen + 1] = { addr = c.audiosocket, audiosocket = true,
    media_timeout_s = c.CXB_MEDIA_TIMEOUT_SECONDS }
end

return {
  name = "core",
  listen = listen,
  guard = guards,
  http = function(req)
    routes:handle(req)
  end,
  audiosocket = function(leg)
    calls.carry(c, leg, "audiosocket", c.CXB_AUDIOSOCKET_BOT)
  end,
  start = start,
  active = active,
  selftest = selftest,
  call_lost = call_lost,
  control = host.verbs(c, calls),
  now = function()
    stop_ms = 1000
    if calls.current and calls.current.leg then
      calls.current.leg:post({ type = "shutdown" })
    end
  end,
  stop = function()
    registration.leave(c)
    local analysis_ms = stop_ms / 2 -- at most, for what a model is reading
    outboxes.flush(stop_ms - analysis_ms + postcall.wait(analysis_ms))
  end,
}
