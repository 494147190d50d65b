-- How many slots of the fleet can be reserved in a second, over Redis and over its in-process twin,
-- beside a PING of the same connection; and how long one reservation takes at half of that rate.
package.path = cxb.root .. "/spec/?.lua;" .. package.path

local Cache = require("cxb.cache")
local RedisServer = require("support.redis_server")
local World = require("support.world")

local N, AT_ONCE, HOSTS = 10000, 16, 16

local function open(url)
  local cache = assert(Cache.open({ url = url, prefix = "bench:" }))
  for h = 1, HOSTS do
    assert(cache:script("fleet", { "fleet:" }, { "register", cxb.time.now(), "h" .. h, "boot-" .. h,
      "http://h" .. h, 100000, 100000, 0, 0, "0", "{}", 600000, "url-" .. h }))
  end
  return cache
end

local made = 0
local function reserve(cache)
  made = made + 1
  local id = "rsv_" .. made
  local answer = assert(cache:script("fleet", { "fleet:" }, { "reserve", cxb.time.now(), "k" .. made,
    45000, "", id, math.random(0, 2 ^ 30) }))
  assert(answer[1] ~= "", "no slot")
  return id
end

-- What is reserved is given back, so that there are as many as are being used.
local function release(cache, id)
  assert(cache:script("fleet", { "fleet:" }, { "release", cxb.time.now(), id }))
end

-- Operations a second, AT_ONCE at a time.
local function rate(fn, after)
  local n, tasks, began = 0, {}, cxb.time.mono()
  for i = 1, AT_ONCE do
    tasks[i] = cxb.task.spawn("bench", function()
      while n < N do
        n = n + 1
        local made_here = fn()
        if after then after(made_here) end
      end
    end)
  end
  for i = 1, AT_ONCE do assert(tasks[i]:wait(120000) == nil) end
  return N / ((cxb.time.mono() - began) / 1000)
end

-- The 99th percentile of what one takes at so many a second, ms.
local function delay(per_second, fn, after)
  local took, tasks, every = {}, {}, 1000 / per_second
  local began = cxb.time.mono()
  for i = 1, N / 4 do
    local ahead = began + i * every - cxb.time.mono()
    if ahead > 1 then cxb.time.sleep(ahead) end
    tasks[i] = cxb.task.spawn("bench", function()
      local from = cxb.time.mono()
      local made_here = fn()
      took[#took + 1] = cxb.time.mono() - from
      after(made_here)
    end)
  end
  for _, task in ipairs(tasks) do task:wait(60000) end
  table.sort(took)
  return took[math.floor(#took * 0.99)]
end

local world = World.new()
local ok, why = xpcall(function()
  local server = RedisServer.start(world)
  for _, url in ipairs({ server.url, false }) do
    local cache = open(url or nil)
    local pings = rate(function() assert(cache:ping()) end)
    local function one() return reserve(cache) end
    local function back(id) release(cache, id) end
    local each = rate(one, back)
    local p99 = delay(each / 2, one, back)
    print(("= %s: %.0f reservations/s over %d hosts, each given back (aim 5000), %.2f of its PINGs; "
      .. "p99 %.1f ms at half that rate (aim 5)"):format(cache.kind, each, HOSTS, each / pings, p99))
    cache:close()
  end
end, debug.traceback)
world:close()
assert(ok, why)
