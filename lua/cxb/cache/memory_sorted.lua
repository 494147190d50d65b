-- The in-process Redis: sorted sets. Members in order are made when somebody asks for them.
local text = require("cxb.cache.memory_strings").text

local commands = {}

local function score_of(word)
  local n = tonumber(word)
  if not n or n ~= n then
    error("ERR value is not a valid float", 0)
  end
  return n
end

local function by_score(a, b)
  if a.score ~= b.score then
    return a.score < b.score
  end
  return a.member < b.member
end

local function in_order(set)
  if not set.order then
    set.order = {}
    for member, score in pairs(set.scores) do
      set.order[#set.order + 1] = { member = member, score = score }
    end
    table.sort(set.order, by_score)
  end
  return set.order
end

local function found(self, key)
  local entry = self:entry(key, "zset")
  return entry and entry.value
end

function commands.ZADD(self, a)
  local set, added = self:make(a[2], "zset", { scores = {} }).value, 0
  for i = 3, #a, 2 do
    added = added + (set.scores[a[i + 1]] and 0 or 1)
    set.scores[a[i + 1]] = score_of(a[i])
  end
  set.order = nil
  return added
end

local function drop(self, key, set, members)
  local n = 0
  for _, member in ipairs(members) do
    if set.scores[member] then
      set.scores[member] = nil
      n = n + 1
    end
  end
  if n > 0 then
    set.order = nil
  end
  if not next(set.scores) then
    self.entries[key] = nil
  end
  return n
end

function commands.ZREM(self, a)
  local set = found(self, a[2])
  return set and drop(self, a[2], set, { unpack(a, 3) }) or 0
end

function commands.ZSCORE(self, a)
  local set = found(self, a[2])
  local score = set and set.scores[a[3]]
  return score and text(score) or false
end

function commands.ZCARD(self, a)
  local set = found(self, a[2])
  return set and #in_order(set) or 0
end

local function listed(items, with_scores)
  local out = {}
  for _, item in ipairs(items) do
    out[#out + 1] = item.member
    if with_scores then
      out[#out + 1] = text(item.score)
    end
  end
  return out
end

local function range(self, a, reverse)
  local set, items = found(self, a[2]), {}
  local order = set and in_order(set) or {}
  local n, first, last = #order, tonumber(a[3]), tonumber(a[4])
  first = math.max(first < 0 and n + first or first, 0)
  last = math.min(last < 0 and n + last or last, n - 1)
  for i = first, last do
    items[#items + 1] = order[reverse and n - i or i + 1]
  end
  return listed(items, a[5])
end

function commands.ZRANGE(self, a)
  return range(self, a)
end

function commands.ZREVRANGE(self, a)
  return range(self, a, true)
end

-- "5", "(5", "-inf", "+inf"
local function bound(word)
  local open = word:sub(1, 1) == "("
  local plain = open and word:sub(2) or word
  local n = plain == "-inf" and -math.huge or (plain == "+inf" or plain == "inf") and math.huge
    or score_of(plain)
  return n, open
end

local function between(self, key, low_word, high_word)
  local set, items = found(self, key), {}
  local low, low_open = bound(low_word)
  local high, high_open = bound(high_word)
  for _, item in ipairs(set and in_order(set) or {}) do
    local above = low_open and item.score > low or not low_open and item.score >= low
    local below = high_open and item.score < high or not high_open and item.score <= high
    if above and below then
      items[#items + 1] = item
    end
  end
  return items, set
end

function commands.ZCOUNT(self, a)
  return #between(self, a[2], a[3], a[4])
end

-- ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]
function commands.ZRANGEBYSCORE(self, a)
  local items = between(self, a[2], a[3], a[4])
  local with_scores, i = false, 5
  while a[i] do
    if a[i]:upper() == "WITHSCORES" then
      with_scores = true
    else
      local from, count = tonumber(a[i + 1]), tonumber(a[i + 2])
      items = { unpack(items, from + 1, count < 0 and #items or math.min(from + count, #items)) }
      i = i + 2
    end
    i = i + 1
  end
  return listed(items, with_scores)
end

function commands.ZREMRANGEBYSCORE(self, a)
  local items, set = between(self, a[2], a[3], a[4])
  return set and drop(self, a[2], set, listed(items)) or 0
end

return commands
