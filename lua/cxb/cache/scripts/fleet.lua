-- Capacity of hosts and reservations of their slots: every change is one run of this script, whole
-- or not at all, by Redis or by its twin in the process. KEYS[1] is the common beginning of its
-- keys, ARGV[1] the operation, ARGV[2] the time in milliseconds, what follows its arguments:
--   {root}hosts       zset: host → when it was heard of
--   {root}h:{host}    hash: source, boot, url, available, max, calls, draining, drain, seen,
--                     ends (it counts until then), info
--   {root}res:{host}  zset: reservation → when it ends
--   {root}r:{id}      host and key of a reservation
--   {root}key:{key}   the answer that a key was given
--   {root}last:{key}  the host of a key's last reservation that was given back
--   {root}took:{host} hash: reservation → when a polled host said yes to its start request
local root, op = KEYS[1], ARGV[1]
local call = redis.call
local now = tonumber(ARGV[2])
local args = {}
for i = 3, #ARGV do
  args[i - 2] = ARGV[i]
end

local function split(text)
  local host, key = text:match("^(%S+) (.*)$")
  return host, key
end

-- Reservations of a host that still count.
local function live(host)
  return call("ZCOUNT", root .. "res:" .. host, string.format("(%.0f", now), "+inf")
end

local function forget(id)
  local found = call("GET", root .. "r:" .. id)
  if not found then
    return
  end
  local host, key = split(found)
  call("ZREM", root .. "res:" .. host, id)
  call("HDEL", root .. "took:" .. host, id)
  call("DEL", root .. "r:" .. id)
  return host, key
end

local function drop(host)
  call("ZREM", root .. "hosts", host)
  call("DEL", root .. "h:" .. host, root .. "res:" .. host, root .. "took:" .. host)
end

-- Fields of a host that still counts; their first is nil or false when there is none.
local function host_fields(host, ...)
  local fields = call("HMGET", root .. "h:" .. host, "ends", ...)
  local ends = table.remove(fields, 1)
  if not ends or tonumber(ends) <= now then
    return {}
  end
  return fields
end

-- What a host said of itself; answers whether that is news.
local function keep(host, fields, ttl)
  local name = root .. "h:" .. host
  local old = call("HMGET", name, "available", "max", "calls", "draining", "drain")
  call("HSET", name, "source", fields.source, "boot", fields.boot, "url", fields.url,
    "available", fields.available, "max", fields.max, "calls", fields.calls,
    "draining", fields.draining, "drain", fields.drain, "seen", now, "ends", now + ttl,
    "info", fields.info)
  call("PEXPIRE", name, ttl)
  call("ZADD", root .. "hosts", now, host)
  local is = { fields.available, fields.max, fields.calls, fields.draining, fields.drain }
  for i = 1, #is do
    if old[i] ~= is[i] then
      return 1
    end
  end
  return 0
end

local run = {}

-- host, boot, url, available, max, calls, draining, drain ("": not known here), info, ttl, the host
-- as it was polled by the same url, consumed reservations…
function run.register()
  local host, drain = args[1], args[8]
  local was = host_fields(host, "boot", "drain")
  if was[1] and was[1] ~= args[2] then
    return { "taken" }
  elseif not was[1] and drain == "" then
    return { "unknown" }
  end
  for i = 12, #args do
    forget(args[i])
  end
  drop(args[11])
  local news = keep(host, { source = "registered", boot = args[2], url = args[3],
    available = args[4], max = args[5], calls = args[6], draining = args[7],
    drain = was[2] or drain, info = args[9] }, tonumber(args[10]))
  return { was[1] and "known" or "new", was[2] or drain, news }
end

-- host, url, available, max, calls, info, ttl, when the poll began
function run.poll()
  local host = args[1]
  local took = call("HGETALL", root .. "took:" .. host)
  for i = 1, #took, 2 do
    if tonumber(took[i + 1]) <= tonumber(args[8]) then
      forget(took[i])
    end
  end
  local drain = call("HGET", root .. "h:" .. host, "drain")
  return { "known", "0", keep(host, { source = "url", boot = "", url = args[2], available = args[3],
    max = args[4], calls = args[5], draining = "0", drain = drain or "0", info = args[6] },
    tonumber(args[7])) }
end

-- host
function run.leave()
  local known = call("EXISTS", root .. "h:" .. args[1])
  drop(args[1])
  return { known }
end

-- host, "1" or "0"
function run.drain()
  if call("EXISTS", root .. "h:" .. args[1]) == 1 then
    call("HSET", root .. "h:" .. args[1], "drain", args[2])
  end
  return { "ok" }
end

-- host: nothing more for it until it is heard of again
function run.void()
  if call("EXISTS", root .. "h:" .. args[1]) == 1 then
    call("HSET", root .. "h:" .. args[1], "available", "0")
  end
  return { "ok" }
