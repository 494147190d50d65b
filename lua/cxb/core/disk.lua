-- Whether this worker may take calls as far as its disk goes: enough space, and nothing that the
-- disk has refused lately. While it may not, the slot answers storage_full.
local M = {}

local low, refused = nil, false

local function show()
  cxb.slot.block((low or refused) and "storage_full" or nil)
  cxb.scoreboard.update({ disk = not (low or refused) })
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
  show()
end

---The disk refused something (true), or took it again.
function M.refuses(is)
  if is ~= refused then
    refused = is
    show()
  end
end

---(waits) Tries again what was refused: without this a worker that takes no call would never know.
---@param c table settings
function M.probe(c)
  if refused and cxb.fs.write(("%s/probe-%d"):format(c.journal_dir, c.worker), ("x"):rep(4096)) then
    M.refuses(false)
  end
end

return M
