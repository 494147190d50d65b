-- One more attempt under a key, of `max` in a window that begins with the first.
-- KEYS 1: counter. ARGV 1: max, 2: window in ms. Answers 0: go on; else ms until the window ends.
local n = redis.call("INCR", KEYS[1])
if n == 1 then
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
if n <= tonumber(ARGV[1]) then
  return 0
end
return math.max(1, redis.call("PTTL", KEYS[1]))
