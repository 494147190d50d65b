-- The in-process Redis: strings, the life of keys, publishing.
local function integer(text, what)
  local n = tonumber(text)
  if not n or n ~= math.floor(n) then
    error("ERR " .. (what or "value is not an integer or out of range"), 0)
  end
  return n
end

-- A number as Redis writes it: whole numbers plainly.
local function text_of(n)
  if n == math.huge or n == -math.huge then
    return n > 0 and "inf" or "-inf"
  end
  return n == math.floor(n) and math.abs(n) < 2 ^ 53 and ("%.0f"):format(n) or ("%.17g"):format(n)
end

local commands = {}

function commands.PING()
  return "PONG"
end

function commands.GET(self, a)
  local entry = self:entry(a[2], "string")
  return entry and entry.value or false
end

-- SET key value [NX|XX] [PX ms|EX s] [KEEPTTL]
function commands.SET(self, a)
  local before, expires, i = self:entry(a[2]), nil, 4
  while a[i] do
    local word = a[i]:upper()
    if word == "PX" or word == "EX" then
      i = i + 1
      expires = self.now + integer(a[i]) * (word == "EX" and 1000 or 1)
    elseif word == "KEEPTTL" then
      expires = before and before.expires
    elseif (word == "NX") == (before ~= nil) then
      return false
    end
    i = i + 1
  end
  self.entries[a[2]] = { kind = "string", value = a[3], expires = expires }
  return "OK"
end

function commands.INCRBY(self, a)
  local entry = self:make(a[2], "string", "0")
  entry.value = text_of(integer(entry.value) + integer(a[3]))
  return tonumber(entry.value)
end

function commands.INCR(self, a)
  return commands.INCRBY(self, { "INCRBY", a[2], "1" })
end

function commands.DEL(self, a)
  local n = 0
  for i = 2, #a do
    if self:entry(a[i]) then
      self.entries[a[i]] = nil
      n = n + 1
    end
  end
  return n
end

function commands.EXISTS(self, a)
  local n = 0
  for i = 2, #a do
    n = n + (self:entry(a[i]) and 1 or 0)
  end
  return n
end

function commands.PEXPIRE(self, a)
  local entry = self:entry(a[2])
  if not entry then
    return 0
  end
  entry.expires = self.now + integer(a[3])
  self:entry(a[2])
  return 1
end

function commands.EXPIRE(self, a)
  return commands.PEXPIRE(self, { "PEXPIRE", a[2], text_of(integer(a[3]) * 1000) })
end

function commands.PERSIST(self, a)
  local entry = self:entry(a[2])
  local had = entry and entry.expires
  if had then
    entry.expires = nil
  end
  return had and 1 or 0
end

function commands.PTTL(self, a)
  local entry = self:entry(a[2])
  if not entry then
    return -2
  end
  return entry.expires and entry.expires - self.now or -1
end

function commands.PUBLISH(self, a)
  return self.publish(a[2], a[3])
end

-- For the other parts; pairs() sees commands only.
return setmetatable(commands, { __index = { text = text_of, integer = integer } })
