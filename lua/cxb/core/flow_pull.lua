-- The host follows the API's flows (api.md §5.5): the worker that registers it fetches a new
-- bundle, puts it in place in one step and has all workers load it; it tells what each one runs.
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local published = require("cxb.core.published")
local registration = require("cxb.core.registration")

local M = {}

local ASK_MS, TIMEOUT_MS, BYTES_MAX = 500, 15000, 64 * 1024 * 1024
local AGAIN_MS = 2000 -- after a failure

local busy, again_at, problem = false, 0, nil
local states = {} -- by worker: {pid, generation, revision, error}

-- (waits) The published files of the API.
local function fetch(c, revision)
  local target = ("%s/flows/bundle?revision=%d"):format(c.api, revision)
  local answer, code, message = cxb.http.request({
    url = target, timeout_ms = TIMEOUT_MS, max_body = BYTES_MAX,
    headers = outgoing.headers(c, target, { accept = "application/json" }),
  })
  local bundle = answer and answer.status == 200 and json.decode_object(answer.body)
  if not bundle then
    return nil, ("the bundle was not to be had: %s"):format(message or code
      or ("status %d"):format(answer.status))
  elseif type(bundle.revision) ~= "number" or type(bundle.files) ~= "table" then
    return nil, "the bundle is none"
  end
  return bundle
end

local function write(path, text)
  local ok, code, message = cxb.fs.write(path, text, { mode = 416 }) -- 0640
  if not ok then
    return nil, ("%s: %s"):format(path, message or code)
  end
  return true
end

-- (waits) Files first, in a folder of their own; then the file that names it.
local function put(c, bundle)
  local folder = ("r%d-%s"):format(bundle.revision, cxb.crypto.hex(cxb.crypto.random(4)))
  local base = published.folder(c)
  local manifest = { revision = bundle.revision, folder = folder, files = json.array() }
  for i, file in ipairs(bundle.files) do
    if type(file.content) ~= "string" or not tostring(file.path):match("^[%w_]+%.lua$") then
      return nil, "the bundle holds something that is no flow"
    elseif cxb.crypto.hex(cxb.crypto.sha256(file.content)) ~= file.sha256 then
      return nil, ("%s came with other bytes than were published"):format(file.path)
    end
    local ok, why = write(("%s/%s/%s"):format(base, folder, file.path), file.content)
    if not ok then
      return nil, why
    end
    manifest.files[i] = { path = file.path, sha256 = file.sha256 }
  end
  local before = published.manifest(c)
  if before then
    local ok, why = write(base .. "/previous", json.encode(before))
    if not ok then
      return nil, why
    end
  end
  local ok, why = write(base .. "/current", json.encode(manifest))
  return ok, why, before, folder
end

-- Folders of revisions that nobody can want any more.
local function clean(c, keep)
  local base = published.folder(c)
  for _, name in ipairs(cxb.fs.list(base) or {}) do
    if name:match("^r%d+%-%x+$") and not keep[name] then
      for _, file in ipairs(cxb.fs.list(base .. "/" .. name) or {}) do
        cxb.fs.remove(("%s/%s/%s"):format(base, name, file))
      end
      cxb.fs.remove(base .. "/" .. name)
    end
  end
end

local function reload_all()
  for _, row in ipairs(cxb.scoreboard.rows()) do
    if row.live and row.pid then
      cxb.process.kill(row.pid, "HUP")
    end
  end
end

local function pull(c, revision)
  local bundle, why = fetch(c, revision)
  local ok, before, folder
  if bundle then
    ok, why, before, folder = put(c, bundle)
  end
  problem = not ok and why or nil
  if not ok then
    again_at = cxb.time.mono() + AGAIN_MS
    cxb.log.error("flows were not taken", { revision = revision, error = why })
    return
  end
  cxb.log.info("flows are taken", { revision = bundle.revision, flows = #bundle.files })
  clean(c, { [folder] = true, [before and before.folder or ""] = true })
  reload_all()
end

-- What the API wants this host to run.
local function obey(c, desired)
  local wanted = desired.flows_revision
  if type(wanted) ~= "number" or busy or cxb.time.mono() < again_at then
    return
  end
  busy = true
  cxb.task.spawn("flows", function()
    local manifest = published.manifest(c)
    if wanted ~= (manifest and manifest.revision or 0) then
      local ok, why = pcall(pull, c, wanted)
      if not ok then
        cxb.log.error("flows were not taken", { error = tostring(why) })
      end
    end
    busy = false
  end)
end

-- (waits) Asks the workers that may have loaded something else since.
local function look(c)
  local manifest = published.manifest(c)
  local wanted = manifest and manifest.revision or 0
  for _, row in ipairs(cxb.scoreboard.rows()) do
    local known = states[row.id]
    local same = known and known.pid == row.pid and known.generation == row.generation
    if row.live and not (same and known.revision == wanted) then
      local answer = cxb.process.control(("%s/ctl/core-%d.sock"):format(c.CXB_RUN_DIR, row.id),
        { verb = "flows" }, 2000)
      if answer and type(answer.revision) == "number" then
        states[row.id] = { pid = row.pid, generation = row.generation,
          revision = answer.revision, error = answer.error }
      end
    end
  end
  M.wanted = wanted
end

local function report(_, body)
  body.flows_revision = M.wanted or 0
  body.flows_error = problem
  for _, worker in ipairs(body.workers) do
    local state = states[tonumber(worker.id)]
    if state and state.pid == worker.pid then
      worker.flows_revision, worker.flows_error = state.revision, state.error
      body.flows_error = body.flows_error or state.error
    end
  end
end

registration.report[#registration.report + 1] = report
registration.obey[#registration.obey + 1] = obey

---From now on this worker looks what the others run, if it registers the host.
---@param c table settings
function M.begin(c)
  cxb.task.every(ASK_MS, "flows", function()
    if registration.holds() then
      look(c)
    end
  end)
end

return M
