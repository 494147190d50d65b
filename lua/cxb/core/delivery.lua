-- Results leave through here: the outbox when there is an address, a file when there is none. The
-- call's slot is held until one of them has it on disk.
local json = require("cxb.json")
local result = require("cxb.result")
local url = require("cxb.url")

local M = {}

local function headers(c)
  return function(row)
    local h = {
      ["content-type"] = "application/json", ["user-agent"] = "cxbrt/" .. cxb.version,
      ["idempotency-key"] = row.kind .. ":" .. row.session_id,
    }
    if c.CXBCORE_SECRET then
      h["x-cxb-core-secret"] = c.CXBCORE_SECRET
    end
    return h
  end
end

---(waits) Opens this worker's outbox. nil, message when it cannot be.
function M.open(c)
  local path = ("%s/outbox-%d.db"):format(c.CXB_STATE_DIR, c.worker)
  local box, code, message = cxb.outbox.open(path, { headers = headers(c), retain_days = 7 })
  if not box then
    return nil, ("outbox %s: %s"):format(path, message or code)
  end
  M.box = box
  return box
end

-- Where a call's result goes; nil: a file.
local function address(c, facts)
  local f = facts.fields
  if f.webhook_url and f.webhook_url ~= "" then
    return f.webhook_url
  end
  return f.results_url or c.CXB_RESULTS_URL
end

local function to_file(c, facts, body)
  local f = facts.fields
  local day = cxb.time.iso(facts.times.started):sub(1, 10):gsub("-", "/")
  local name = f.session_id:gsub("[^%w._-]", "_")
  return cxb.fs.write(("%s/results/%s/%s.json"):format(c.CXB_STATE_DIR, day, name), body,
    { mode = 416 }) -- 0640
end

local function deliver_now(c, target, session_id, body)
  local answer = cxb.http.request({
    url = target, method = "POST", body = body, timeout_ms = 15000, secrets = c.secrets,
    headers = headers(c)({ kind = "result", session_id = session_id }),
  })
  return answer and answer.status >= 200 and answer.status < 300
end

local function put(c, facts, body)
  local target = address(c, facts)
  if not target then
    return to_file(c, facts, body)
  end
  local id, code, message = M.box:put({
    kind = "result", session_id = facts.fields.session_id, url = target, body = body,
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
---@return string how "stored" | "duplicate" | "delivered"
function M.commit(c, facts)
  local body = result.build(facts)
  local wait = 500
  while true do
    local ok, code, message = put(c, facts, body)
    if ok then
      cxb.slot.block(nil)
      return code == "duplicate" and "duplicate" or "stored"
    end
    cxb.log.error("the result cannot be stored", { code = code, error = message })
    cxb.slot.block("storage_full")
    local target = address(c, facts)
    if target and deliver_now(c, target, facts.fields.session_id, body) then
      cxb.slot.block(nil)
      return "delivered"
    end
    cxb.time.sleep(wait)
    wait = math.min(wait * 2, 5000)
  end
end

---GET /outbox items of this worker.
function M.list(query)
  local q = url.parse_query(query)
  local items = M.box:list(q.state, tonumber(q.limit) or 100)
  return json.encode({ items = json.array(items) })
end

return M
