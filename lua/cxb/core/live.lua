-- Live events of a call to the API: POST {api}/calls/{session_id}/live {seq, events[]}, after each
-- turn and change of state, at most once a second. Best effort: one second, never again, and the
-- call does not wait for it.
local channel = require("cxb.channel")
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local url = require("cxb.url")

local M = {}

local EVERY_MS, TIMEOUT_MS, MAX_EVENTS, MAX_BYTES = 1000, 1000, 100, 64 * 1024

local function body_of(seq, events)
  local list = json.array()
  for i, event in ipairs(events) do
    list[i] = json.object({ { "t_ms", event.t_ms }, { "type", event.type },
      { "data", event.data or {} } })
  end
  return json.encode(json.object({ { "seq", seq }, { "events", list } }), true)
end

-- (waits) As many of the newest events as one request may carry.
local function post(c, target, seq, events)
  local body = body_of(seq, events)
  while #body > MAX_BYTES and #events > 1 do
    table.remove(events, 1)
    body = body_of(seq, events)
  end
  local answer, code = cxb.http.request({
    url = target, method = "POST", body = body, timeout_ms = TIMEOUT_MS,
    headers = outgoing.headers(c, target, { ["content-type"] = "application/json" }),
  })
  if not answer or answer.status >= 300 then
    cxb.log.debug("live events were not taken", { code = code or tostring(answer.status) })
  end
end

local function run(c, target, queue)
  local seq, over = 0, false
  while not over do
    local events = { queue:pop() }
    if not events[1] then
      return -- cancelled
    end
    while queue:size() > 0 do
      events[#events + 1] = queue:try_pop()
    end
    over = events[#events].type == "call_ended"
    seq = seq + 1
    local began = cxb.time.mono()
    post(c, target, seq, events)
    if not over and not cxb.time.sleep(math.max(0, EVERY_MS - (cxb.time.mono() - began))) then
      return
    end
  end
end

---Sends what the hub tells until the call has ended. (does not wait)
---@param c table settings
---@param api string base URL of the API
---@param session_id string
---@param hub table cxb.core.hub
function M.begin(c, api, session_id, hub)
  local queue = channel.new(MAX_EVENTS)
  hub:listen(function(event)
    queue:push(event)
  end)
  local target = ("%s/calls/%s/live"):format(api, url.escape(session_id))
  cxb.task.spawn("live", run, c, target, queue)
end

return M
