-- The day of the kept prompts (live_prompt_cache): made at one hour of the zone, forgotten
-- at another. A run that was missed is caught up.
local bots = require("services.bots")
local live_prompt_cache = require("services.bots.live_prompt_cache")
local post_call_cache = require("services.bots.post_call_cache")
local times = require("cxb.times")
local tz = require("cxb.tz")

local M = {}

local MEMORY = "live_prompt_cache_runs"
local LATE_MS = 10 * 60 * 1000

-- The moment of a wall clock; in the hour a zone skips, the one it goes on with.
local function moment(zone, days, hour)
  local wall = (days * 86400 + hour * 3600) * 1000
  local guess = wall - tz.offset(zone, wall) * 1000
  return wall - tz.offset(zone, guess) * 1000
end

---The last time it was this hour in a zone.
---@return number ms
function M.last(zone, hour, now)
  local wall = tz.wall(zone, now)
  local today = times.days(wall.year, wall.month, wall.day)
  local at = moment(zone, today, hour)
  return at <= now and at or moment(zone, today - 1, hour)
end

local function prewarm(app, bot, reason)
  if live_prompt_cache.has_prompt(bot) and bot.prompt_parts.cache_enabled then
    live_prompt_cache.make(app, bot, "prewarm", reason)
  end
  if bot.post_call_cache_enabled and post_call_cache.has_prompt(bot) then
    local kept = post_call_cache.refresh(app, bot)
    if kept then
      app.store:update("bots", bot._id, { set = { post_call_cache = kept } })
    end
  end
end

local function cleanup(app, bot, reason)
  local mine, state = bot.live_prompt_cache, bot.live_prompt_cache_state
  if type(state) == "table" and state.prompt_cache_key
    and not (type(mine) == "table" and mine.enabled == true) then
    live_prompt_cache.drop(app, bot, "cleanup", reason)
  end
end

local runs = {
  prewarm = { hour = "LIVE_PROMPT_CACHE_PREWARM_HOUR", each = prewarm },
  cleanup = { hour = "LIVE_PROMPT_CACHE_CLEANUP_HOUR", each = cleanup },
}

-- (waits) What of the day is due, the earlier first.
local function due(app, memory, now)
  local zone, list = app.settings.LIVE_PROMPT_CACHE_TIMEZONE, {}
  for name, run in pairs(runs) do
    local at = M.last(zone, app.settings[run.hour], now)
    if at > (memory[name] or 0) then
      list[#list + 1] = { name = name, at = at, each = run.each }
    end
  end
  table.sort(list, function(a, b)
    return a.at < b.at
  end)
  return list
end

local function for_each_bot(app, fn)
  local after
  repeat
    local page, next_or_err = app.store:find("bots", { is_active = true },
      { sort = { "name" }, limit = 100, after = after })
    if not page then
      return nil, next_or_err
    end
    for _, doc in ipairs(page) do
      local bot = not doc.deleted_at and bots.complete(doc)
      if bot then
        fn(bot)
      end
    end
    after = next_or_err
  until not after
  return true
end

---(waits) One look at the clock.
---@return true?, table? err of the store
function M.run(app)
  local found, err = app.store:get("system_runtime", MEMORY)
  if not found and err.code ~= "not_found" then
    return nil, err
  end
  local memory, now = found and found.state or {}, cxb.time.now()
  for _, run in ipairs(due(app, memory, now)) do
    local reason = now - run.at > LATE_MS and "catchup_triggered" or nil
    local ok, why = for_each_bot(app, function(bot)
      run.each(app, bot, reason)
    end)
    if not ok then
      return nil, why
    end
    memory[run.name] = run.at
    ok, why = app.store:upsert("system_runtime", { _id = MEMORY },
      { set = { last_run_at = now, state = memory } })
    if not ok then
      return nil, why
    end
    cxb.log.info("prompt caches", { run = run.name, reason = reason })
  end
  return true
end

return M
