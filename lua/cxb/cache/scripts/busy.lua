-- A place among at most `max`, for a time. KEYS: a sorted set of who holds one, by its end.
-- ARGV: now, who, until, max (0: gives its place back). Returns 1 when `who` holds a place.
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", ARGV[1])
local max = tonumber(ARGV[4])
if max == 0 then
  redis.call("ZREM", KEYS[1], ARGV[2])
  return 0
end
local held = redis.call("ZSCORE", KEYS[1], ARGV[2])
if not held and redis.call("ZCARD", KEYS[1]) >= max then
  return 0
end
redis.call("ZADD", KEYS[1], ARGV[3], ARGV[2])
redis.call("PEXPIRE", KEYS[1], math.max(1, tonumber(ARGV[3]) - tonumber(ARGV[1])))
return 1
