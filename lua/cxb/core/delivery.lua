-- Results and recordings leave through the outbox; results without an address go into a folder of
-- files. The call's slot is held until the outbox has them on disk.
local disk = require("cxb.core.disk")
local outboxes = require("cxb.core.outboxes")
local outgoing = require("cxb.core.outgoing")
local recordings = require("cxb.core.recordings")
local result = require("cxb.result")

local M = {}

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
  local row = { kind = "result", session_id = session_id, url = target, body = body }
  local answer = cxb.http.request({
    url = target, method = "POST", body = body, timeout_ms = 15000,
    headers = outgoing.delivery(c, row),
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
  local id, code, message = outboxes.box:put({
    kind = "result", session_id = M.key(facts.fields), url = target, body = body, work = work,
  })
  if id or code == "duplicate" then
    return true, code
  end
  return nil, code, message
end

-- The recording's file; nil when there is none.
local function recording_file(c, f)
  local path = f.recording_key and recordings.path(c, f.recording_key)
  return path and cxb.fs.stat(path) and path
end

---(waits, as long as it takes) Commits the upload of a call's recording, where there is a store.
function M.upload(c, facts)
  local f = facts.fields
  local path = c.s3 and recording_file(c, f)
  while path do
    local id, code, message = outboxes.box:put({ kind = "upload", session_id = M.key(f),
      url = recordings.url(c, f.recording_key), file = path, body = "" })
    if id or code == "duplicate" or code == "invalid" then
      return
    end
    cxb.log.error("the upload cannot be stored", { code = code, error = message })
    disk.refuses(true)
    cxb.time.sleep(1000)
  end
end

local function commit(c, facts, work)
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

---(waits, as long as it takes) Commits the result of a finished record, and the upload of its
---recording. While the disk refuses it the worker takes no call, and delivery is tried directly.
---@param c table settings
---@param facts table cxb.record, finished
---@param work? string what has to be done before it is sent (box:claim_analysis() finds it)
---@return string how "stored" | "duplicate" | "delivered"
function M.commit(c, facts, work)
  local how = commit(c, facts, work)
  M.upload(c, facts)
  return how
end

return M
