-- What our own services tell the Agent Desk of a call (api.md §5.17): the worker that holds the
-- caller, and LiveKit by its webhook. Each message may come more than once.
local assist = require("services.desk.assist")
local desk = require("services.desk")
local errors = require("services.web.errors")
local json = require("cxb.json")
local media = require("services.desk.media")
local people = require("services.desk.people")
local states = require("services.desk.states")
local summary = require("services.desk.summary")
local supervision = require("services.desk.supervision")
local webhook = require("services.livekit.webhook")

local M = {}

local SEEN_MAX, EVENTS_MAX, LINES_MAX = 1000, 500, 5000

-- Optional fields of a handoff: type, longest. What is not so is left out: a caller is waiting.
local fields = {
  session_id = 64, room = 256, caller = 64, bot = 128, bot_id = 64, language = 35,
  escalation_reason = 2000,
}

---A handoff as the desk keeps it.
---@return table? handoff, api.error? err
function M.read(body)
  local id = body.call_id
  if type(id) ~= "string" or #id > 64 or not id:match("^[%w_-]+$") then
    return nil, errors.invalid({ { path = "call_id", rule = "format",
      message = "must be 1 to 64 characters of A-Z a-z 0-9 _ -" } })
  end
  local out = { call_id = id }
  for name, longest in pairs(fields) do
    local value = body[name]
    if type(value) == "string" and value ~= "" then
      out[name] = value:sub(1, longest)
    end
  end
  local priority = body.priority
  if type(priority) == "number" and priority >= 0 and priority <= 100 then
    out.priority = math.floor(priority)
  end
  for _, name in ipairs({ "variables", "context" }) do
    if type(body[name]) == "table" and not json.is_array(body[name]) then
      out[name] = body[name]
    end
  end
  out.transcript = M.lines(body.transcript)
  return out
end

---The lines of a transcript that are well formed.
function M.lines(list)
  local out = json.array()
  for _, line in ipairs(type(list) == "table" and list or {}) do
    if type(line) == "table" and type(line.text) == "string" and #out < LINES_MAX then
      out[#out + 1] = {
        role = type(line.role) == "string" and line.role or "customer", text = line.text,
        start_ms = type(line.start_ms) == "number" and line.start_ms or nil,
      }
    end
  end
  return out
end

---(waits) A caller is put into the queue.
---@return table? answer {status, call_id, position?}, api.error? err
function M.enqueue(app, body)
  local handoff, err = M.read(body)
  if not handoff then
    return nil, err
  end
  local call, created = desk.enqueue(app, handoff)
  if not call then
    return nil, errors.of_store(created)
  end
  if created then
    summary.begin(app, call)
  end
  if states.is_finished(call.state) then
    return { status = "ended", call_id = call._id }
  end
  local queue
  queue, err = desk.queue(app)
  if not queue then
    return nil, errors.of_store(err)
  end
  return { status = "queued", call_id = call._id, position = desk.position(queue, call._id) }
end

-- What names one message: its number, or what it says.
local function mark_of(body, raw)
  local seq = body.seq
  return type(seq) == "number" and ("%.0f"):format(seq)
    or cxb.crypto.hex(cxb.crypto.sha256(raw)):sub(1, 24)
end

-- (waits) Changes the call by a message that has not been taken yet: `change(call)` gives
-- operations. A message is marked in the same update.
local function once(ctx, kind, change)
  local mark = kind .. ":" .. mark_of(ctx.body, ctx.raw)
  local fresh = false
  local call, err = desk.change(ctx.app, ctx.params.id, function(found)
    fresh = false
    for _, seen in ipairs(found.seen or {}) do
      if seen == mark then
        return nil
      end
    end
    fresh = true
    local ops = change(found)
    local seen = { unpack(found.seen or {}, math.max(1, #(found.seen or {}) - SEEN_MAX + 2)) }
    seen[#seen + 1] = mark
    ops.set = ops.set or {}
    ops.set.seen = seen
    return ops
  end)
  return call, err, fresh
end

local function answer(call, err, fresh)
  if not call then
    return nil, err
  end
  return { status = "ok", state = call.state, duplicate = not fresh }
end

---(waits) The caller has gone.
function M.customer_left(app, id)
  local call, err = desk.step(app, id, "customer_left", function()
    return { customer_left_at = cxb.time.now() }
  end)
  if not call and err.code == "invalid_state" then
    call, err = desk.get(app, id)
    return call, err, false
  end
  return call, err, call ~= nil
end

function M.customer_disconnected(ctx)
  return answer(M.customer_left(ctx.app, ctx.params.id))
end

---(waits) Something happened to the call.
function M.event(ctx)
  local kind = ctx.body.type
  if type(kind) ~= "string" or kind == "" then
    return nil, errors.invalid({ { path = "type", rule = "required", message = "is required" } })
  end
  return answer(once(ctx, "event", function(call)
    if #(call.events or {}) >= EVENTS_MAX then
      return {}
    end
    return { push = { events = { at = cxb.time.now(), type = kind:sub(1, 64),
      data = type(ctx.body.data) == "table" and ctx.body.data or nil } } }
  end))
end

---(waits) Lines of the conversation between caller and agent.
function M.transcript(ctx)
  local app, lines = ctx.app, M.lines(ctx.body.transcript or ctx.body.lines)
  local call, err, fresh = once(ctx, "transcript", function(found)
    local all = json.array({ unpack(found.transcript or {}) })
    for _, line in ipairs(lines) do
      if #all < LINES_MAX then
        all[#all + 1] = line
      end
    end
    return { set = { transcript = all } }
  end)
  if call and fresh then
    for _, line in ipairs(lines) do
      app.events:publish("call:" .. call._id, "transcript", line)
      assist.hear(app, call, line)
    end
  end
  return answer(call, err, fresh)
end

---(waits) Where the recording of the agent's part is.
function M.recording(ctx)
  local key, url = ctx.body.recording_key, ctx.body.recording_url
  return answer(once(ctx, "recording", function()
    return { set = { recording_key = type(key) == "string" and key or nil,
      recording_url = type(url) == "string" and url or nil } }
  end))
end

-- (waits) The unfinished call of a room.
local function of_room(app, room)
  local found = desk.unfinished(app, { room = room })
  return found and found[1]
end

local function in_a_room(app, call, joined, participant)
  local role, id = (participant.identity or ""):match("^(%a+)%-(.+)$")
  if role == "agent" then
    people.out_of_room(app, call._id, id, not joined)
    if joined then
      people.in_room(app, call._id, id)
    end
  elseif role == "supervisor" and not joined then
    supervision.left(app, call._id, id)
  elseif not joined and media.is_caller(participant) then
    M.customer_left(app, call._id)
  end
end

---(waits) A webhook of LiveKit: who comes and goes in the rooms of the desk.
---@param event table as LiveKit sends it
function M.hear(app, event)
  local joined = event.event == "participant_joined"
  local room = type(event.room) == "table" and event.room.name
  if (joined or event.event == "participant_left") and type(room) == "string"
    and type(event.participant) == "table" then
    local call = of_room(app, room)
    if call then
      in_a_room(app, call, joined, event.participant)
    end
  end
end

webhook.listeners[#webhook.listeners + 1] = M.hear

return M
