-- What a fault sweep has to find: per accepted call one result in effect, nothing of it older than
-- it may be lost.

local ObjectStore = require("support.object_store")

local M = {}

-- What may be lost, and what a loaded machine may add before a timer runs.
local TRANSCRIPT_MS, RECORDING_MS, SLACK_MS = 250, 1000, 500

-- What the flow noted: when it was answered, and when each key was noted.
local function progress(path)
  local file = io.open(path)
  if not file then return nil end
  local out = { keys = {} }
  for line in file:lines() do
    local what, at = line:match("^(%a+) ([%d.]+)$")
    if what == "answered" then
      out.answered = tonumber(at)
    elseif what == "key" then
      out.keys[#out.keys + 1] = tonumber(at)
    end
  end
  file:close()
  return out
end

local function u32(text, at)
  local a, b, c, d = text:byte(at, at + 3)
  return a + b * 256 + c * 65536 + d * 16777216
end

---Milliseconds a WAV file of ours plays by its own header; nil, why when it is none.
function M.playable_ms(path)
  local file = io.open(path, "rb")
  if not file then return nil, "no file" end
  local head = file:read(44) or ""
  local size = file:seek("end")
  file:close()
  if #head < 44 or head:sub(1, 4) ~= "RIFF" or head:sub(9, 12) ~= "WAVE" then
    return nil, "no WAV header"
  end
  local bytes, per_second = u32(head, 41), u32(head, 29)
  if bytes + 44 > size then return nil, "the header promises more than there is" end
  return bytes / per_second * 1000
end

local function worst(report, name, ms)
  if ms > (report[name] or -math.huge) then report[name] = ms end
end

local function fail(report, call, text)
  report.failures[#report.failures + 1] = ("%s (%s): %s"):format(call.stream, call.plan, text)
end

-- Keys and sound from before the end that are not in the result.
local function check_loss(report, call, kept, noted, recordings)
  local last = noted.keys[#noted.keys] or noted.answered
  local ended = call.killed_at or last
  if ended and kept.by == "error" then
    local due = 0
    for _, at in ipairs(noted.keys) do
      if at <= ended - TRANSCRIPT_MS - SLACK_MS then due = due + 1 end
    end
    if kept.pressed < due then
      fail(report, call, ("%d keys of %d are in the transcript"):format(kept.pressed, due))
    end
    local first_lost = noted.keys[kept.pressed + 1]
    if first_lost then worst(report, "transcript_ms", ended - first_lost) end
  elseif kept.pressed < #noted.keys then
    fail(report, call, ("%d keys of %d, though it ended well"):format(kept.pressed, #noted.keys))
  end
  if not kept.recording_key or not ended then return end
  local path = recordings .. "/" .. kept.recording_key:gsub("^recordings/", "")
  local ms, why = M.playable_ms(path)
  if not ms then return fail(report, call, "recording: " .. why) end
  local behind = ended - noted.answered - ms
  worst(report, "recording_ms", behind)
  if behind > RECORDING_MS + SLACK_MS then
    fail(report, call, ("the recording ends %d ms early"):format(behind))
  end
  report.playable = report.playable + 1
end

local function check_upload(report, call, kept, store, recordings)
  if not store or not kept.recording_key then return end
  local object = store:object(kept.recording_key)
  local path = recordings .. "/" .. kept.recording_key:gsub("^recordings/", "")
  if not object or not ObjectStore.same(object, path) then
    return fail(report, call, "the recording is not in the store, whole")
  end
  if kept.recording_url ~= ("%s/%s/%s"):format(store.url, ObjectStore.BUCKET, kept.recording_key) then
    return fail(report, call, "recording_url is " .. tostring(kept.recording_url))
  end
  report.uploaded = report.uploaded + 1
end

---@param calls table<string, table> the sweep's own: {stream, plan, accepted?, killed_at?, left_dead?}
---@param seen table[] of the receiver
---@param o {progress: string, recordings: string, store?: table}
---@return table report
function M.check(calls, seen, o)
  local report = { accepted = 0, results = 0, lost = 0, doubled = 0, playable = 0, uploaded = 0,
    judged = 0, repeats = 0, failures = {} }
  local by_stream = {}
  for _, stream in ipairs(seen) do by_stream[stream.stream] = stream end
  for _, call in pairs(calls) do
    local stream = by_stream[call.stream] or { keys = {}, fetched = false }
    local noted = progress(o.progress .. "/" .. call.stream)
    local accepted = call.accepted or stream.fetched or noted ~= nil or #stream.keys > 0
    local kept = stream.keys[1]
    report.accepted = report.accepted + (accepted and 1 or 0)
    report.results = report.results + #stream.keys
    if accepted and not (kept and kept.stored > 0) then
      report.lost = report.lost + 1
      fail(report, call, "no result")
    elseif #stream.keys > 1 or (kept and kept.changed) then
      report.doubled = report.doubled + 1
      fail(report, call, kept.changed and "its result changed" or "two results")
    elseif kept then
      report.repeats = report.repeats + kept.stored - 1
      report.judged = report.judged + (kept.judged and 1 or 0)
      if noted and noted.answered then check_loss(report, call, kept, noted, o.recordings) end
      check_upload(report, call, kept, o.store, o.recordings)
      if call.left_dead then worst(report, "adoption_ms", math.max(0, kept.first - call.killed_at)) end
    end
  end
  if (report.adoption_ms or 0) > 10000 + SLACK_MS then
    report.failures[#report.failures + 1] = "an orphan was adopted after more than 10 s"
  end
  return report
end

return M
