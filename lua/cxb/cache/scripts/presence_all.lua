-- Everybody who was seen since a time. KEYS: index by last sign of life · ARGV: since, prefix of
-- the records. Returns for each: id, then its fields and values as one list.
local out = {}
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", ARGV[1])
for _, id in ipairs(redis.call("ZRANGE", KEYS[1], 0, -1)) do
  out[#out + 1] = id
  out[#out + 1] = redis.call("HGETALL", ARGV[2] .. id)
end
return out
