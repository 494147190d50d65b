-- An accepted upgrade becomes a call: handshake, journal, configuration, session, result. The task
-- that runs this holds the call slot; it is free when this returns.
local Session = require("cxb.core.session")
local auth = require("cxb.core.auth")
local botconfig = require("cxb.core.botconfig")
local carrier_rest = require("cxb.core.carrier_rest")
local delivery = require("cxb.core.delivery")
local disk = require("cxb.core.disk")
local flows = require("cxb.core.flows")
local hub = require("cxb.core.hub")
local live = require("cxb.core.live")
local page_leg = require("cxb.core.page_leg")
local postcall = require("cxb.core.postcall")
local record = require("cxb.record")
local recordings = require("cxb.core.recordings")

local M = {}

-- What a fresh task needs to end this call should its own die (service.call_lost).
---@class cxb.core.current
---@field leg cxb.leg
---@field call_id string
---@field path? string of its journal
---@field session? table
---@field session_id? string
---@field hub? table

---@type cxb.core.current?
M.current = nil

local function blank_to_nil(text)
  return text ~= "" and text or nil
end

-- (waits) The handshake's end; nil when the socket is gone before: no call, no result.
local function wait_start(leg)
  while true do
    local event, code = leg:event()
    if not event and code ~= "timeout" then
      return nil
    elseif event and event.type == "start" then
      return event
    elseif event and (event.type == "closed" or event.type == "shutdown") then
      return nil
    end
  end
end

-- (waits) The leg after abort or hangup.
local function wait_closed(leg)
  local deadline = cxb.time.mono() + 5000
  repeat
    local event, code = leg:event(math.max(1, deadline - cxb.time.mono()))
  until (event and event.type == "closed") or (not event and code ~= "timeout")
    or cxb.time.mono() >= deadline
end

-- The ticket's session goes with the wire's own fields to the configuration.
local function connected_event(start, claims)
  local text = start.connected_event
  if not text or not text:match("^%s*{") then
    text = "{}"
  end
  local session_id = type(claims) == "table" and claims.session_id
  if type(session_id) == "string" and session_id:match("^[%w._-]+$") then
    local rest = text:match("^%s*{(.*)$")
    local comma = rest:match("^%s*}") and "" or ","
    text = '{"_campaign_session_id":"' .. session_id .. '"' .. comma .. rest
  end
  return text, session_id or text:match('"_campaign_session_id"%s*:%s*"([%w._-]+)"')
end

local function recording_key(session_id, now)
  local day = cxb.time.iso(now):sub(1, 10):gsub("-", "/")
  return ("recordings/%s/%s.wav"):format(day, recordings.name(session_id))
end

local function pipeline(c, call, config)
  return {
    flow = config.flow, flow_version = config.flow_version, generation = cxb.generation,
    version = cxb.version, host = c.CXB_HOST_ID, worker = tostring(c.worker),
    transport = call.transport, rate = call.rate, stt = { provider = config.stt.provider },
    llm = config.llm and { provider = config.llm.provider, model = config.llm.model },
    tts = { provider = config.tts.provider, voice = config.tts.voice or config.tts.voice_id },
    unknown_fields = config.unknown_fields,
  }
end

-- (waits) The record of acceptance is on disk when this returns: nil, message when it cannot be.
local function accept(c, call, start)
  local path = ("%s/%s.jnl"):format(c.journal_dir, call.call_id)
  local journal, code, message = cxb.journal.create(path)
  if not journal then
    return nil, message or code
  end
  local facts = record.new(journal)
  facts:add("accepted", {
    call_id = call.call_id, bot_id = call.bot_id, transport = call.transport,
    stream_id = start.stream_id, caller_id = blank_to_nil(start.caller_id or ""),
    from_number = start.from_number, direction = start.direction,
    connected_event = call.connected_event, session_hint = call.session_hint,
    config_url = c.CXB_API_CONFIG_URL, started_at = call.started_at,
    results_url = c.api and c.api .. "/call-results" or c.CXB_RESULTS_URL,
  })
  local ok
  ok, code, message = journal:sync()
  if not ok then
    journal:close(true) -- part of it may be there: what was not accepted has no result
    return nil, message or code
  end
  return facts, nil, path
end

