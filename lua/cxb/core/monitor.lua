-- WS /monitor/{session_id}: listening in on a call of this host. Down go both channels (binary
-- PCM16 stereo, 16 kHz) and what is said (text: transcript, turn, end); what comes up is thrown
-- away. Any worker answers: one that has not the call passes on the socket of the one that has.
local auth = require("cxb.core.auth")
local channel = require("cxb.channel")
local host = require("cxb.core.host")
local json = require("cxb.json")

local M = {}

-- A listener further behind than four times this is let go (256 KiB: four seconds of audio).
local MAX_SEND = 256 * 1024

local as_text = {
  transcript = function(e)
    return { { "type", "transcript" }, { "role", e.data.role }, { "text", e.data.text },
      { "final", true }, { "turn", e.data.turn } }
  end,
  latency = function(e)
    local out = { { "type", "turn" } }
    for _, key in ipairs({ "turn", "endpoint_ms", "stt_ms", "rag_ms", "tool_ms", "llm_ttft_ms",
      "tts_ttfb_ms", "host_ms", "total_ms" }) do
      out[#out + 1] = { key, e.data[key] }
    end
    return out
  end,
  call_ended = function(e)
    return { { "type", "end" }, { "disconnected_by", e.data.disconnected_by },
      { "error", e.data.error } }
  end,
}

-- Reads (and drops) until the listener has gone.
local function until_gone(ws, fn)
  cxb.task.spawn("monitor reader", function()
    repeat
      local kind = ws:receive()
    until not kind
    fn()
  end)
end

local function refuse(req, status, code)
  req:respond(status, { error = code })
end

local function accept(req)
  return req:websocket({ max_send = MAX_SEND, max_text = 4096, max_binary = 4096 })
end

-- (waits) The call is ours.
local function serve_own(req, current)
  local ws = accept(req)
  if not ws then
    return
  end
  local queue = channel.new(200)
  local leave = current.hub:listen(function(event)
    if as_text[event.type] then
      queue:push(event)
    end
  end)
  local listener = current.leg:monitor(ws:sink())
  until_gone(ws, function()
    queue:push({ type = "gone" })
  end)
  if current.hub.over then -- it ended while the socket opened
    queue:push({ type = "gone" })
  end
  local event
  repeat
    event = queue:pop()
    local make = event and as_text[event.type]
    if make and not ws:send(json.encode(json.object(make(event)))) then
      event = nil
    end
  until not make or not event or event.type == "call_ended"
  leave()
  if listener then
    current.leg:unmonitor(listener)
  end
  ws:close(1000)
end

-- (waits) Another worker has it.
local function pass_on(req, address, path)
  local up, code, _, status = cxb.ws.connect(address .. path, { timeout_ms = 2000 })
  if not up then
    if code == "status" and status == 401 then
      return refuse(req, 401, "unauthorized")
    end
    return refuse(req, 404, "not_live")
  end
  local ws = accept(req)
  if not ws then
    return up:close(1001)
  end
  up:pipe(ws:sink())
  until_gone(ws, function()
    up:close(1000)
  end)
  while true do
    local kind, text = up:receive()
    if not kind or (kind == "text" and not ws:send(text)) then
      break
    end
  end
  up:close(1000)
  ws:close(1000)
end

---(waits) Answers the request.
---@param c table settings
---@param calls table cxb.core.calls
---@param req cxb.request
---@param session_id string
function M.serve(c, calls, req, session_id)
  if not req.upgrade then
    return req:respond(426, { error = "upgrade_required" }, { upgrade = "websocket" })
  end
  local claims = auth.listen_ticket(c, req, session_id)
  if not claims then
    return refuse(req, 401, "unauthorized")
  end
  local current = calls.current
  if current and current.hub and current.session_id == session_id and not current.hub.over then
    if not host.take_ticket(c, claims.jti) then
      return refuse(req, 401, "unauthorized")
    end
    return serve_own(req, current)
  end
  local address = host.address_of(c, session_id)
  if not address then
    return req:elsewhere() or refuse(req, 404, "not_live")
  end
  pass_on(req, address, ("/monitor/%s?%s"):format(session_id, req.query))
end

return M
