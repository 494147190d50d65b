-- Results leave through the outbox; where there is no address they go into a folder of files. The
-- call's slot is held until the outbox has it on disk.
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local result = require("cxb.result")
local url = require("cxb.url")
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

---(waits) Opens this worker's outbox. nil, message when it cannot be.
function M.open(c)
  local path = ("%s/outbox-%d.db"):format(c.CXB_STATE_DIR, c.worker)
  local box, code, message = cxb.outbox.open(path, {
    retain_days = 7,
    headers = function(row)
      return M.headers(c, row)
    end,
  })
  if not box then
    return nil, ("outbox %s: %s"):format(path, message or code)
  end
  M.box = box
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

-- A session that cannot be a key goes by its call's name.
local function key(f)
  local usable = #f.session_id > 0 and #f.session_id <= 200 and not f.session_id:find("%c")
  return usable and f.session_id or "core-" .. f.call_id
end

local function put(target, facts, body, work)
  local id, code, message = M.box:put({
    kind = "result", session_id = key(facts.fields), url = target, body = body, work = work,
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
      cxb.slot.block(nil)
      return code == "duplicate" and "duplicate" or "stored"
    end
    cxb.log.error("the result cannot be stored", { code = code, error = message })
    if code == "invalid" and target ~= folder(c) then
      target = folder(c) -- no address can be sent to
    else
      cxb.slot.block("storage_full")
      if deliver_now(c, target, key(facts.fields), body) then
        cxb.slot.block(nil)
        return "delivered"
      end
      cxb.time.sleep(wait)
      wait = math.min(wait * 2, 5000)
    end
  end
end

---GET /outbox items of this worker.
function M.list(query)
  local q = url.parse_query(query)
  local items = M.box:list(q.state, tonumber(q.limit) or 100)
  return json.encode({ items = json.array(items) })
end

return M
