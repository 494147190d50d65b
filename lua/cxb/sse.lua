-- Server-sent events (HTML standard, "9.2.6 Interpreting an event stream"), read piece by piece as
-- they come from a socket: lines and their ends may be cut anywhere.
local M = {}
M.__index = M

local max_line = 1024 * 1024

---@param on_event fun(data: string, event: string): any, string?, string? a nil result ends the
---reading: feed() returns nil and what follows it
function M.new(on_event)
  return setmetatable({ on_event = on_event, rest = "", data = {}, fresh = true }, M)
end

local function dispatch(self)
  local data, event = self.data, self.event
  self.data, self.event = {}, nil
  if #data == 0 then
    return true
  end
  return self.on_event(table.concat(data, "\n"), event or "message")
end

-- A comment, a field of no interest here (id, retry), or a part of the event.
local function take(self, line)
  local field, value = line:match("^([^:]+): ?(.*)$")
  field = field or line
  if field == "data" then
    self.data[#self.data + 1] = value or ""
  elseif field == "event" then
    self.event = value
  end
end

local function take_line(self, line)
  if self.fresh then
    self.fresh = false
    line = line:gsub("^\239\187\191", "")
  end
  if line == "" then
    return dispatch(self)
  end
  take(self, line)
  return true
end

---@param piece string
---@return any true; nil, code, message when on_event said so or a line is longer than 1 MiB
function M:feed(piece)
  local text, at = self.rest .. piece, 1
  local whole = self.rest:sub(-1) == "\r" or piece:find("[\r\n]")
  while whole do
    local stop = text:find("[\r\n]", at)
    local mark = stop and text:sub(stop, stop)
    -- A "\r" at the very end may be half of "\r\n".
    if not stop or (mark == "\r" and stop == #text) then
      break
    end
    local line = text:sub(at, stop - 1)
    at = stop + ((mark == "\r" and text:sub(stop + 1, stop + 1) == "\n") and 2 or 1)
    local ok, code, message = take_line(self, line)
    if not ok then
      return nil, code, message
    end
  end
  self.rest = text:sub(at)
  if #self.rest > max_line then
    return nil, "bad_response", "a line of the event stream is longer than 1 MiB"
  end
  return true
end

---The stream is over. The standard drops an event without its empty line; servers leave it out at
---the very end, so it counts here.
---@return any as feed
function M:finish()
  local line = self.rest:gsub("\r$", "")
  self.rest = ""
  if line ~= "" then
    local ok, code, message = take_line(self, line)
    if not ok then
      return nil, code, message
    end
  end
  return dispatch(self)
end

return M
