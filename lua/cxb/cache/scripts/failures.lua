-- Failures in a row, told to all processes. KEYS: a hash each. ARGV: now; with an outcome: "ok" or
-- "failed", how many make a pause, its ms, how long they are remembered.
-- Returns for each key: failures, paused until.
local out = {}
for _, key in ipairs(KEYS) do
  if ARGV[2] == "ok" then
    redis.call("DEL", key)
  elseif ARGV[2] == "failed" then
    if redis.call("HINCRBY", key, "failures", 1) >= tonumber(ARGV[3]) then
      redis.call("HSET", key, "until", string.format("%.0f", tonumber(ARGV[1]) + tonumber(ARGV[4])))
    end
    redis.call("PEXPIRE", key, ARGV[5])
  end
  out[#out + 1] = redis.call("HGET", key, "failures") or "0"
  out[#out + 1] = redis.call("HGET", key, "until") or "0"
end
return out