-- The last facts, the result, the journal's end. Listeners hear that the call has ended once its
-- result is on disk. `said`: the far end's word for who hung up.
local function conclude(c, facts, ending, t_ms, said)
  local tell, over = facts.listener, { t_ms = t_ms, type = "call_ended", data = {
    disconnected_by = ending.by, error = ending.error, said = said } }
  facts.listener = nil
  facts:add("event", over)
  facts:add("end", { disconnected_by = ending.by, error = ending.error, t_ms = t_ms })
  facts.journal:sync()
  cxb.metrics.count("cxb_calls_total", { transport = facts.fields.transport,
    disconnected_by = ending.by })
  local how = delivery.commit(c, facts, postcall.prepare(facts))
  if tell then
    tell("event", over)
  end
  facts.journal:close(true)
  cxb.log.info("call ended", {
    disconnected_by = ending.by, error = ending.error, result = how,
    turns = #facts.transcript,
    seconds = facts.times.answered and (t_ms - facts.times.answered) / 1000 or 0,
  })
end

local function refuse(c, leg, facts, call, refusal)
  leg:abort(refusal.close, refusal.close == 1011 and "config_error" or refusal.kind:match("^[^:]*"))
  wait_closed(leg)
  leg:close()
  cxb.metrics.count("cxb_calls_refused_total", { reason = refusal.kind:match("^[^:]*") })
  if refusal.kind == "unknown_bot" then
    cxb.log.warn("unknown bot", {})
    facts.journal:close(true)
    return
  end
  local session_id = refusal.session_id or call.session_hint or "core-" .. call.call_id
  cxb.task.tag({ session_id = session_id })
  cxb.log.warn("call refused", { reason = refusal.kind, error = refusal.message })
  facts:add("start", { session_id = session_id, webhook_url = facts.fields.results_url })
  local outside = refusal.kind == "outside_hours"
  conclude(c, facts, { by = outside and "outside_hours" or "error",
    error = not outside and refusal.kind or nil }, math.floor(cxb.time.mono() - call.origin))
end

local function record_audio(c, leg, facts, key)
  local path = c.recordings_dir .. "/" .. key:gsub("^recordings/", "")
  local ok, code, message = cxb.fs.mkdir(path:match("^(.*)/"))
  if ok then
    ok, code, message = leg:record(path)
  end
  if not ok then
    cxb.log.error("no recording", { error = message or code })
    return false
  end
  facts:add("recording", { key = key, url = recordings.url(c, key) })
  return true
end

local function media_figures(call, stats)
  cxb.metrics.count("cxb_media_underruns_total", nil, stats.underruns or 0)
  local counts = { ignored = stats.ignored or 0, bad_message = stats.bad_message or 0,
    bad_audio = stats.bad_audio or 0 }
  counts.flood = (stats.drops or 0) - counts.bad_message - counts.bad_audio
  for reason, count in pairs(counts) do
    if count > 0 then
      cxb.metrics.count("cxb_bad_frames_total", { transport = call.transport, reason = reason },
        count)
    end
  end
  if stats.pacing_us_p99 then
    cxb.metrics.observe("cxb_media_pacing_error_seconds", nil, stats.pacing_us_p99 / 1e6)
  end
end

local function run_session(c, leg, facts, call, config, start)
  local session = Session.new({
    settings = c, leg = leg, facts = facts, config = config, start = start,
    origin = call.origin, meta = call,
  })
  M.current.session = session
  if call.transport == "browser" then
    leg.session = session
  end
  local told = M.current.hub
  session.on_state = function(value)
    told:tell({ type = "state", t_ms = session.call:t_ms(), data = { value = value } })
  end
  session.on_answer = function()
    cxb.metrics.observe("cxb_call_setup_seconds", { transport = call.transport },
      (cxb.time.mono() - call.origin) / 1000)
    if config.recording_enabled then
      session.recording = record_audio(c, leg, facts, call.recording_key)
    end
  end
  session.call:event("call_started", { transport = call.transport })
  leg:vad(botconfig.leg_vad(config))
  if call.transport == "browser" then
    leg:note({ type = "ready", session_id = config.session_id, call_id = call.call_id,
      rate = start.rate, flow = config.flow, generation = cxb.generation })
  end
  session:connect()
  local ending = session:run()
  local stats = leg:stats() or {}
  local t_ms = session.closed_at
  leg:close()
  if session.recording then
    facts:add("recording", { key = call.recording_key, bytes = stats.recorded_bytes,
      url = recordings.url(c, call.recording_key) })
  end
  if (stats.underruns or 0) > 0 then
    facts:add("event", { t_ms = t_ms, type = "underrun", data = { count = stats.underruns } })
  end
  session:spent()
  facts:add("plan", postcall.variables(session.vars))
  media_figures(call, stats)
  cxb.metrics.observe("cxb_call_duration_seconds", nil, session:seconds_in_call())
  conclude(c, facts, ending, t_ms, session.said)
