-- Results of calls whose task or worker is gone, made from their journals.
local delivery = require("cxb.core.delivery")
local desk = require("cxb.core.desk")
local outboxes = require("cxb.core.outboxes")
local postcall = require("cxb.core.postcall")
local record = require("cxb.record")

local M = {}

-- A call has a session from its configuration, from its ticket, or by its own id.
local function complete(facts)
  local f = facts.fields
  f.session_id = f.session_id or f.session_hint or ("core-" .. tostring(f.call_id))
end

-- (waits) Kinds of the rows an outbox has of a session; nil, why when the file cannot be read.
local function kinds_in(path, key)
  local db, code, message = cxb.sqlite.open(path, { readonly = true })
  local rows
  if db then
    rows, code, message = db:exec(
      "SELECT kind FROM outbox WHERE kind IN ('result','upload') AND session_id=?", key)
    db:close()
  end
  return rows, message or code
end

-- (waits) What was committed of a call before: by its own worker, or by one that recovered the
-- journal and died before it removed it. {result=, upload=}. A file that cannot be read says
-- nothing: rather the same key twice than no result.
local function committed(c, f)
  local kinds, key = {}, delivery.key(f)
  for _, worker in ipairs(outboxes.all(c)) do
    local rows, why = kinds_in(outboxes.path(c, worker), key)
    if not rows then
      cxb.log.warn("an outbox cannot be looked into", { of = tostring(worker), error = why })
    end
    for _, row in ipairs(rows or {}) do
      kinds[row.kind] = true
    end
  end
  return kinds
end

-- (waits) A call went on for as long as its recording goes, which is on disk sooner than the next
-- fact of a bot that speaks.
local function recorded_ms(c, f, times)
  local path = f.recording_key and c.recordings_dir .. "/"
    .. f.recording_key:gsub("^recordings/", "")
  local stat = path and cxb.fs.stat(path)
  local rate = f.pipeline_config and f.pipeline_config.rate
  if stat and rate and times.answered then
    return times.answered + math.floor(math.max(0, stat.size - 44) / 4 / rate * 1000)
  end
end

---(waits) Commits the result of a journal and removes it. A journal without a call, or whose result
---is committed, is removed only.
---@param c table settings
---@param path string
---@param reason {disconnected_by: string, error: string}
---@return string? how, string? why, boolean? damaged nothing in it can be read
function M.recover(c, path, reason)
  local records, code, message = cxb.journal.read(path)
  if not records then
    return nil, message or code, code == "corrupt"
  end
  local facts = record.replay(records, {
    disconnected_by = reason.disconnected_by, error = reason.error,
    alive_ms = function(r)
      return recorded_ms(c, r.fields, r.times)
    end,
  })
  local how = "empty"
  if facts.times.started then
    complete(facts)
    local has = committed(c, facts.fields)
    if not has.result then
      how = delivery.commit(c, facts, postcall.prepare(facts))
    else
      how = "duplicate"
      if not has.upload then
        delivery.upload(c, facts)
      end
    end
    if facts.handoff and facts.lost then
      desk.lost(facts.handoff, facts.fields.session_id)
    end
    cxb.metrics.count("cxb_journal_recovered_total")
    cxb.log.warn("a result was made from a journal", {
      call_id = facts.fields.call_id, session_id = facts.fields.session_id,
      error = facts.fields.error, how = how,
    })
  end
  cxb.fs.remove(path)
  return how
end

---(waits) Journals that nobody holds: their worker is gone. One worker of the host does this.
---@param c table settings
function M.sweep(c)
  local paths = cxb.journal.orphans(c.journal_dir)
  for _, path in ipairs(paths or {}) do
    local how, why, damaged = M.recover(c, path, { disconnected_by = "error",
      error = "worker_lost" })
    if not how then
      cxb.log.error("a journal cannot be made a result", { path = path, error = why })
    end
    if damaged then
      cxb.fs.rename(path, path .. ".corrupt")
    end
  end
end

return M
