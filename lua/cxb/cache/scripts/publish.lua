-- KEYS: sequence, buffer of the topic, its last id · ARGV: now, channel, name, data, how many are
-- kept, for how long, how long the last id is known. An entry: "id id_before name data".
local last = tonumber(redis.call("HGET", KEYS[1], "last") or "0")
local now = tonumber(ARGV[1])
local id = string.format("%.0f", math.max(last + 1, now))
if last == 0 then
  redis.call("HSET", KEYS[1], "base", ARGV[1])
end
redis.call("HSET", KEYS[1], "last", id)
local before = redis.call("GET", KEYS[3]) or "-"
redis.call("SET", KEYS[3], id, "PX", ARGV[7])
local entry = id .. " " .. before .. " " .. ARGV[3] .. " " .. ARGV[4]
redis.call("RPUSH", KEYS[2], entry)
redis.call("LTRIM", KEYS[2], -tonumber(ARGV[5]), -1)
redis.call("PEXPIRE", KEYS[2], ARGV[6])
redis.call("PUBLISH", ARGV[2], entry)
return id
