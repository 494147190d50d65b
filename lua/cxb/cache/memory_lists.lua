-- The in-process Redis: lists.
local commands = {}

local function found(self, key)
  local entry = self:entry(key, "list")
  return entry and entry.value or {}
end

local function keep(self, key, list)
  if list[1] == nil then
    self.entries[key] = nil
  else
    self:make(key, "list").value = list
  end
end

function commands.RPUSH(self, a)
  local list = self:make(a[2], "list", {}).value
  for i = 3, #a do
    list[#list + 1] = a[i]
  end
  return #list
end

function commands.LPUSH(self, a)
  local list = self:make(a[2], "list", {}).value
  for i = 3, #a do
    table.insert(list, 1, a[i])
  end
  return #list
end

local function pop(self, key, at)
  local list = found(self, key)
  local value = table.remove(list, at or #list)
  keep(self, key, list)
  return value or false
end

function commands.LPOP(self, a)
  return pop(self, a[2], 1)
end

function commands.RPOP(self, a)
  return pop(self, a[2])
end

function commands.LLEN(self, a)
  return #found(self, a[2])
end

local function slice(list, first, last)
  local n = #list
  first = math.max(first < 0 and n + first or first, 0)
  last = math.min(last < 0 and n + last or last, n - 1)
  return { unpack(list, first + 1, last + 1) }
end

function commands.LRANGE(self, a)
  return slice(found(self, a[2]), tonumber(a[3]), tonumber(a[4]))
end

function commands.LTRIM(self, a)
  keep(self, a[2], slice(found(self, a[2]), tonumber(a[3]), tonumber(a[4])))
  return "OK"
end

return commands
