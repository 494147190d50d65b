-- The outline of a recording for the player (api.md §5.9): made once while its bytes pass by, kept
-- as a file under {state}/peaks until the recording is erased.
local errors = require("services.web.errors")

local M = {}

local LONGEST_MS, STALL_MS = 600000, 30000

local function short_hash(...)
  return cxb.crypto.hex(cxb.crypto.sha256(table.concat({ ... }, "\n"))):sub(1, 40)
end

-- The folder of a call's outlines: an id of a migrated call may be any text.
local function folder_of(app, call)
  return ("%s/peaks/%s"):format(app.settings.CXB_STATE_DIR, short_hash(call._id))
end

local function path_of(app, call, source, points)
  return ("%s/%s.json"):format(folder_of(app, call),
    short_hash(source.url or source.path, source.etag, points))
end

-- (waits)
local function of_url(source, points)
  local peaks, bad = cxb.media.peaks(points, source.size), nil
  local answer, code = cxb.http.request({
    url = source.url, headers = source.headers, s3 = source.s3, timeout_ms = LONGEST_MS,
    stall_ms = STALL_MS,
    on_data = function(piece)
      local ok
      ok, bad = peaks:push(piece)
      return ok ~= nil
    end,
  })
  if bad then
    return nil, bad
  elseif not answer or answer.status ~= 200 then
    return nil, code or "status"
  end
  return peaks:done()
end

---(waits)
---@param call table as stored
---@param source table of recording_store.find()
---@param points integer
---@return string? json, api.error? err 422 unsupported_recording, 502
function M.get(app, call, source, points)
  local path = path_of(app, call, source, points)
  local kept = cxb.fs.read(path)
  if kept then
    return kept
  end
  local json, code
  if source.path then
    json, code = cxb.media.peaks_of_file(source.path, points)
  else
    json, code = of_url(source, points)
  end
  if not json then
    if code == "unsupported" then
      return nil, errors.new(422, "unsupported_recording", "The recording is no WAV of 16 bits.")
    end
    return nil, errors.new(502, "upstream_failed", "The recording could not be read.")
  end
  local ok, _, message = cxb.fs.write(path, json)
  if not ok then
    cxb.log.warn("an outline is not kept", { error = message })
  end
  return json
end

---(waits) Forgets a call's outlines.
---@return true?, string? why
function M.erase(app, call)
  local folder = folder_of(app, call)
  local names = cxb.fs.list(folder)
  for _, name in ipairs(names or {}) do
    local ok, code, message = cxb.fs.remove(folder .. "/" .. name)
    if not ok and code ~= "not_found" then
      return nil, message or code
    end
  end
  if names then
    cxb.fs.remove(folder)
  end
  return true
end

return M
