-- Results of calls (api.md §5.7): kept whatever arrives, however often, in whatever order.
local calls = require("services.calls")
local errors = require("services.errors")
local json = require("cxb.json")
local result_schema = require("schemas.result")
local schema = require("cxb.schema")

local M = {}

local EXTRA_MAX = 64 * 1024

local failed = { error = true, no_answer = true, rejected = true }

-- `connected_event` of a result is the raw one: its "_" keys are ours and end here.
local function without_flags(event)
  local clean = {}
  for key, value in pairs(event) do
    if type(key) ~= "string" or key:sub(1, 1) ~= "_" then
      clean[key] = value
    end
  end
  return clean
end

-- Unknown and refused fields, as many as fit, smallest names first.
local function fit(extra, rejected, warnings)
  local room, names = EXTRA_MAX, {}
  local function take(map, kept, path)
    for name in pairs(map) do
      names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
      local size = #name + #json.encode(map[name]) + 4
      if size <= room then
        kept[name] = map[name]
        room = room - size
      else
        warnings[#warnings + 1] = { path = path .. name, rule = "too_large",
          message = "is not kept: more than 64 KiB of other fields" }
      end
      names[i] = nil
    end
  end
  local kept, kept_rejected = {}, {}
  take(rejected, kept_rejected, "")
  take(extra, kept, "")
  if next(kept_rejected) then
    kept.rejected = kept_rejected
  end
  return next(kept) and kept or nil
end

---Judges a decoded body field by field. Nulls are dropped: blank never erases.
---@return {session_id: string, fields: table, extra?: table, warnings: table[]}?, api.error?
function M.judge(payload)
  local id, wrong = schema.check_property(result_schema, "session_id", payload.session_id)
  if not id then
    return nil, errors.invalid({ wrong })
  end
  local fields, extra, rejected, warnings = {}, {}, {}, {}
  for name, value in pairs(payload) do
    local known = result_schema.properties[name]
    if known and value ~= json.null and name ~= "session_id" then
      local kept, bad = schema.check_property(result_schema, name, value)
      if bad then
        rejected[name] = value
        warnings[#warnings + 1] = bad
      else
        fields[name] = kept
      end
    elseif not known and value ~= json.null then
      local place = name == "rejected" and rejected or extra
      place[name] = value
    end
  end
  if fields.connected_event then
    fields.connected_event = without_flags(fields.connected_event)
  end
  extra = fit(extra, rejected, warnings)
  table.sort(warnings, function(a, b)
    return a.path < b.path
  end)
  return { session_id = id, fields = fields, extra = extra, warnings = warnings }
end

local function status_of(disconnected_by)
  if failed[disconnected_by] then
    return "failed"
  end
  return disconnected_by == "voicemail" and "voicemail" or "completed"
end

-- What follows from the merged call: `set` laid over `found`.
local function derive(set, found)
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
  if (value("recording_key") or value("recording_url")) and not value("recording_access_token") then
    set.recording_access_token = cxb.crypto.base64url(cxb.crypto.random(24))
  end
  if not value("customer_number") and value("caller_id") then
    set.customer_number = value("caller_id")
  end
  set.number_rev = value("number_rev") or calls.reversed(value("customer_number"))
  set.direction = value("direction") or value("call_direction") or "incoming"
  set.call_type = value("call_type") or "bot"
  set.started_at = value("started_at") or value("created_at") or cxb.time.now()
end

local function merged_map(old, new)
  local out = {}
  for _, map in ipairs({ old or {}, new }) do
    for key, item in pairs(map) do
      out[key] = item
    end
  end
  return out
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
  if result.extra then
    set.extra = merged_map(found and found.extra, result.extra)
  end
  derive(set, found)
  return set, unset
end

---(waits) Keeps one result; it is durable when this returns.
---@param body string as received
---@param payload table decoded
---@return {session_id: string, duplicate: boolean, warnings: table[]}?, api.error?
function M.ingest(app, body, payload)
  local result, refused = M.judge(payload)
  if not result then
    return nil, refused
  end
  local hash = cxb.crypto.hex(cxb.crypto.sha256(body))
  local call, outcome = calls.change(app.store, result.session_id, function(found)
    return changes(found, result, hash)
  end)
  if not call then
    return nil, errors.of_store(outcome)
  end
  return {
    session_id = result.session_id, duplicate = outcome == "unchanged", outcome = outcome,
    warnings = result.warnings,
  }
end

return M
