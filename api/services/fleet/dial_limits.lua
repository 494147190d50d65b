-- How many calls may be begun in a day, by an API key and by the whole organisation. Counted in the
-- store, one document a day; the count goes up before the call is begun and down when it was not.
local errors = require("services.web.errors")
local system_settings = require("services.system.settings")
local tz = require("cxb.tz")

local M = {}

local KEPT_MS = 3 * 86400 * 1000

local function day(zone, now)
  local wall = tz.wall(zone, now)
  return ("%04d-%02d-%02d"):format(wall.year, wall.month, wall.day)
end

-- (waits) One more call; false when there were as many as may be.
local function count(app, id, limit, now)
  local doc, err = app.store:upsert("dial_counts", { _id = id },
    { on_insert = { n = 0, expires_at = now + KEPT_MS } })
  if doc and limit then
    doc, err = app.store:update("dial_counts", id, { inc = { n = 1 } },
      { expect = { n = { lt = limit } } })
  elseif doc then
    doc, err = app.store:update("dial_counts", id, { inc = { n = 1 } })
  end
  if not doc and err.code == "conflict" then
    return false
  end
  return doc ~= nil or nil, err
end

---(waits) Counts one more call of today.
---@param key? {id: string, daily_call_limit?: integer} the API key that asks for it
---@return fun()? undo (waits) the call was not begun
---@return api.error? err 429 rate_limited
function M.take(app, key)
  local settings, failed = system_settings.get(app)
  if not settings then
    return nil, errors.of_store(failed)
  end
  local now = cxb.time.now()
  local today, counted = day(settings.display_timezone, now), {}
  local function undo()
    for _, id in ipairs(counted) do
      app.store:update("dial_counts", id, { inc = { n = -1 } })
    end
  end
  local limits = { { "org", settings.limits.max_outbound_calls_per_day } }
  if key and key.daily_call_limit then
    limits[2] = { key.id, key.daily_call_limit }
  end
  for _, entry in ipairs(limits) do
    local id = entry[1] .. ":" .. today
    local ok, err = count(app, id, entry[2], now)
    if not ok then
      undo()
      return nil, ok == nil and errors.of_store(err) or errors.new(429, "rate_limited",
        entry[1] == "org" and "No more calls may be made today."
          or "The API key may make no more calls today.",
        { headers = { ["retry-after"] = "3600" } })
    end
    counted[#counted + 1] = id
  end
  return undo
end

return M
