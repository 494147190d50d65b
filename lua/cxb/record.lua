-- What is known of a call. Every fact enters through add(): it is written to the journal and
-- applied to the record by the same code that later reads a journal back, so a result made from
-- the journal of a lost worker equals the one the worker would have made up to that moment.
local heard = require("cxb.call.heard")

local M = {}
M.__index = M

---@param journal? table cxb.journal.file
function M.new(journal)
  return setmetatable({
    journal = journal, transcript = {}, events = {}, intents = {}, samples = {}, usage = {},
    transfer = {}, fields = {}, times = {},
  }, M)
end

local apply = {}

-- {call_id, bot_id, transport, stream_id, caller_id, from_number, direction, connected_event (JSON
-- text), config_url, session_hint, started_at (ms UTC), results_url}
function apply.accepted(r, d)
  r.fields = d
  r.times.started = d.started_at
end

-- {session_id, webhook_url, digest, pipeline_config, recording_key}
function apply.start(r, d)
  for key, value in pairs(d) do
    r.fields[key] = value
  end
end

-- What happens after the call (cxb.core.postcall); later values count.
function apply.plan(r, d)
  r.plan = r.plan or {}
  for key, value in pairs(d) do
    r.plan[key] = value
  end
end

function apply.answer(r, d)
  r.times.answered = d.t_ms
end

-- {n, text, t_ms} the nth sentence of the bot's turn begins to sound, or is no more than this; {}
-- nothing of what began was heard. The turn, once it is over, says it all.
function apply.saying(r, d)
  if not d.n then
    r.saying = nil
    return
  end
  r.saying = r.saying or {}
  local at = #r.saying + 1
  for i, sentence in ipairs(r.saying) do
    at = sentence.n == d.n and i or at
  end
  r.saying[at] = d
end

function apply.turn(r, d)
  r.transcript[#r.transcript + 1] = d
  if d.role == "bot" then
    r.saying = nil
  end
end

function apply.event(r, d)
  r.events[#r.events + 1] = d
end

function apply.intent(r, d)
  r.intents[#r.intents + 1] = d
end

function apply.latency(r, d)
  r.samples[#r.samples + 1] = d
end

-- Totals so far: the last record counts.
function apply.usage(r, d)
  r.usage = d
end

function apply.transfer(r, d)
  for key, value in pairs(d) do
    r.transfer[key] = value
  end
end

-- {base, call_id}: the Agent Desk knows of the call
function apply.handoff(r, d)
  r.handoff = d
end

function apply.recording(r, d)
  r.fields.recording_key = d.key
  r.fields.recording_url = d.url
  r.fields.recording_bytes = d.bytes
end

-- {disconnected_by, error, t_ms}
function apply.finish(r, d)
  r.fields.disconnected_by, r.fields.error = d.disconnected_by, d.error
  r.times.ended = d.t_ms
  r.ended = true
end
apply["end"] = apply.finish

---`listener` (a field, may be nil) hears of each fact after it is applied; it must not wait. What
---JSON cannot hold (a function, no number) is no fact: no result could be made of it.
---@param kind string
---@param data table of JSON values; it must not be changed afterwards
function M:add(kind, data)
  if self.journal then
    local ok, code, message = self.journal:append(kind, data)
    if not ok and code == "invalid" then
      return cxb.log.error("a fact cannot be kept", { kind = kind, error = message })
    end
  end
  apply[kind](self, data)
  if self.listener then
    self.listener(kind, data)
  end
end

---Next number of a transcript entry, from 0.
function M:next_turn()
  return #self.transcript
end

---The caller said or keyed something.
function M:heard_customer()
  for _, entry in ipairs(self.transcript) do
    if entry.role == "customer" or entry.role == "dtmf" then
      return true
    end
  end
  return false
end

local kept = { "transcript", "events", "intents", "samples", "usage", "transfer", "fields", "times",
  "plan", "handoff", "analysis", "qc", "ended", "lost" }

---All that is known, as JSON values; restore() makes the record again, without a journal.
---@return table
function M:snapshot()
  local out = {}
  for _, name in ipairs(kept) do
    out[name] = self[name]
  end
  return out
end

---@param snapshot table
function M.restore(snapshot)
  local r = M.new()
  for _, name in ipairs(kept) do
    r[name] = snapshot[name] or r[name]
  end
  return r
end

-- The bot was speaking when its worker died: its sentences so far, the last one by its time.
local function cut_turn(r, alive_ms)
  local said, full = {}, {}
  for i, sentence in ipairs(r.saying) do
    if sentence.text ~= "" then
      full[#full + 1] = sentence.text
      said[#said + 1] = r.saying[i + 1] and sentence.text
        or heard.of({ text = sentence.text, heard = math.max(0, alive_ms - sentence.t_ms) })
    end
  end
  local text, whole = table.concat(said, " "):match("^(.-)%s*$"), table.concat(full, " ")
  local start_ms = r.saying[1].t_ms
  if text ~= "" then
    apply.turn(r, {
      turn = r:next_turn(), role = "bot", text = text, full_text = text ~= whole and whole or nil,
      start_ms = start_ms, end_ms = math.max(start_ms, alive_ms),
      heard_ms = math.max(0, alive_ms - start_ms), interrupted = text ~= whole or nil,
    })
  end
end

---A record from the records of a journal. Without an `end` record the call ends at its last record,
---as `lost` says.
---@param records {kind: string, at: number, data: table}[]
---@param lost {disconnected_by: string, error: string, alive_ms?: fun(record: table): integer?}
---alive_ms: how far the call went for certain, on the media clock, when that is known better
function M.replay(records, lost)
  local r = M.new()
  local last
  for _, entry in ipairs(records) do
    if apply[entry.kind] then
      apply[entry.kind](r, entry.data)
    end
    last = entry.at or last
  end
  if not r.ended and r.times.started then
    local t_ms = math.max(0, (last or r.times.started) - r.times.started)
    if r.saying then
      cut_turn(r, math.max(t_ms, lost.alive_ms and lost.alive_ms(r) or 0))
    end
    apply.finish(r, { disconnected_by = lost.disconnected_by, error = lost.error, t_ms = t_ms })
    r.lost = true
  end
  return r
end

return M
