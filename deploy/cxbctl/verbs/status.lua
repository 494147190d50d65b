-- cxbctl status: what runs here, asked of each service over its control socket.

local json = require("cxb.json")
local paths = require("cxbctl.paths")
local pids = require("cxbctl.pids")
local targets = require("cxbctl.targets")

local M = {
  summary = "services, their calls, generations and outboxes",
  example = "cxbctl status --json",
  options = {},
}

local function value(v)
  if v == nil or v == json.null then return nil end
  return v
end

-- Counts of the supervisor, by service.
local function supervised(up)
  local by_name = {}
  for _, record in ipairs(up and up.services or {}) do by_name[record.name] = record end
  return by_name
end

local function row_of(target, record)
  local answer, why = targets.ask(target, { verb = "status" })
  local row = { name = target.name, restarts = record and record.restarts or 0 }
  if not answer then
    row.state, row.error = "unreachable", why
    return row
  end
  row.state = value(answer.draining) and "draining" or "up"
  row.pid = value(answer.pid) or (record and record.pid)
  row.version, row.generation = value(answer.version), value(answer.generation)
  row.reload, row.reload_error = value(answer.reload), value(answer.reload_error)
  row.calls, row.outbox = value(answer.calls), value(answer.outbox)
  row.session_id = value(answer.session_id)
  if row.reload == "failed" then row.state = "up, reload failed" end
  return row
end

local function collect(run_dir, up)
  local records, rows, seen = supervised(up), {}, {}
  for _, target in ipairs(targets.find(run_dir)) do
    rows[#rows + 1] = row_of(target, records[target.name])
    seen[target.name] = true
  end
  for _, record in ipairs(up and up.services or {}) do
    if not seen[record.name] then
      rows[#rows + 1] = { name = record.name, pid = value(record.pid), restarts = record.restarts,
        state = record.pid and pids.alive(record) and "up" or value(record.state) or "down" }
    end
  end
  return rows
end

local function outbox_text(outbox)
  if type(outbox) ~= "table" then return outbox and tostring(outbox) or "" end
  local waiting = (value(outbox.analysis) or 0) + (value(outbox.ready) or 0)
    + (value(outbox.sending) or 0)
  local dead = value(outbox.dead) or 0
  return dead > 0 and ("%d, %d dead"):format(waiting, dead) or tostring(waiting)
end

function M.run(_, _, out)
  local run_dir = paths.run_dir()
  local up = paths.read_up(run_dir)
  if up and not pids.alive(up) then up.orphaned = true end
  local rows = collect(run_dir, up)
  local sound = #rows > 0
  for _, row in ipairs(rows) do
    if row.state ~= "up" and row.state ~= "draining" then sound = false end
  end
  if out.json then
    out:object({ ok = sound, run_dir = run_dir, url = up and up.url, version = cxb.version,
      services = json.array(rows) })
    return sound and 0 or 1
  end
  if #rows == 0 then
    out:fail("nothing runs in " .. run_dir, "cxbctl up")
    return 1
  end
  local table_rows = { { "service", "state", "pid", "calls", "generation", "restarts", "outbox" } }
  for _, row in ipairs(rows) do
    table_rows[#table_rows + 1] = { row.name, row.state, row.pid or "", row.calls or "",
      row.generation or "", row.restarts, outbox_text(row.outbox) }
  end
  if up then out:say(up.url .. (up.orphaned and "  (supervisor gone: cxbctl down)" or "")) end
  out:columns(table_rows)
  for _, row in ipairs(rows) do
    local why = row.error or (row.reload == "failed" and row.reload_error)
    if why then out:say(out:paint("red", row.name .. ": " .. why)) end
  end
  return sound and 0 or 1
end

return M
