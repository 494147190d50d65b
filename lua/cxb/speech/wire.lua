-- What /stt and /tts share: JSON messages, their errors, ids.
local json = require("cxb.json")

local M = {}
M.__index = M

local max_errors = 100

---A connection that counts its errors.
---@param conn cxb.ws.conn
---@param kind "stt"|"tts"
function M.new(conn, kind)
  return setmetatable({ conn = conn, kind = kind, errors = 0 }, M)
end

function M:send(message)
  return self.conn:send(json.encode(message))
end

---One message's worth of blame. A peer that sends nothing else is closed (1008).
function M:error(code, message, id)
  self.errors = self.errors + 1
  cxb.metrics.count("cxb_speech_errors_total", { kind = self.kind, code = code })
  self:send({ type = "error", code = code, message = message, id = id })
  if self.errors >= max_errors then
    self.conn:close(1008, "too many errors")
  end
end

---An id is a string of up to 64 bytes or a number; it comes back as it was sent.
---@return boolean
function M.is_id(id)
  return type(id) == "number" or (type(id) == "string" and #id <= 64)
end

---(waits) Calls handlers[message.type](message) for each JSON message until the connection is gone.
function M:run(handlers)
  while true do
    local kind, data = self.conn:receive()
    if not kind then
      return
    end
    local message, _, why
    if kind == "text" then
      message, _, why = json.decode_object(data)
    end
    local handler = message and handlers[message.type]
    if kind ~= "text" then
      self:error("unexpected", "no binary messages expected here")
    elseif not message then
      self:error("bad_json", why)
    elseif not handler then
      self:error("unknown_type", "type: one of " .. self.types .. " expected")
    else
      handler(message)
    end
  end
end

return M
