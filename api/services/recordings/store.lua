-- Where the recording of a call is (api.md §5.9): the object store of the settings, else the local
-- folder, else a host of the fleet. A source is a file {path}, or what is asked for by HTTP:
-- {url, headers, s3?, size, etag}.
local channel = require("cxb.channel")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local peaks = require("services.recordings.peaks")
local system_settings = require("services.system.settings")
local url = require("cxb.url")

local M = {}

local HEAD_MS = 5000
local NO_BODY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" -- its SHA-256

---The key that a URL stands for: the last part of its path.
---@param address? string
---@return string?
function M.key_of_url(address)
  return (address or ""):gsub("[?#].*", ""):match("([^/]+)$")
end

---The key of a call's recording; nil when there is none or it is no plain path.
---@return string?
function M.key(call)
  local key = call.recording_key or M.key_of_url(call.recording_url) or ""
  if key == "" or key:find("[%c\\]") or ("/" .. key .. "/"):find("/%.*/") then
    return nil
  end
  return key
end

local function local_path(app, key)
  return app.recordings_dir .. "/" .. key:gsub("^recordings/", "")
end

local function escaped(key)
  return (key:gsub("[^/]+", url.escape))
end

---(waits) The object store's way to a key; nil when none is set.
---@return {url: string, headers: table, s3: table}?
function M.object(app, key)
  local settings = system_settings.get(app)
  local minio = settings and settings.minio or {}
  if (minio.access_key or "") == "" or (minio.secret_key or "") == "" then
    return nil
  end
  local base = minio.endpoint:match("^https?://") and minio.endpoint
    or (minio.secure and "https://" or "http://") .. minio.endpoint
  return {
    url = ("%s/%s/%s"):format(base:gsub("/+$", ""), url.escape(minio.bucket), escaped(key)),
    headers = { ["x-amz-content-sha256"] = NO_BODY },
    s3 = {
      region = minio.region, access_key = minio.access_key, secret_key = minio.secret_key,
    },
  }
end

-- (waits) Size and version of what is behind a source; nil and whether the other end failed.
local function look(source)
  local answer, code = cxb.http.request({
    url = source.url, method = "HEAD", headers = source.headers, s3 = source.s3,
    timeout_ms = HEAD_MS,
  })
  if not answer or answer.status ~= 200 then
    return nil, not answer and code or answer.status ~= 404 and tostring(answer.status) or nil
  end
  source.size = tonumber(answer.headers["content-length"])
  source.etag = answer.headers.etag
    or ('"%s-%s"'):format(source.size, (answer.headers["last-modified"] or ""):gsub("%W", ""))
  return source.size and source
end

-- (waits) All hosts at once; the first that has it.
local function on_fleet(app, key)
  local hosts = fleet.hosts(app) or {}
  local found, tasks = channel.new(), {}
  for i, host in ipairs(hosts) do
    tasks[i] = cxb.task.spawn("recording", function()
      found:push(look({
        url = host.base_url .. "/recordings/" .. escaped(key),
        headers = {
          ["x-cxbcore-secret"] = app.secrets.core, ["x-cxb-core-secret"] = app.secrets.core,
        },
      }) or false)
    end)
  end
  local source
  for _ = 1, #hosts do
    source = found:pop() or nil
    if source then
      break
    end
  end
  for _, task in ipairs(tasks) do
    task:cancel()
  end
  return source
end

-- (waits) Asks a host to erase its copy; nil when it has none any more, else what is wrong.
local function erase_on(app, host, key)
  local answer, code = fleet.call(app, host.base_url, "DELETE", "/recordings/" .. escaped(key), nil,
    { timeout_ms = HEAD_MS })
  if not answer then
    return ("%s does not answer (%s)"):format(host.base_url, code)
  elseif answer.status >= 300 and answer.status ~= 404 then
    return ("%s answered %d"):format(host.base_url, answer.status)
  end
end

-- (waits) Asks all hosts at once to erase their copy; true when none has one any more.
local function erase_on_fleet(app, key)
  local hosts = app.cache:healthy() and fleet.hosts(app)
  if not hosts then
    return nil, "the cache is away, so which hosts there are is not known"
  end
  local tasks, wrong = {}, {}
  for i, host in ipairs(hosts) do
    tasks[i] = cxb.task.spawn("erase recording", erase_on, app, host, key)
  end
  for _, task in ipairs(tasks) do
    wrong[#wrong + 1] = task:wait()
  end
  return not wrong[1], table.concat(wrong, ", ")
end

---@return api.error
function M.unavailable()
  return errors.new(503, "object_store_unavailable", "The object store does not answer.",
    { headers = { ["retry-after"] = "5" } })
end

---(waits) Where the recording of a call can be read from.
---@param call table as stored
---@return table? source, api.error? err 404 recording_missing, 503 object_store_unavailable
function M.find(app, call)
  local key = M.key(call)
  if key then
    local there, failed = M.object(app, key), nil
    if there then
      there, failed = look(there)
    end
    if there then
      return there
    end
    local path = local_path(app, key)
    local stat = cxb.fs.stat(path)
    if stat and stat.type == "file" then
      return { path = path, size = stat.size, etag = ("%d-%d"):format(stat.size, stat.mtime) }
    end
    there = on_fleet(app, key)
    if there then
      return there
    elseif failed then
      cxb.log.warn("the object store failed", { error = failed })
      return nil, M.unavailable()
    end
  end
  return nil, errors.new(404, "recording_missing", "There is no recording of this call here.")
end

-- (waits) Takes a key out of the object store, if there is one; nil, else what is wrong.
local function erase_object(app, key)
  local there = M.object(app, key)
  if not there then
    return nil
  end
  local answer, code = cxb.http.request({
    url = there.url, method = "DELETE", headers = there.headers, s3 = there.s3,
    timeout_ms = HEAD_MS,
  })
  if not answer then
    return ("the object store does not answer (%s)"):format(code)
  elseif answer.status >= 300 and answer.status ~= 404 then
    return ("the object store answered %d"):format(answer.status)
  end
end

---(waits) Erases what one host has of a recording, and has uploaded of it.
---@param base_url string of the host
---@return boolean gone, string? why
function M.remove_copy(app, base_url, key)
  local wrong = erase_on(app, { base_url = base_url }, key) or erase_object(app, key)
  return not wrong, wrong
end

---(waits) Erases the recording of a call wherever it is: on the hosts that are there, in the object
---store, in the local folder.
---@return true?, string? why, string? code of an answer
function M.remove(app, call)
  local key = M.key(call)
  if not key then
    return true
  end
  local clear, failed = erase_on_fleet(app, key)
  if not clear then
    return nil, failed, "fleet_unavailable"
  end
  failed = erase_object(app, key)
  if failed then
    return nil, failed, "object_store_unavailable"
  end
  local removed, code, message = cxb.fs.remove(local_path(app, key))
  if not removed and code ~= "not_found" then
    return nil, message or code, "object_store_unavailable"
  end
  local forgotten, why = peaks.erase(app, call)
  return forgotten, why, "object_store_unavailable"
end

return M
