-- Writes fields of one record and the time of its last sign of life.
-- KEYS: index, record · ARGV: now, id, life in ms, then fields and values.
for i = 4, #ARGV, 2 do
  redis.call("HSET", KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call("ZADD", KEYS[1], ARGV[1], ARGV[2])
redis.call("PEXPIRE", KEYS[2], ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[3])
return 1
