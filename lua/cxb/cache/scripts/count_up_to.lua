-- Counts to a maximum. KEYS: counter · ARGV: max, life in ms. Returns 1 when it was counted.
local n = tonumber(redis.call("GET", KEYS[1]) or "0")
if n >= tonumber(ARGV[1]) then
  return 0
end
redis.call("SET", KEYS[1], n + 1, "PX", ARGV[2])
return 1
