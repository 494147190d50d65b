-- The door of the POSTs that start a call in a room: the order of its checks (core spec §2). The
-- router has answered 405 before. Nothing here leaves a trace: a refused request may be sent to the
-- next worker.
local auth = require("cxb.core.auth")
local fields = require("cxb.core.start_fields")
local json = require("cxb.json")

---@class cxb.core.door
---@field rooms? table<string, fun(req: cxb.request, fields: table)> who starts calls in rooms, by
---kind; nil: the native client library is not here
local M = {}

local MAX_BODY = 1024 * 1024
local json_type = { ["content-type"] = "application/json" }

local function refuse(req, status, code, headers)
  cxb.metrics.count("cxb_calls_refused_total", { reason = code })
  req:respond(status, { error = code }, headers)
end

local function rooms_state(c)
  for _, name in ipairs({ "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET" }) do
    if (c[name] or "") == "" then
      return "livekit_not_configured"
    end
  end
  return not M.rooms and "livekit_unavailable" or nil
end

-- (waits) The checked fields, or nothing when the request has been answered.
local function read(c, req, kind)
  local text, code = req:body(MAX_BODY)
  if not text then
    return code == "too_large" and refuse(req, 413, "too_large") or nil
  end
  local body, _, why = json.decode_object(text)
  if not body then
    req:respond(400, json.encode(json.object({ { "error", "bad_json" }, { "message", why } })),
      json_type)
    return nil
  end
  local checked, field, message = fields.check(kind, body, c)
  if not checked then
    req:respond(422, json.encode(json.object({ { "error", "invalid" }, { "field", field },
      { "message", message } })), json_type)
  end
  return checked
end

---(waits) Answers a start request.
---@param c table settings
---@param req cxb.request
---@param kind "dispatch"|"dialout"|"attach"|"widget"
function M.serve(c, req, kind)
  if not auth.secret_ok(c, req.headers) then
    return refuse(req, 403, "forbidden")
  end
  local taken, status, code = req:take_slot()
  if not taken then -- counted by the host
    return req:respond(status, { error = code }, { ["retry-after"] = "1" })
  end
  -- In the same turn as the slot, so that the host's next report tells both.
  cxb.scoreboard.update({ reservation = req.headers["x-cxb-reservation"] })
  code = rooms_state(c)
  if code then
    return refuse(req, 503, code)
  end
  local checked = read(c, req, kind)
  if checked then
    M.rooms[kind](req, checked)
  end
end

return M
