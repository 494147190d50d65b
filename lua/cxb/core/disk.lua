-- Whether this worker may take calls as far as its disk goes: enough space, and nothing that the
-- disk has refused lately. While it may not, the slot answers storage_full. What blocks it outlives
-- the generation that found it, so the slot is asked, not this module's memory.
local M = {}

local low

local function block(key, is)
  cxb.slot.block(is and "storage_full" or nil, key)
  cxb.scoreboard.update({ disk = cxb.slot.state().blocked == nil })
end

---Free space is below the least that is asked for, or not any more.
---@param c table settings
---@param free? number MiB
function M.space(c, free)
  local now = free ~= nil and free < c.CXB_MIN_FREE_MB
  if now == low then
    return
  end
  if now or low ~= nil then
    cxb.log.warn(now and "too little free disk" or "free disk again", { free_mb = free })
  end
  low = now
  block("space", now)
end

---The disk refused something (true), or took it again.
function M.refuses(is)
  block("refused", is)
end

---(waits) Tries again what was refused: without this a worker that takes no call would never know.
---@param c table settings
function M.probe(c)
  local path = ("%s/probe-%d"):format(c.journal_dir, c.worker)
  if cxb.slot.state().blocked and cxb.fs.write(path, ("x"):rep(4096)) then
    cxb.fs.remove(path)
    M.refuses(false)
  end
end

return M
