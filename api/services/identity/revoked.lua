-- Sessions that were ended before their time. The cache tells all processes. What one ended or was
-- told of it remembers itself, over reloads too, so that they stay ended there while Redis is
-- away or has come back empty. Then it tells Redis again.
local caches = require("services.system.caches")

local M = {}

local KEPT_MAX = 10000
local KEY = "jwt:denied"

local function key_of(jti)
  return "jwt:deny:" .. jti
end

-- (waits) Session → when its token ends, out of what the process keeps.
local function own(app)
  if not app.revoked then
    local found, kept = app.near_cache:call("HGETALL", KEY) or {}, {}
    for i = 1, #found, 2 do
      kept[found[i]] = tonumber(found[i + 1])
    end
    app.revoked = app.revoked or kept
  end
  return app.revoked
end

local function forget(app, jti)
  app.revoked[jti] = nil
  app.near_cache:call("HDEL", KEY, jti)
end

-- Room for one more: what is over goes, else what ends first.
local function make_room(app, now)
  local first, count = nil, 0
  for jti, ends in pairs(app.revoked) do
    if ends <= now then
      forget(app, jti)
    else
      count = count + 1
      first = first and app.revoked[first] <= ends and first or jti
    end
  end
  if count >= KEPT_MAX then
    forget(app, first)
  end
end

local function remember(app, jti, ends)
  if app.near_cache == app.cache or own(app)[jti] then
    return -- a cache in this process needs no copy
  end
  make_room(app, cxb.time.now())
  app.revoked[jti] = ends
  app.near_cache:call("HSET", KEY, jti, ("%.0f"):format(ends))
end

local function tell(app, jti, ends)
  local ok, err = app.cache:set(key_of(jti), "1", math.max(1, ends - cxb.time.now()))
  if not ok then
    caches.away(app, err)
  end
end

---(waits) Ends a session; for this process also when nobody else can be told.
---@param ends number ms, after which its token says nothing any more
function M.add(app, jti, ends)
  if ends > cxb.time.now() then
    remember(app, jti, ends)
    tell(app, jti, ends)
  end
end

---(waits) Whether a session was ended, as far as this process can know.
---@param ends number ms, after which its token says nothing any more
---@return boolean
function M.has(app, jti, ends)
  if app.near_cache ~= app.cache and own(app)[jti] then
    tell(app, jti, ends)
    return true
  end
  local denied, err = app.cache:get(key_of(jti))
  if denied == nil then
    caches.away(app, err)
  elseif denied then
    remember(app, jti, ends)
  end
  return denied and true or false
end

return M
