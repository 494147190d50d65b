-- Calls that nobody will finish (api.md §6): `in_progress` 30 minutes longer than they may last,
-- and with no worker any more. They become failed and `lost`; a late result still wins.
local M = {}

local GRACE_MS = 30 * 60 * 1000
local BATCH = 200
local LONGEST_S = 600 -- the default of max_call_duration_seconds

-- ms a call of this bot may last; `known` remembers bots for one run.
local function longest(app, known, bot_id)
  if bot_id and not known[bot_id] then
    local bot = app.store:get("bots", bot_id)
    known[bot_id] = bot and bot.max_call_duration_seconds
  end
  return (known[bot_id or ""] or LONGEST_S) * 1000
end

---(waits)
---@param live table<string, boolean> sessions that workers have now
---@return integer? given_up, table? err
function M.give_up(app, live)
  local store, now, known, given_up = app.store, cxb.time.now(), {}, 0
  local after
  repeat
    local calls, next_or_err = store:find("calls",
      { status = "in_progress", started_at = { lt = now - GRACE_MS } },
      { sort = { "started_at" }, limit = BATCH, after = after,
        fields = { "bot_id", "started_at" } })
    if not calls then
      return nil, next_or_err
    end
    for _, call in ipairs(calls) do
      local over = call.started_at + longest(app, known, call.bot_id) + GRACE_MS < now
      if over and not live[call._id] then
        local changed = store:update("calls", call._id, { set = {
          status = "failed", disconnected_by = "error", lost = true, completed_at = now,
        } }, { expect = { status = "in_progress", v = call.v }, fields = {} })
        given_up = given_up + (changed and 1 or 0)
      end
    end
    after = next_or_err
  until not after
  return given_up
end

return M
