-- What one worker does for the whole host: tickets that are good once, verbs of the control socket,
-- and questions that any worker answers by asking the one concerned.
local adoption = require("cxb.core.adoption")
local json = require("cxb.json")
local outboxes = require("cxb.core.outboxes")
local published = require("cxb.core.published")

local M = {}

-- Of a body, over the control socket.
local shown_bytes = 1024 * 1024

local function socket(c, id)
  return ("%s/ctl/core-%d.sock"):format(c.CXB_RUN_DIR, id)
end

local function ask(c, id, message)
  return cxb.process.control(socket(c, id), message, 2000)
end

---(waits) Marks a ticket as used, for all workers of the host: nil when it was used before.
---@return boolean?
function M.take_ticket(c, jti)
  local dir = c.CXB_RUN_DIR .. "/tickets"
  local now = cxb.time.now()
  for _, name in ipairs(cxb.fs.list(dir) or {}) do
    local stat = cxb.fs.stat(dir .. "/" .. name)
    if stat and now - stat.mtime > 120000 then
      cxb.fs.remove(dir .. "/" .. name)
    end
  end
  local name = cxb.crypto.hex(cxb.crypto.sha256(jti)):sub(1, 32)
  return cxb.fs.write(dir .. "/" .. name, "", { exclusive = true })
end

---(waits) Asks a worker for the outbox of this one, should it look after it.
function M.ask_for_outbox(c, worker)
  ask(c, worker, { verb = "outbox_return", worker = c.worker })
end

---(waits) Undelivered rows of all workers; an id is "<worker>-<row>".
---@return string body
function M.outbox(c, state, limit)
  local items = json.array()
  limit = math.min(math.max(limit or 100, 1), 1000)
  for _, row in ipairs(cxb.scoreboard.rows()) do
    if row.live and #items < limit then
      local answer = ask(c, row.id, { verb = "outbox", state = state, limit = limit - #items })
      for _, item in ipairs(answer and answer.items or {}) do
        items[#items + 1] = item
      end
    end
  end
  return json.encode({ items = items })
end

---(waits) A row is due now, whichever worker holds it.
---@return boolean
function M.replay(c, id)
  for _, row in ipairs(cxb.scoreboard.rows()) do
    local answer = row.live and ask(c, row.id, { verb = "outbox_retry", id = id })
    if answer and answer.ok == true then
      return true
    end
  end
  return false
end

-- "<worker>-<row>" of an outbox that is held here.
local function find(id)
  local worker, row = tostring(id):match("^(%d+)%-(%d+)$")
  return outboxes.boxes[tonumber(worker)], tonumber(row)
end

-- The live row of a session's worker.
local function row_of(session_id)
  for _, row in ipairs(cxb.scoreboard.rows()) do
    if row.live and row.calls > 0 and row.session_id == session_id then
      return row
    end
  end
end

---(waits) Ends the call of a session on whatever worker it is.
---@return boolean
function M.hangup(c, session_id)
  local row = row_of(session_id)
  local answer = row and ask(c, row.id, { verb = "hangup", session_id = session_id })
  return answer ~= nil and answer.ok == true
end

---(waits) Where the worker that carries a session takes WebSockets ("ws+unix:…:", "ws://…").
---@return string?
function M.address_of(c, session_id)
  local row = row_of(session_id)
  if not row or row.id == c.worker then
    return nil
  end
  local status = ask(c, row.id, { verb = "status" })
  local listen = status and status.listen or ""
  local path = listen:match("^unix:(.*)$")
  return path and ("ws+unix:%s:"):format(path) or listen:match("^tcp:") and "ws://" .. listen:sub(5)
end

---Verbs of this worker's control socket.
function M.verbs(c, calls)
  return {
    status = function()
      local current = calls.current
      if not current and cxb.slot.state().used > 0 then
        return { elsewhere = true } -- a call of an older generation
      end
      return {
        service = "core", worker = tostring(c.worker), listen = c.listen,
        served = cxb.slot.state().served,
        session_id = current and current.session_id or "",
        call_id = current and current.call_id or "",
        rss_kb = cxb.process.rss_kb(), outbox = outboxes.stats(),
      }
    end,
    flows = function()
      return published.state()
    end,
    hangup = function(args)
      local current = calls.current
      if not current or current.session_id ~= args.session_id then
        return { ok = false, error = "not_found", elsewhere = true }
      end
      current.leg:post({ type = "hangup_requested" })
      return { ok = true, status = "ending" }
    end,
    outbox = function(args)
      return { ok = true, items = outboxes.list(args.state, args.limit or 100) }
    end,
    outbox_show = function(args)
      local box, row = find(args.id)
      local body, item = nil, "not_found"
      if box then
        body, item = box:get(row)
      end
      if not body then
        return { ok = false, error = item }
      end
      item.id, item.body, item.bytes = args.id, body:sub(1, shown_bytes), #body
      return { ok = true, item = item }
    end,
    outbox_retry = function(args)
      local box, row = find(args.id)
      local ok, code = nil, "not_found"
      if box then
        ok, code = box:replay(row)
      end
      return { ok = ok == true, error = code }
    end,
    outbox_purge = function()
      local removed = 0
      for _, held in ipairs(outboxes.held()) do
        removed = removed + (held.box:purge() or 0)
      end
      return { ok = true, removed = removed }
    end,
    outbox_return = function(args)
      local ok = adoption.give_back(args.worker)
      return { ok = ok, elsewhere = not ok or nil } -- an older generation may hold it
    end,
  }
end

return M
