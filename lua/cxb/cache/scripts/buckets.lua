-- Token buckets, all or none: one token of each key, unless one of them is empty.
-- KEYS: buckets · ARGV: now, then capacity and milliseconds a token for each.
-- Returns {allowed, then for each: tokens left, ms until full, ms until a token}.
local now, full, allowed = tonumber(ARGV[1]), {}, 1
for i, key in ipairs(KEYS) do
  local capacity, every = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local held = redis.call("HMGET", key, "tokens", "at")
  local tokens, at = tonumber(held[1] or capacity), tonumber(held[2] or now)
  tokens = math.min(capacity, tokens + math.max(0, now - at) / every)
  full[i] = tokens
  if tokens < 1 then
    allowed = 0
  end
end
local out = { allowed }
for i, key in ipairs(KEYS) do
  local capacity, every = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local tokens = full[i] - allowed
  redis.call("HSET", key, "tokens", string.format("%.6f", tokens), "at", ARGV[1])
  redis.call("PEXPIRE", key, string.format("%.0f", math.ceil(2 * capacity * every)))
  out[#out + 1] = math.floor(tokens)
  out[#out + 1] = math.ceil((capacity - tokens) * every)
  out[#out + 1] = math.ceil(math.max(0, 1 - tokens) * every)
end
return out
