-- KEYS: sequence, buffer of the topic, its last id · ARGV: now, id, how long a last id is known.
-- Returns {complete, newest id of all, entries after id…}; not complete: some are forgotten.
local last = redis.call("HGET", KEYS[1], "last")
if not last then
  return { 0, "0" }
end
local after = tonumber(ARGV[2])
local base = tonumber(redis.call("HGET", KEYS[1], "base"))
local out = { 0, last }
if after < base or after < tonumber(ARGV[1]) - tonumber(ARGV[3]) or after > tonumber(last) then
  return out
end
local first_before
for _, entry in ipairs(redis.call("LRANGE", KEYS[2], 0, -1)) do
  local id, before = string.match(entry, "^(%d+) ([%d-]+) ")
  if tonumber(id) > after then
    first_before = first_before or before
    out[#out + 1] = entry
  end
end
local known = redis.call("GET", KEYS[3])
if first_before then
  out[1] = (first_before == "-" or tonumber(first_before) <= after) and 1 or 0
else
  out[1] = (not known or tonumber(known) <= after) and 1 or 0
end
return out
