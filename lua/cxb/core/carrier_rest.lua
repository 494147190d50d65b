-- A leg whose hang-up and transfer go over the carrier's REST interface (cxb.core.carriers): with
-- credentials a leg of such a carrier is wrapped, everything else goes to the leg itself. The media
-- loop closes the socket 2 s after hangup(), whatever the carrier says.
local carriers = require("cxb.core.carriers")
local json = require("cxb.json")
local wrap = require("cxb.core.leg_wrap")

local M = {}

local hangup_ms, transfer_ms = 2000, 8000

-- (waits) true, or nil, code.
local function ask(c, carrier, timeout_ms, request, code)
  if not request then
    return nil, code
  end
  local answer, why, message = cxb.http.request({
    url = (c.CXB_CARRIER_API_BASE or carrier.base):gsub("/+$", "") .. request.path,
    method = request.method, headers = request.headers, body = request.body,
    timeout_ms = timeout_ms, connect_timeout_ms = 1500,
  })
  if answer and answer.status >= 200 and answer.status < 300 then
    return true
  end
  code = answer and "http_" .. answer.status or why
  cxb.log.warn("the carrier refused", { code = code, error = message })
  return nil, code
end

---The carrier of a transport whose REST interface may be used; nil without its credentials.
---@return table? carrier
function M.of(c, transport)
  local carrier = carriers.by_transport[transport]
  return carrier and carrier.configured(c) and carrier or nil
end

local leg = {}

-- A transfer takes the call out of our hands: the carrier's goodbye may come before its answer.
function leg:event(timeout_ms)
  local event, code = self.next_event, nil
  self.next_event = nil
  if not event then
    event, code = self.leg:event(timeout_ms)
  end
  if event and event.type == "start" then
    local fields = json.decode_object(event.connected_event or "")
    local id = fields and self.carrier.id(fields)
    self.id = type(id) == "string" and id ~= "" and id or nil
  elseif event and (event.type == "stop" or event.type == "closed") and self.transferring then
    self.transferring, self.transferred, self.next_event = nil, true, event
    return { type = "transfer", ok = true, reason = "hangup", t_ms = event.t_ms }
  end
  return event, code
end

function leg:hangup()
  local ok, code = self.leg:hangup()
  if not ok or self.asked then
    return ok, code
  end
  self.asked = true
  if self.transferred or not self.id then
    self.leg:abort(1000) -- the call is another's by now, or cannot be named: only the stream ends
    return true
  end
  cxb.task.spawn("carrier hangup", function()
    if not ask(self.settings, self.carrier, hangup_ms,
      self.carrier.hangup(self.settings, self.id)) then
      self.leg:abort(1000)
    end
  end)
  return true
end

function leg:transfer(t)
  local to, kind = carriers.address(t)
  if not self.can_transfer or not self.id or not to then
    return nil, not to and kind or "unsupported"
  elseif self.transferring then
    return nil, "busy"
  end
  self.transferring = true
  cxb.task.spawn("carrier transfer", function()
    local ok, code = ask(self.settings, self.carrier, transfer_ms,
      self.carrier.transfer(self.settings, self.id, to, kind))
    if self.transferring then
      self.transferring, self.transferred = nil, ok
      self.leg:post({ type = "transfer", ok = ok == true, reason = ok and "accepted" or code })
    end
  end)
  return true
end

---A leg whose hang-up and transfer go to the carrier.
---@param inner cxb.leg accepted with hangup_elsewhere
function M.wrap(c, inner, carrier)
  local can_transfer = not carrier.can_transfer or carrier.can_transfer(c)
  return wrap(inner, leg, { settings = c, carrier = carrier, can_transfer = can_transfer })
end

return M
