-- The start of the first generation (api.md §1): all is made ready, then the process listens. A
-- store of an older version may take minutes to be brought up to date: then the process listens
-- meanwhile and answers 503, so that who asks is told, not left waiting.
local config = require("cxb.config")

local M = {}

local SLOW_MS, SAY_MS, RETRY_MS, LOOK_MS = 2000, 10000, 5000, 20

-- (waits) Boots; once the process listens it does not give up any more.
local function boot(app, state)
  while true do
    local fine, ok, why = xpcall(app.boot, debug.traceback, app)
    if fine and ok then
      state.ready = true
      return
    elseif not state.listening then
      state.refused = fine and why or ok
      return
    elseif not cxb.time.sleep(RETRY_MS) then
      return -- the process ends
    end
    cxb.log.error("the store could not be opened, trying again", { error = fine and why or ok })
  end
end

local function say(app, state)
  repeat
    local upgrade = app:upgrade()
    cxb.log.warn("the store is being brought up to date; requests are answered 503 meanwhile",
      upgrade and { collection = upgrade.collection, seconds = math.floor(upgrade.ms / 1000) })
  until not cxb.time.sleep(SAY_MS) or state.ready
end

---(waits) Until all is ready, or the store turns out to need longer.
---@param app table services.system.app
function M.run(app)
  local state = {}
  cxb.task.spawn("boot", boot, app, state)
  repeat
    cxb.time.sleep(LOOK_MS)
    local upgrade = app:upgrade()
    state.listening = upgrade and upgrade.ms > SLOW_MS or false
  until state.ready or state.refused or state.listening
  if state.refused then
    config.refuse(state.refused)
  elseif state.listening then
    cxb.task.spawn("upgrade", say, app, state)
  end
end

---(waits) Until all is ready.
---@return boolean ready false: the process ends
function M.wait(app)
  while not app.ready do
    if not cxb.time.sleep(LOOK_MS) then
      return false
    end
  end
  return true
end

return M
