-- Results of calls (api.md §5.7): kept whatever arrives, however often, in whatever order. What
-- else follows from one (campaign, CRM, …) is written down with it as steps: fanout.lua.
local call_latency = require("services.calls.latency")
local call_terms = require("services.calls.terms")
local calls = require("services.calls")
local errors = require("services.web.errors")
local fanout = require("services.results.fanout")
local recording_store = require("services.recordings.store")
local redaction = require("services.calls.redaction")
local result_body = require("services.results.body")

local M = {}

local failed = { error = true, no_answer = true, rejected = true }

local function status_of(disconnected_by)
  if failed[disconnected_by] then
    return "failed"
  end
  return disconnected_by == "voicemail" and "voicemail" or "completed"
end

-- Where only a URL is told of a recording, its key is the last part of that.
local function derive_key(set, found)
  if not found.recording_key or found.recording_key == recording_store.key_of_url(
    found.recording_url) then
    set.recording_key = recording_store.key_of_url(set.recording_url)
  end
end

-- What follows from the merged call: `set` laid over `found`.
local function derive(set, found, token)
  local function value(name)
    if set[name] ~= nil then
      return set[name]
    end
    return found and found[name]
  end
  local analysis = value("post_call_analysis") or {}
  set.status = status_of(value("disconnected_by"))
  set.completed_at = value("ended_at") or value("completed_at") or cxb.time.now()
  if type(analysis.DISPOSITION) == "string" then
    set.disposition = analysis.DISPOSITION
  end
  if type(analysis.SUB_DISPOSITION) == "string" then
    set.sub_disposition = analysis.SUB_DISPOSITION
  end
  if found and (found.recording_access_token or found.recording_key or found.recording_url) then
    set.recording_access_token = nil -- others have the link already, or it was withdrawn
  elseif value("recording_key") or value("recording_url") then
    set.recording_access_token = set.recording_access_token or token
  end
  if set.recording_url and not set.recording_key then
    derive_key(set, found or {})
  end
  if not value("customer_number") and value("caller_id") then
    set.customer_number = value("caller_id")
  end
  set.number_rev = value("number_rev") or calls.reversed(value("customer_number"))
  set.direction = value("direction") or value("call_direction") or "incoming"
  set.call_type = value("call_type") or "bot"
  set.started_at = value("started_at") or value("created_at") or cxb.time.now()
  set.terms = set.transcript and call_terms.of(set.transcript)
  set.lat_bucket = call_latency.bucket(value("latency"))
end

-- Names of fields that an ordinary result has set: one made from a journal leaves them alone.
local function ordinary_fields(found, fields)
  local names, seen = {}, {}
  local function add(name)
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  for _, name in ipairs(found and found.result_fields or {}) do
    add(name)
  end
  for name in pairs(fields) do
    add(name)
  end
  table.sort(names)
  return names
end

-- The changes one result makes to a call; nil when this very body has been taken before.
local function changes(found, result, hash)
  local from_journal = result.fields.error == "worker_lost"
  local hash_name = from_journal and "journal_hash" or "result_hash"
  if found and found[hash_name] == hash then
    return nil
  end
  local set, unset = { [hash_name] = hash }, {}
  local protected = {}
  if from_journal then
    for _, name in ipairs(found and found.result_fields or {}) do
      protected[name] = true
    end
    -- An ordinary result without `error` says that there was none.
    protected.error = protected.error or (found and found.result_hash ~= nil)
  else
    set.result_fields = ordinary_fields(found, result.fields)
    if found and found.error == "worker_lost" and not result.fields.error then
      unset[1] = "error"
    end
  end
  for name, value in pairs(result.fields) do
    if not protected[name] then
      set[name] = value
    end
  end
  result.left_out = {}
  if result.extra then
    local old = found and found.extra or {}
    local told = from_journal and found and found.result_hash and old or {}
    set.extra = result_body.merged(old, result.extra, told, result.left_out)
  end
  if found and found.lost then
    unset[#unset + 1] = "lost"
  end
  derive(set, found, result.token)
  if found and found.redacted_at then
    redaction.strip(set)
  end
  return set, unset
end

-- (waits) A change with the steps that follow from it.
local function prepared(app, found, result, hash)
  local set, unset = changes(found, result, hash)
  if not set then
    return nil
  end
  local after = setmetatable({}, { __index = function(_, name)
    if set[name] ~= nil then
      return set[name]
    end
    return found and found[name]
  end })
  set.fanout = fanout.begin(app, after, found and found.fanout)
  return set, unset
end

---(waits) Keeps one result; it is durable when this returns, and what follows from it has begun.
---@param body string as received
---@param payload table decoded
---@return {session_id: string, duplicate: boolean, warnings: table[]}?, api.error?
function M.ingest(app, body, payload)
  local result, refused = result_body.judge(payload)
  if not result then
    return nil, refused
  end
  local hash = cxb.crypto.hex(cxb.crypto.sha256(body))
  result.token = cxb.crypto.base64url(cxb.crypto.random(24))
  local call, outcome = calls.change(app.store, result.session_id, function(found)
    return prepared(app, found, result, hash)
  end)
  if not call then
    return nil, errors.of_store(outcome)
  end
  for _, warning in ipairs(outcome ~= "unchanged" and result.left_out or {}) do
    table.insert(result.warnings, warning)
  end
  if outcome ~= "unchanged" then
    cxb.fault.pass("fanout.kept")
    fanout.start(app, call)
  end
  return {
    session_id = result.session_id, duplicate = outcome == "unchanged", outcome = outcome,
    warnings = result.warnings,
  }
end

return M
