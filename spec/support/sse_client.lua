-- Reads an event stream as a browser's page does.
--   local client = SseClient.open(api, "/api/v1/events/stream?topics=calls", {token = …})
--   local event = client:next()   {id, name, data (decoded)}
local World = require "support.world"
local json = require "cxb.json"
local process = require "support.api_process"

local M = {}
local client = {}
client.__index = client

-- Whole lines of what has come; an empty line ends an event.
local function take(self, piece)
  self.rest = self.rest .. piece
  while true do
    local at, stop = self.rest:find("\n\n", 1, true)
    if not at then return end
    local block = self.rest:sub(1, at - 1)
    self.rest = self.rest:sub(stop + 1)
    if block:match("^: ping") then self.pings = self.pings + 1 end
    local name, data = block:match("event: ([^\n]+)"), block:match("data: ([^\n]+)")
    if name then
      self.events[#self.events + 1] = { id = tonumber(block:match("id: (%d+)")), name = name,
        data = json.decode(data) }
    end
  end
end

---(waits until it is answered)
---@param api table support.api_process
---@param options? {token?: string, last_id?: number}
function M.open(api, path, options)
  options = options or {}
  local self = setmetatable({ events = {}, at = 0, rest = "", pings = 0 }, client)
  local headers = { authorization = "Bearer " .. (options.token or process.token()),
    ["last-event-id"] = options.last_id and ("%.0f"):format(options.last_id) or nil }
  self.task = cxb.task.spawn("stream", function()
    local answer, code = cxb.http.request({
      url = "http+unix:" .. api.socket .. ":" .. path, headers = headers, timeout_ms = 600000,
      on_data = function(piece)
        self.opened = true
        take(self, piece)
      end,
    })
    self.status, self.code, self.ended = answer and answer.status, code, true
  end)
  World.wait_until("the stream", function() return self.opened or self.ended end)
  return self
end

---(waits) The next event.
function client:next(timeout_ms)
  World.wait_until("an event", function()
    return self.events[self.at + 1] or self.ended
  end, timeout_ms)
  self.at = self.at + 1
  return self.events[self.at]
end

---(waits) How the answer ended: status.
function client:finish()
  World.wait_until("the end of the stream", function() return self.ended end)
  return self.status
end

function client:close() self.task:cancel() end

return M
