-- multipart/form-data (RFC 7578) as it streams in: the content of one field goes piece by piece
-- to a function, everything else is passed over.
local M = {}
M.__index = M

local HEADERS_MAX = 8192

---The boundary of a Content-Type; nil when it is not multipart/form-data.
---@return string?
function M.boundary(content_type)
  local parameters = content_type:match("^[Mm]ultipart/[Ff]orm%-[Dd]ata%s*;(.*)$")
  if not parameters then
    return nil
  end
  local value = parameters:match('[Bb]oundary="([^"]+)"')
    or parameters:match("[Bb]oundary=([^%s;]+)")
  return value and #value <= 70 and value or nil
end

---@param boundary string
---@param field string whose content is wanted
---@param take fun(piece: string): true?, any what it answers but true ends the reading
function M.new(boundary, field, take)
  -- The first boundary has no line end before it: one is made up, so that all are alike.
  return setmetatable({
    mark = "\r\n--" .. boundary, field = field, take = take, rest = "\r\n", state = "between",
  }, M)
end

local function parameter(headers, name)
  return headers:match("[;%s]" .. name .. '="([^"]*)"') or headers:match("[;%s]" .. name
    .. "=([^%s;\"]+)")
end

-- The header lines of one part: whether it is the field, its file name and type.
local function read_headers(self, text)
  local disposition
  for line in (text .. "\r\n"):gmatch("(.-)\r\n") do
    local name, value = line:match("^([%w-]+):%s*(.*)$")
    name = name and name:lower()
    if name == "content-disposition" then
      disposition = value
    elseif name == "content-type" then
      self.part_type = value
    end
  end
  if not disposition or not disposition:lower():match("^form%-data") then
    return nil
  end
  self.wanted = not self.found and parameter(disposition, "name") == self.field
  if self.wanted then
    self.found = true
    self.name, self.type = parameter(disposition, "filename"), self.part_type
  end
  self.part_type = nil
  return true
end

local steps = {}

-- Content up to the next boundary; what could be its beginning is kept back.
local function content(self, after)
  local at, last = self.rest:find(self.mark, 1, true)
  local piece = self.rest:sub(1, at and at - 1 or -#self.mark)
  self.rest = self.rest:sub(at and last + 1 or math.max(1, #self.rest - #self.mark + 2))
  if self.wanted and piece ~= "" then
    local ok, why = self.take(piece)
    if not ok then
      return nil, why
    end
  end
  if at then
    self.state, self.wanted = after, false
    return true
  end
  return false
end

function steps.between(self)
  return content(self, "boundary")
end

steps.content = steps.between

-- "--" ends the whole, a line end begins a part's headers.
function steps.boundary(self)
  if #self.rest < 2 then
    return false
  end
  local two = self.rest:sub(1, 2)
  if two == "--" then
    self.state = "end"
    return false
  elseif two ~= "\r\n" then
    return nil, "malformed"
  end
  self.state = "headers"
  return true
end

function steps.headers(self)
  local at, last = self.rest:find("\r\n\r\n", 1, true)
  if not at then
    if #self.rest > HEADERS_MAX then
      return nil, "malformed"
    end
    return false
  end
  local headers = self.rest:sub(3, at - 1)
  -- The blank line's end belongs to the content's first boundary, too.
  self.rest, self.state = "\r\n" .. self.rest:sub(last + 1), "first"
  if not read_headers(self, headers) then
    return nil, "malformed"
  end
  return true
end

-- An empty part: its boundary follows at once.
function steps.first(self)
  if #self.rest < #self.mark and self.mark:sub(1, #self.rest) == self.rest then
    return false
  elseif self.rest:sub(1, #self.mark) ~= self.mark then
    self.rest = self.rest:sub(3)
  end
  self.state = "content"
  return true
end

steps["end"] = function(self)
  self.rest = ""
  return false
end

---Takes the next piece of the body.
---@return true?, any why "malformed", or what `take` answered
function M:feed(piece)
  self.rest = self.rest .. piece
  while true do
    local more, why = steps[self.state](self)
    if more == nil then
      return nil, why
    elseif not more then
      return true
    end
  end
end

---Whether the body ended where it should and the field was in it.
---@return "complete"|"malformed"|"missing"
function M:finish()
  if self.state ~= "end" then
    return "malformed"
  end
  return self.found and "complete" or "missing"
end

return M
