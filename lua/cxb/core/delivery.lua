-- Results leave through the outbox; where there is no address they go into a folder of files. The
-- call's slot is held until the outbox has it on disk.
local disk = require("cxb.core.disk")
local outgoing = require("cxb.core.outgoing")
local result = require("cxb.result")
local webhook = require("cxb.webhook")

local M = {}

---What each attempt of a row carries beside its body.
---@param c table settings
---@param row {kind: string, session_id: string, n?: integer, url: string, body: string}
---@return table<string, string>
function M.headers(c, row)
  local key = row.kind .. ":" .. row.session_id
  if row.kind == "event" then
    key = ("%s:%d"):format(key, row.n)
  end
  local h = outgoing.headers(c, row.url, {
    ["content-type"] = "application/json", ["user-agent"] = "cxbrt/" .. cxb.version,
    ["idempotency-key"] = key,
  })
  if c.webhook_keys then
    for name, value in pairs(webhook.sign(c.webhook_keys, key, row.body)) do
      h[name] = value
    end
  end
  return h
end

---Outboxes this process holds, by the worker whose they are: its own and those it looks after.
---@type table<integer, cxb.outbox.box>
M.boxes = {}

---The outbox of this worker.
---@type cxb.outbox.box?
M.box = nil

function M.path(c, worker)
  return ("%s/outbox-%d.db"):format(c.CXB_STATE_DIR, worker)
end

---(waits) Opens the outbox of a worker.
---@param c table settings
---@param worker integer
---@param adopted? boolean its process is gone
---@return cxb.outbox.box?, string? code "busy": another process holds it, string? message
function M.open_box(c, worker, adopted)
  local path = M.path(c, worker)
  local box, code, message = cxb.outbox.open(path, {
    retain_days = 7, adopted = adopted,
    headers = function(row)
      return M.headers(c, row)
    end,
  })
  if not box then
    return nil, code, ("outbox %s: %s"):format(path, message or code)
  end
  M.boxes[worker] = box
  M.box = worker == c.worker and box or M.box
  return box
end

local function folder(c)
  return "file:" .. c.CXB_STATE_DIR .. "/results"
end

local function address(c, facts)
  local f = facts.fields
  if f.webhook_url and f.webhook_url ~= "" then
    return f.webhook_url
  end
  return f.results_url or c.CXB_RESULTS_URL or folder(c)
end

local function deliver_now(c, target, session_id, body)
  local answer = cxb.http.request({
    url = target, method = "POST", body = body, timeout_ms = 15000, secrets = c.secrets,
    headers = M.headers(c, { kind = "result", session_id = session_id, url = target, body = body }),
  })
  return answer and answer.status >= 200 and answer.status < 300
end

---A session that cannot be a key goes by its call's name.
---@param f table fields of a record
---@return string
function M.key(f)
  local usable = #f.session_id > 0 and #f.session_id <= 200 and not f.session_id:find("%c")
  return usable and f.session_id or "core-" .. f.call_id
end

local function put(target, facts, body, work)
  local id, code, message = M.box:put({
    kind = "result", session_id = M.key(facts.fields), url = target, body = body, work = work,
  })
  if id or code == "duplicate" then
    return true, code
  end
  return nil, code, message
end

---(waits, as long as it takes) Commits the result of a finished record. While the disk refuses it
---the worker takes no call, and delivery is tried directly.
---@param c table settings
---@param facts table cxb.record, finished
---@param work? string what has to be done before it is sent (box:claim_analysis() finds it)
---@return string how "stored" | "duplicate" | "delivered"
function M.commit(c, facts, work)
  local body, target = result.build(facts), address(c, facts)
  local wait = 500
  while true do
    local ok, code, message = put(target, facts, body, work)
    if ok then
      disk.refuses(false)
      return code == "duplicate" and "duplicate" or "stored"
    end
    cxb.log.error("the result cannot be stored", { code = code, error = message })
    if code == "invalid" and target ~= folder(c) then
      target = folder(c) -- no address can be sent to
    else
      disk.refuses(true)
      if deliver_now(c, target, M.key(facts.fields), body) then
        return "delivered"
      end
      cxb.time.sleep(wait)
      wait = math.min(wait * 2, 5000)
    end
  end
end

---The outboxes this process holds now: a list, for whoever waits while he walks over it.
---@return {worker: integer, box: cxb.outbox.box}[]
function M.held()
  local list = {}
  for worker, box in pairs(M.boxes) do
    list[#list + 1] = { worker = worker, box = box }
  end
  table.sort(list, function(a, b)
    return a.worker < b.worker
  end)
  return list
end

---Counts of all outboxes this process holds.
---@return table as box:stats()
function M.stats()
  local sum = { analysis = 0, ready = 0, sending = 0, dead = 0, oldest_age_seconds = 0 }
  for _, box in pairs(M.boxes) do
    for name, value in pairs(box:stats()) do
      sum[name] = name == "oldest_age_seconds" and math.max(sum[name], value) or sum[name] + value
    end
  end
  return sum
end

---(waits ≤ ms) Tries what is due once more, before the process ends.
function M.flush(ms)
  local tasks = {}
  for i, held in ipairs(M.held()) do
    tasks[i] = cxb.task.spawn("flush " .. held.worker, function()
      held.box:flush(ms)
    end)
  end
  for _, task in ipairs(tasks) do
    task:wait()
  end
end

---(waits) Rows of all outboxes this process holds; an id is "<worker>-<row>".
---@param state? string
---@param limit integer
---@return table[]
function M.list(state, limit)
  local items = {}
  for _, held in ipairs(M.held()) do
    local rows = limit > #items and held.box:list(state, limit - #items)
    for _, item in ipairs(rows or {}) do
      item.id = ("%d-%d"):format(held.worker, item.id)
      items[#items + 1] = item
    end
  end
  return items
end

return M