end

-- (waits) From the handshake to the result.
local function run(c, leg, call, claims)
  local start = wait_start(leg)
  if not start then
    leg:close()
    return
  end
  call.origin = cxb.time.mono() - start.t_ms
  call.started_at = cxb.time.now() - start.t_ms
  call.rate, call.direction, call.caller_id = start.rate, start.direction, start.caller_id
  call.did, call.stream_id = start.did, start.stream_id
  call.connected_event, call.session_hint = connected_event(start, claims)
  local facts, why, path = accept(c, call, start)
  if not facts then
    cxb.log.error("the call cannot be accepted", { error = why })
    disk.refuses(true)
    leg:abort(1011)
    wait_closed(leg)
    leg:close()
    return
  end
  M.current.path = path
  local config, refusal, text = botconfig.load(c, call)
  if config and not (config.flow_source or flows.get(config.flow)) then
    refusal = { kind = "config_invalid:flow", close = 1011, session_id = config.session_id }
    config = nil
  end
  if not config then
    return refuse(c, leg, facts, call, refusal)
  end
  call.session_id = config.session_id
  call.recording_key = recording_key(config.session_id, call.started_at)
  M.current.session_id, M.current.hub = config.session_id, hub.new(facts)
  if c.api then
    live.begin(c, c.api, config.session_id, M.current.hub)
  end
  cxb.task.tag({ session_id = config.session_id })
  cxb.scoreboard.update({ session_id = config.session_id })
  facts:add("start", {
    session_id = config.session_id, webhook_url = blank_to_nil(config.webhook_url or ""),
    digest = cxb.crypto.hex(cxb.crypto.sha256(text)):sub(1, 16), framing_ms = start.framing_ms,
    pipeline_config = pipeline(c, call, config),
  })
  facts:add("plan", postcall.plan(config))
  local ok, code, message = facts.journal:sync()
  if not ok then
    cxb.log.error("the journal cannot be written", { code = code, error = message })
  end
  cxb.log.info("call started", { flow = config.flow, direction = call.direction })
  run_session(c, leg, facts, call, config, start)
end

---(waits) Carries the call of a leg, from its handshake to its result.
---@param claims? table of a ticket
function M.carry(c, leg, transport, bot_id, claims)
  local call = { call_id = cxb.crypto.uuid4(), bot_id = bot_id, transport = transport }
  cxb.task.tag({ call_id = call.call_id, bot_id = bot_id, transport = transport })
  local mine = { leg = leg, call_id = call.call_id }
  M.current = mine
  run(c, leg, call, claims)
  if M.current == mine then
    M.current = nil
  end
  cxb.slot.served()
end

---(waits) Serves an upgrade on a call's path: refuses it or carries the call.
---@param c table settings
---@param req cxb.request
---@param transport string
---@param bot_id string
---@param take_ticket fun(jti: string): boolean?
function M.serve(c, req, transport, bot_id, take_ticket)
  if not req.upgrade then
    return req:respond(426, { error = "upgrade_required" }, { upgrade = "websocket" })
  end
  if not bot_id:match("^[%w_-]+$") or #bot_id > 64 then
    return req:respond(404, { error = "not_found" })
  end
  local claims, status, code = auth.upgrade(c, req, transport, bot_id, take_ticket)
  if not claims then
    cxb.metrics.count("cxb_calls_refused_total", { reason = code })
    return req:respond(status, { error = code })
  end
  local carrier = carrier_rest.of(c, transport)
  local leg, why, message = cxb.media.accept(req, transport, {
    media_timeout_s = c.CXB_MEDIA_TIMEOUT_SECONDS, chunk_bytes = c.CXB_EXOTEL_CHUNK_BYTES,
    hangup_elsewhere = carrier ~= nil,
  })
  if not leg then
    cxb.log.error("the upgrade was not accepted", { code = why, error = message })
    return req:respond(500, { error = "internal" })
  end
  if carrier then
    leg = carrier_rest.wrap(c, leg, carrier)
  elseif transport == "browser" then
    leg = page_leg.wrap(leg)
  end
  M.carry(c, leg, transport, bot_id, claims)
end

return M
