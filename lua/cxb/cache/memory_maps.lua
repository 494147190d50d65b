-- The in-process Redis: hashes.
local strings = require("cxb.cache.memory_strings")

local commands = {}

function commands.HSET(self, a)
  local map, added = self:make(a[2], "hash", {}).value, 0
  for i = 3, #a, 2 do
    added = added + (map[a[i]] and 0 or 1)
    map[a[i]] = a[i + 1]
  end
  return added
end

function commands.HGET(self, a)
  local entry = self:entry(a[2], "hash")
  return entry and entry.value[a[3]] or false
end

function commands.HMGET(self, a)
  local entry, out = self:entry(a[2], "hash"), {}
  for i = 3, #a do
    out[i - 2] = entry and entry.value[a[i]] or false
  end
  return out
end

function commands.HGETALL(self, a)
  local entry, out = self:entry(a[2], "hash"), {}
  for field, value in pairs(entry and entry.value or {}) do
    out[#out + 1] = field
    out[#out + 1] = value
  end
  return out
end

function commands.HDEL(self, a)
  local entry, n = self:entry(a[2], "hash"), 0
  if not entry then
    return 0
  end
  for i = 3, #a do
    n = n + (entry.value[a[i]] and 1 or 0)
    entry.value[a[i]] = nil
  end
  if not next(entry.value) then
    self.entries[a[2]] = nil
  end
  return n
end

function commands.HEXISTS(self, a)
  local entry = self:entry(a[2], "hash")
  return entry and entry.value[a[3]] and 1 or 0
end

function commands.HLEN(self, a)
  local entry, n = self:entry(a[2], "hash"), 0
  for _ in pairs(entry and entry.value or {}) do
    n = n + 1
  end
  return n
end

function commands.HINCRBY(self, a)
  local map = self:make(a[2], "hash", {}).value
  map[a[3]] = strings.text(strings.integer(map[a[3]] or "0") + strings.integer(a[4]))
  return tonumber(map[a[3]])
end

return commands
