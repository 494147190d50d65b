-- The cache of one generation (api.md §2.3): Redis, or this process alone. While Redis is away what
-- must go on (rate limits) goes on in this process, each with its own count.
local Cache = require("cxb.cache")

local M = {}

local RETRY_MS, SAY_AGAIN_MS = 30000, 60000

---Whether the settings go together.
---@return true?, string? why
function M.check(settings)
  if settings.CXB_API_INSTANCES > 1 and not settings.REDIS_URL then
    return nil, ("CXB_API_INSTANCES: %d is not valid, expected 1, as several processes need"
      .. " REDIS_URL"):format(settings.CXB_API_INSTANCES)
  end
  return true
end

---(waits) Opens app.cache; a Redis that is still starting has half a minute.
---@return true?, string? why
function M.open(app)
  local settings = app.settings
  local url, prefix = settings.REDIS_URL, settings.CXB_REDIS_PREFIX
  local cache, err = Cache.open({ url = url, prefix = prefix })
  if not cache then
    return nil, "REDIS_URL: the value is not valid: " .. err.message
  end
  local deadline = cxb.time.mono() + RETRY_MS
  local ok
  repeat
    ok, err = cache:ping()
    if not ok then
      cxb.time.sleep(100)
    end
  until ok or cxb.time.mono() > deadline
  if not ok then
    cache:close()
    return nil, "REDIS_URL: Redis cannot be reached: " .. err.message
  end
  M.use(app, cache, url and Cache.open({ prefix = prefix }) or cache)
  return true
end

---@param near table a cache of this process
function M.use(app, cache, near)
  app.cache, app.near_cache = cache, near
  app.events = {
    ---Tells who is listening; while that cannot be, nobody.
    publish = function(_, topic, name, data)
      local id, err = cache:publish(topic, name, data)
      if not id then
        M.away(app, err)
      end
      return id, err
    end,
  }
end

---Notes that the cache is away, in the log once a minute.
function M.away(app, err)
  local now = cxb.time.mono()
  if not app.cache_away_at or now - app.cache_away_at >= SAY_AGAIN_MS then
    app.cache_away_at = now
    cxb.log.warn("the cache is away; limits are counted in this process", { error = err.message })
  end
end

---(waits) A script of the cache; in this process while the cache is away.
function M.script(app, name, keys, args)
  local value, err = app.cache:script(name, keys, args)
  if value == nil then
    M.away(app, err)
    value, err = app.near_cache:script(name, keys, args)
  end
  return value, err
end

return M
