-- What a call's result does to the contact it was for (rows 16 and 17 of the table of
-- transitions): once for each attempt, whatever arrives twice or late. The contact is taken by an
-- update that expects its state and session; the attempt is closed; then the contact goes where
-- cxb.campaign.retry says. A crash in between is done again when the lease is over.
local json = require("cxb.json")
local retry = require("cxb.campaign.retry")
local states = require("cxb.campaign.states")

local M = {}

local function owner()
  return "api:" .. cxb.process.pid
end

-- Takes the contact for the work on this result.
---@return table? contact, "done"|table|nil why
local function take(app, call)
  local contact, err = app.store:get("campaign_calls", call.campaign_call_id)
  if not contact then
    return nil, err.code == "not_found" and "done" or err
  end
  local now, state = cxb.time.now(), contact.status
  local lease = contact.lease or {}
  if contact.session_id ~= call._id or states.kind[state] ~= "active" then
    return nil, "done" -- another attempt's, or this one is over
  elseif state == "_processing" then
    if (lease["until"] or 0) > now then
      return nil, { code = "busy", message = "the contact is being worked on" }
    end
  elseif not states.allowed(state, "_processing", "A") then
    return nil, { code = "busy", message = "the contact is " .. state }
  end
  return app.store:update("campaign_calls", contact._id, { set = {
    status = "_processing",
    lease = { owner = owner(), token = (lease.token or 0) + 1,
      ["until"] = now + states.ttl_s._processing * 1000 },
  } }, { expect = { status = state, session_id = call._id, v = contact.v } })
end

-- 0 … 1, the same for the same attempt.
local function spread_of(session_id)
  local digest = cxb.crypto.sha256(session_id)
  return (digest:byte(1) * 256 + digest:byte(2)) / 65535
end

local function decide(app, contact, campaign, call)
  local now = cxb.time.now()
  return retry.decide({
    contact = contact, campaign = campaign, now = now,
    ended_at = math.min(call.ended_at or call.completed_at or now, now),
    disconnected_by = call.disconnected_by, disposition = call.disposition,
    analysis = call.post_call_analysis, spread = spread_of(call._id),
    max_reschedules = app.settings.MAX_CALLBACK_RESCHEDULES or 5,
  })
end

-- Closes the attempt's row; the Dialler has written it before it dialled, or died before that.
local function close_attempt(app, contact, call, decision)
  local dial = contact.dial or {}
  local ended = call.ended_at or call.completed_at or cxb.time.now()
  local before = contact.callback or {}
  return app.store:upsert("campaign_attempts", { session_id = call._id }, {
    set = {
      outcome = decision.outcome, disconnected_by = call.disconnected_by,
      disposition = call.disposition, sub_disposition = call.sub_disposition, ended_at = ended,
      talk_seconds = call.call_duration_seconds, host_id = call.host_id,
      counted = not decision.uncounted,
    },
    on_insert = {
      campaign_id = contact.campaign_id, campaign_call_id = contact._id,
      run_number = contact.run_number, attempt = contact.attempt_seq or contact.attempts_made,
      kind = dial.kind or (before.active and "callback" or "first"),
      callback_sequence = before.active and before.sequence or nil,
      from_number = dial.from_number, carrier_id = dial.carrier_id,
      dialled_at = dial.at or call.started_at or ended, ringing_at = contact.ringing_at,
      answered_at = contact.answered_at or call.answered_at,
    },
  })
end

-- The move of row 17.
local function move(app, contact, call, decision)
  states.check("_processing", decision.status, "A")
  local set = {
    status = decision.status, last_outcome = decision.outcome, next_retry_at =
      decision.next_retry_at, disposition = call.disposition, callback = decision.callback,
    cause = decision.cause,
  }
  local unset = { "lease" }
  if not decision.next_retry_at then
    unset[#unset + 1] = "next_retry_at"
  end
  if states.kind[decision.status] == "terminal" then
    set.completed_at = cxb.time.now()
  end
  if decision.uncounted then
    set.attempts_made = math.max(0, contact.attempts_made - 1)
  end
  return app.store:update("campaign_calls", contact._id, { set = set, unset = unset },
    { expect = { status = "_processing", session_id = call._id,
      ["lease.token"] = contact.lease.token } })
end

local function announce(app, contact)
  if app.events then
    app.events:publish("campaign:" .. contact.campaign_id, "contact", {
      id = contact._id, status = contact.status, run_number = contact.run_number,
      attempts_made = contact.attempts_made, last_outcome = contact.last_outcome,
      disposition = contact.disposition, next_retry_at = contact.next_retry_at or json.null,
    })
  end
end

local function finish(app, contact, call)
  local campaign, err = app.store:get("campaigns", contact.campaign_id)
  if not campaign then
    return nil, err
  end
  local decision = decide(app, contact, campaign, call)
  cxb.fault.pass("campaign_result.taken")
  local ok
  ok, err = close_attempt(app, contact, call, decision)
  if not ok then
    return nil, err
  end
  cxb.fault.pass("campaign_result.attempt")
  ok, err = move(app, contact, call, decision)
  if ok then
    announce(app, ok)
  end
  return ok and true, err
end

---Whether a call was for a campaign's contact.
---@return boolean
function M.applies(_, call)
  return (call.campaign_call_id or "") ~= ""
end

---(waits) The step `campaign` after a result.
---@param call table as stored
---@return true? done, table? err it is to be done again
function M.apply(app, call)
  local contact, why = take(app, call)
  if not contact then
    return why == "done" or nil, why
  end
  return finish(app, contact, call)
end

return M
