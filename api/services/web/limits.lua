-- How often somebody may ask (api.md §4): token buckets in the cache. A route names its class with
-- `limit`; people and API keys have one for everything besides.
local caches = require("services.system.caches")
local errors = require("services.web.errors")

local M = {}

local MINUTE = 60000

local function principal_id(ctx)
  local who = ctx.principal
  return (who.kind == "user" or who.kind == "key") and who.id or nil
end

local function address(ctx)
  return ctx.client
end

local function bot_of_body(ctx)
  return type(ctx.body) == "table" and ctx.body.bot_id or nil
end

local function token_of_path(ctx)
  return ctx.params and ctx.params.token
end

-- Each: burst (what may come at once), tokens `per` a period, whom it counts. `late`: counted once
-- the body is read.
local buckets = {
  sign_in = { burst = 10, tokens = 10, per = MINUTE, of = address },
  user = { burst = 200, tokens = 1200, per = MINUTE, of = principal_id },
  key = { burst = 600, tokens = 600, per = MINUTE, of = principal_id },
  dialout = { burst = 20, tokens = 10, per = 1000, of = principal_id },
  widget = { burst = 10, tokens = 10, per = MINUTE, of = address },
  widget_bot = { burst = 120, tokens = 120, per = MINUTE, of = bot_of_body, late = true },
  recording = { burst = 60, tokens = 60, per = MINUTE, of = address },
  recording_token = { burst = 300, tokens = 300, per = MINUTE, of = token_of_path },
  test = { burst = 10, tokens = 10, per = MINUTE, of = principal_id },
  file = { burst = 12, tokens = 12, per = MINUTE, of = principal_id },
}

-- The class a route names: its buckets, and how many requests of one at once.
local classes = {
  sign_in = { "sign_in" }, dialout = { "dialout" }, widget = { "widget", "widget_bot" },
  public_recording = { "recording", "recording_token" }, test = { "test" },
  upload = { "file", at_once = 2, hold_ms = 600000 },
}
classes.export = classes.upload
local of_kind = { user = "user", key = "key" }

---@param class? string
---@return boolean
function M.known(class)
  return class == nil or classes[class] ~= nil
end

local function seconds(ms)
  return math.max(1, math.ceil(ms / 1000))
end

local function refusal(ctx, class, retry_ms)
  cxb.metrics.count("cxb_rate_limited_total", { class = class })
  ctx.headers["retry-after"] = tostring(seconds(retry_ms))
  return nil, errors.new(429, "rate_limited",
    ("Too many requests; again in %d s."):format(seconds(retry_ms)))
end

-- What counts for this request at this point: {name, id} of each bucket.
local function due(ctx, late)
  local out, names = {}, {}
  if not late then
    names[1] = of_kind[ctx.principal.kind]
  end
  for _, name in ipairs(classes[ctx.route.limit] or {}) do
    names[#names + 1] = name
  end
  for _, name in ipairs(names) do
    local bucket = buckets[name]
    if (bucket.late or false) == late then
      local id = bucket.of(ctx)
      if id then
        out[#out + 1] = { name = name, id = id, bucket = bucket }
      end
    end
  end
  return out
end

-- The headers tell of the bucket that is nearest to its end.
local function tell(ctx, list, scale, answer)
  local least
  for i, item in ipairs(list) do
    local left = answer[3 * i - 1]
    local capacity = math.max(1, math.floor(item.bucket.burst * scale))
    if not least or left / capacity < least.share then
      least = { share = left / capacity, left = left, capacity = capacity, at = answer[3 * i] }
    end
  end
  ctx.headers["ratelimit-limit"] = tostring(least.capacity)
  ctx.headers["ratelimit-remaining"] = tostring(math.max(0, least.left))
  ctx.headers["ratelimit-reset"] = tostring(math.ceil(least.at / 1000))
end

-- A bucket's capacity and milliseconds a token, as the script takes them.
local function sizes(bucket, scale)
  if bucket.scale ~= scale then
    bucket.scale = scale
    bucket.capacity = ("%d"):format(math.max(1, math.floor(bucket.burst * scale)))
    bucket.every = ("%.6f"):format(bucket.per / bucket.tokens / scale)
  end
  return bucket.capacity, bucket.every
end

local function take(ctx, list)
  local app = ctx.app
  local scale = app.settings.CXB_RATE_SCALE
  local keys, args = {}, { cxb.time.now() }
  for i, item in ipairs(list) do
    keys[i] = ("rl:%s:%s"):format(item.name, item.id)
    args[2 * i], args[2 * i + 1] = sizes(item.bucket, scale)
  end
  local answer, err = caches.script(app, "buckets", keys, args)
  if not answer then
    error("limits: " .. err.message)
  end
  tell(ctx, list, scale, answer)
  if answer[1] == 1 then
    return true
  end
  local class, retry = nil, 0
  for i, item in ipairs(list) do
    if answer[3 * i + 1] > retry then
      class, retry = item.name, answer[3 * i + 1]
    end
  end
  return refusal(ctx, class, retry)
end

-- A place among the requests of one at the same time, given back by M.release().
local function hold(ctx)
  local class = classes[ctx.route.limit]
  local id = class and class.at_once and principal_id(ctx)
  if not id then
    return true
  end
  local key, now = ("busy:%s:%s"):format(class[1], id), cxb.time.now()
  local mine = cxb.crypto.hex(cxb.crypto.random(8))
  local got = caches.script(ctx.app, "busy", { key }, { now, mine, now + class.hold_ms,
    class.at_once })
  if got ~= 1 then
    return refusal(ctx, ctx.route.limit, 1000)
  end
  ctx.held = { key, mine }
  return true
end

local function count(ctx, late)
  if ctx.app.settings.CXB_RATE_SCALE == 0 then
    return true
  end
  local list = due(ctx, late)
  if list[1] then
    local ok, err = take(ctx, list)
    if not ok then
      return nil, err
    end
  end
  if late then
    return true
  end
  return hold(ctx)
end

---(waits) Counts a request by who sent it; nil and 429 when that was too often.
function M.early(_, ctx)
  return count(ctx, false)
end

---(waits) The same by what its body says.
function M.late(route, ctx)
  if not route.limit then
    return true
  end
  return count(ctx, true)
end

---(waits) The request is over.
function M.release(ctx)
  if ctx.held then
    local key, mine = ctx.held[1], ctx.held[2]
    ctx.held = nil
    caches.script(ctx.app, "busy", { key }, { cxb.time.now(), mine, 0, 0 })
  end
end

return M
