-- Outboxes whose worker is gone are served by one other worker of the host, in place: their rows
-- keep their ids, keys and attempts. A worker that comes back asks for its file.
local outboxes = require("cxb.core.outboxes")

local M = {}

-- What a file looked like when there was nothing to do in it.
local idle = {}

local function looks_like(path)
  local parts = {}
  for _, tail in ipairs({ "", "-wal" }) do
    local stat = cxb.fs.stat(path .. tail)
    parts[#parts + 1] = stat and ("%d:%d"):format(stat.size, stat.mtime) or "-"
  end
  return table.concat(parts, " ")
end

-- (waits) Rows that somebody has to look after; a file that cannot be read has to be salvaged.
local function has_work(path)
  local before = looks_like(path)
  if idle[path] == before then
    return false
  end
  local db = cxb.sqlite.open(path, { readonly = true })
  local rows = db and db:exec(
    "SELECT 1 FROM outbox WHERE state<>'done' OR file IS NOT NULL LIMIT 1")
  if db then
    db:close()
  end
  local work = not rows or #rows > 0
  idle[path] = not work and before or nil
  return work
end

local function living()
  local live = {}
  for _, row in ipairs(cxb.scoreboard.rows()) do
    live[row.id] = row.live
  end
  return live
end

---(waits) Takes over what is left by workers that are gone, and lets go of what is finished.
---@param c table settings
function M.sweep(c)
  local live = living()
  for _, n in ipairs(outboxes.all(c)) do
    if not live[n] and not outboxes.boxes[n] and has_work(outboxes.path(c, n)) then
      local box, _, message = outboxes.open(c, n, true)
      if box then
        local stats = box:stats()
        cxb.log.warn("the outbox of a lost worker is taken over", { of = tostring(n),
          rows = stats.analysis + stats.ready + stats.sending, dead = stats.dead })
      else
        cxb.log.debug("an outbox is left alone", { of = tostring(n), error = message })
      end
    end
  end
  for _, held in ipairs(outboxes.held()) do
    if held.worker ~= c.worker and not has_work(outboxes.path(c, held.worker)) then
      M.give_back(held.worker)
    end
  end
end

---Lets go of the file of worker n, now: attempts under way are made again by who opens it next.
---@return boolean held
function M.give_back(n)
  local box = outboxes.boxes[n]
  if not box then
    return false
  end
  outboxes.boxes[n] = nil
  box:hand_over()
  box:close()
  return true
end

---(waits) Opens this worker's own outbox; a neighbour that looks after it is asked for it.
---@param c table settings
---@param ask fun(worker: integer) asks a worker to give it back
---@return cxb.outbox.box?, string? message, string? code
function M.reclaim(c, ask)
  local deadline = cxb.time.mono() + 20000
  while true do
    local box, code, message = outboxes.open(c, c.worker)
    if box or code ~= "busy" or cxb.time.mono() > deadline then
      return box, message, code
    end
    for id, live in pairs(living()) do
      if live and id ~= c.worker then
        ask(id)
      end
    end
    cxb.time.sleep(50)
  end
end

return M
