-- The outline of a recording for the player (api.md §5.9): made once while its bytes pass by, kept
-- as a file under {state}/peaks.
local errors = require("services.web.errors")

local M = {}

local LONGEST_MS, STALL_MS = 600000, 30000

local function path_of(app, call, source, points)
  local name = table.concat({ call._id, source.url or source.path, source.etag, points }, "\n")
  return ("%s/peaks/%s.json"):format(app.settings.CXB_STATE_DIR,
    cxb.crypto.hex(cxb.crypto.sha256(name)):sub(1, 40))
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

return M
