-- Log lines of this host about one call: GET /logs?id=&since=&limit=. They are read from the files
-- that `cxbctl up` writes, {state}/logs/<service>.log and the older ones beside them.
local json = require("cxb.json")
local times = require("cxb.times")

local M = {}

local MAX_LINES, FOUND_MAX = 1000, 20000

local function files(dir)
  local list = {}
  for _, name in ipairs(cxb.fs.list(dir) or {}) do
    if name:match("^[%w-]+%.log[.%d]*$") then
      list[#list + 1] = dir .. "/" .. name
    end
  end
  return list
end

-- (waits) Lines with the id, by a program that is made for it.
local function grep(id, list)
  local child = cxb.process.spawn({ capture = true, stderr = "/dev/null",
    args = { "grep", "-hF", "-m", tostring(FOUND_MAX), "-e", id, unpack(list) } })
  local lines = {}
  while child do
    local line = child:line()
    if not line then
      child:wait(1000)
      break
    end
    lines[#lines + 1] = json.decode_object(line)
  end
  return lines
end

---(waits)
---@param c table settings
---@param id? string session, call or campaign call id
---@param since? string RFC 3339
---@param limit? integer the newest so many, 200
---@return table[]? lines oldest first; nil: the id is none
---@return string? rule
function M.find(c, id, since, limit)
  if not id or #id < 8 or #id > 128 or not id:match("^[%w._-]+$") then
    return nil, "id: expected 8 to 128 characters of A-Z a-z 0-9 . _ -"
  end
  local list = files(c.CXB_STATE_DIR .. "/logs")
  local from = since and times.parse(since) or 0
  local found = {}
  for _, line in ipairs(list[1] and grep(id, list) or {}) do
    local at = type(line.ts) == "string" and times.parse(line.ts)
    if at and at >= from then
      found[#found + 1] = { at = at, n = #found, line = line }
    end
  end
  table.sort(found, function(a, b)
    return a.at == b.at and a.n < b.n or a.at < b.at
  end)
  local out = json.array()
  for i = math.max(1, #found - math.min(limit or 200, MAX_LINES) + 1), #found do
    out[#out + 1] = found[i].line
  end
  return out
end

return M