end

-- Hosts that take calls: {host, url, free}.
local function open_hosts(excluded)
  local hosts = {}
  for _, host in ipairs(call("ZRANGE", root .. "hosts", 0, -1)) do
    local h = host_fields(host, "url", "available", "draining", "drain")
    if not h[1] then
      call("ZREM", root .. "hosts", host)
    elseif h[3] == "0" and h[4] == "0" and not excluded[host] then
      hosts[#hosts + 1] = { host = host, url = h[1], free = tonumber(h[2]) - live(host) }
    end
  end
  return hosts
end

-- The one with most free slots; among equals by chance. `last`: only when there is no other.
local function choose(hosts, chance, last)
  local best, equals = 0, {}
  for _, entry in ipairs(hosts) do
    if entry.free > best and entry.host ~= last then
      best, equals = entry.free, { entry }
    elseif entry.free == best and best > 0 and entry.host ~= last then
      equals[#equals + 1] = entry
    end
  end
  if equals[1] then
    return equals[chance % #equals + 1]
  end
  return last ~= "" and choose(hosts, chance, "") or nil
end

-- key or "", ttl, hosts not to be taken (" a b "), then for each slot its id and a random number
function run.reserve()
  local key, ttl = args[1], tonumber(args[2])
  local given = key ~= "" and call("GET", root .. "key:" .. key)
  if given then
    return { given }
  end
  local excluded = {}
  for host in args[3]:gmatch("%S+") do
    excluded[host] = true
  end
  local hosts = open_hosts(excluded)
  local last = key ~= "" and call("GET", root .. "last:" .. key) or ""
  local lines, till = {}, string.format("%.0f", now + ttl)
  for i = 4, #args, 2 do
    local entry = choose(hosts, tonumber(args[i + 1]), last)
    if not entry then
      break
    end
    entry.free = entry.free - 1
    local name = root .. "res:" .. entry.host
    call("ZADD", name, till, args[i])
    if call("PTTL", name) < ttl then
      call("PEXPIRE", name, ttl)
    end
    call("SET", root .. "r:" .. args[i], entry.host .. " " .. key, "PX", ttl)
    lines[#lines + 1] = args[i] .. " " .. entry.host .. " " .. entry.url .. " " .. till
  end
  local answer = table.concat(lines, "\n")
  if lines[1] and key ~= "" then
    call("SET", root .. "key:" .. key, answer, "PX", ttl)
  end
  return { answer }
end

-- id, ttl
function run.renew()
  local id, ttl = args[1], tonumber(args[2])
  local found = call("GET", root .. "r:" .. id)
  local host, key
  if found then
    host, key = split(found)
  end
  local ends = found and call("ZSCORE", root .. "res:" .. host, id)
  if not ends or tonumber(ends) <= now then
    return { "gone" }
  end
  local till = string.format("%.0f", now + ttl)
  call("ZADD", root .. "res:" .. host, till, id)
  if call("PTTL", root .. "res:" .. host) < ttl then
    call("PEXPIRE", root .. "res:" .. host, ttl)
  end
  call("PEXPIRE", root .. "r:" .. id, ttl)
  if key ~= "" then
    call("PEXPIRE", root .. "key:" .. key, ttl)
  end
  return { "ok", host, call("HGET", root .. "h:" .. host, "url") or "", till }
end

-- id: given back; its key may ask anew, and gets another host if there is one
function run.release()
  local host, key = forget(args[1])
  if host and key ~= "" then
    call("DEL", root .. "key:" .. key)
    call("SET", root .. "last:" .. key, host, "PX", 10000)
  end
  return { host and "ok" or "gone" }
end

-- id: its host said yes. A registered host tells by itself that it was used.
function run.took()
  local found = call("GET", root .. "r:" .. args[1])
  local host = found and split(found)
  if host and call("HGET", root .. "h:" .. host, "source") == "url" then
    call("HSET", root .. "took:" .. host, args[1], now)
    call("PEXPIRE", root .. "took:" .. host, 120000)
  end
  return { "ok" }
end

-- what a join token is known by: once
function run.redeem()
  return { call("DEL", root .. "join:" .. args[1]) == 1 and "ok" or "gone" }
end

-- All hosts: {host, source, url, available, max, calls, draining, drain, seen, info, boot, live}
function run.list()
  local hosts = {}
  for _, host in ipairs(call("ZRANGE", root .. "hosts", 0, -1)) do
    local h = host_fields(host, "source", "url", "available", "max", "calls", "draining", "drain",
      "seen", "info", "boot")
    if h[1] then
      call("ZREMRANGEBYSCORE", root .. "res:" .. host, "-inf", now)
      table.insert(h, 1, host)
      h[#h + 1] = live(host)
      hosts[#hosts + 1] = h
    end
  end
  return hosts
end

return run[op]()
