-- Results of calls whose task or worker is gone, made from their journals.
local delivery = require("cxb.core.delivery")
local desk = require("cxb.core.desk")
local record = require("cxb.record")

local M = {}

-- A call has a session from its configuration, from its ticket, or by its own id.
local function complete(facts)
  local f = facts.fields
  f.session_id = f.session_id or f.session_hint or ("core-" .. tostring(f.call_id))
end

-- (waits) The lost worker may have committed the result and died before it removed the journal.
local function committed(c, f)
  if delivery.boxes[f.worker] == nil and not cxb.fs.stat(delivery.path(c, f.worker)) then
    return false
  end
  local db, code, message = cxb.sqlite.open(delivery.path(c, f.worker), { readonly = true })
  local rows
  if db then
    rows, code, message = db:exec("SELECT 1 FROM outbox WHERE kind='result' AND session_id=?",
      delivery.key(f))
    db:close()
  end
  if not rows then
    return nil, message or code
  end
  return #rows > 0
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
  local facts = record.replay(records, reason)
  local how = "empty"
  if facts.times.started then
    complete(facts)
    local is, why = committed(c, facts.fields)
    if is == nil then
      return nil, why
    end
    how = is and "duplicate" or delivery.commit(c, facts)
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
