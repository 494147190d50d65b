-- Flows that were published in the API, as a host keeps them (api.md §5.5): below CXB_FLOWS_DIR, or
-- CXB_STATE_DIR/flows, a folder a revision, and the file `current` that names the one that counts
-- and what must be in it. They go before the flows of the installation and run in an environment
-- of their own.
local draft = require("cxb.core.draft")
local json = require("cxb.json")
local lint = require("cxb.core.lint")

local M = {
  ---The revision this generation runs; 0: nothing was published.
  revision = 0,
}

local seen -- the revision that `current` named when it was loaded, or did not load

---@return string
function M.folder(c)
  return c.CXB_FLOWS_DIR and c.CXB_FLOWS_DIR .. "/.published" or c.CXB_STATE_DIR .. "/flows"
end

---(waits) What a host is to run: {revision, folder, files = {{path, sha256}}}; nil: nothing yet.
---@param which? string "current" or "previous"
function M.manifest(c, which)
  local text = cxb.fs.read(("%s/%s"):format(M.folder(c), which or "current"))
  local manifest = text and json.decode_object(text)
  return manifest and type(manifest.revision) == "number" and type(manifest.files) == "table"
    and manifest or nil
end

local function load_one(path, name, sha256)
  local source, code, message = cxb.fs.read(path)
  if not source then
    return nil, ("%s: %s"):format(path, message or code)
  elseif cxb.crypto.hex(cxb.crypto.sha256(source)) ~= sha256 then
    return nil, path .. ": its bytes are not those that were published"
  end
  local title = ("flows/%s.lua"):format(name)
  local chunk, why = loadstring(source, "@" .. title)
  local wrong = chunk and lint.check(chunk, draft.environment())
  if wrong then
    return nil, ("%s:%d: %s"):format(title, wrong.line, wrong.message)
  elseif not chunk then
    return nil, why
  end
  return draft.load(source, title)
end

local function load_manifest(c, manifest)
  local flows = {}
  for _, file in ipairs(manifest.files) do
    local name = tostring(file.path):match("^([a-z][a-z0-9_]*)%.lua$")
    if not name then
      return nil, ("%q is no flow's file"):format(tostring(file.path))
    end
    local why
    flows[name], why = load_one(("%s/%s/%s"):format(M.folder(c), manifest.folder, file.path), name,
      file.sha256)
    if not flows[name] then
      return nil, why
    end
  end
  return flows
end

---(waits) The published flows of this host. A worker that starts with some that do not load runs
---those of the revision before, or none, rather than take no call; a reload is refused by them.
---@return table<string, fun(call: table)>? flows, string? why
function M.load(c)
  local why
  for _, which in ipairs(cxb.generation == 1 and { "current", "previous" } or { "current" }) do
    local manifest = M.manifest(c, which)
    if which == "current" then
      seen = manifest and manifest.revision
    end
    local flows, problem = nil, nil
    if manifest then
      flows, problem = load_manifest(c, manifest)
    end
    if flows then
      M.revision, M.problem = manifest.revision, why
      return flows
    end
    why = why or problem
  end
  if why and cxb.generation > 1 then
    return nil, why
  elseif why then
    cxb.log.error("published flows do not load", { error = why })
  end
  M.revision, M.problem = 0, why
  return {}
end

---(waits) Takes what was put in place while this worker started: it hears no HUP before it serves.
function M.catch_up(c)
  local manifest = cxb.generation == 1 and M.manifest(c)
  if manifest and manifest.revision ~= seen then
    cxb.process.kill(cxb.process.pid, "HUP")
  end
end

---What this worker says of its flows, for the host's report.
function M.state()
  local reload, why = cxb.process.reload_state()
  return { revision = M.revision, error = reload == "failed" and why or M.problem }
end

return M
