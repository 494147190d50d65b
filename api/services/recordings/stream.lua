-- Sends a recording by ranges, whatever its source, at the pace of who listens (api.md §5.9).
local errors = require("services.web.errors")
local recording_store = require("services.recordings.store")

local M = {}

local LONGEST_MS, STALL_MS = 2 * 3600 * 1000, 30000

local types = { wav = "audio/wav", mp3 = "audio/mpeg", ogg = "audio/ogg", m4a = "audio/mp4" }

local function base_headers(ctx, source, more)
  local name = source.path or source.url
  local headers = {
    ["content-type"] = types[name:match("%.(%w+)$")] or "audio/wav",
    ["content-disposition"] = "inline", ["cache-control"] = "private, no-cache",
    ["x-content-type-options"] = "nosniff", ["x-request-id"] = ctx.request_id,
  }
  for _, others in ipairs({ ctx.headers, more or {} }) do
    for key, value in pairs(others) do
      headers[key] = value
    end
  end
  return headers
end

-- First and last byte of the one range asked for; nil: the whole; false: there is no such range.
local function range_of(text, size)
  local from, to = (text or ""):match("^bytes=(%d*)%-(%d*)$")
  if not from or (from == "" and to == "") then
    return nil
  elseif from == "" then
    local count = tonumber(to)
    return count > 0 and size > 0 and { math.max(0, size - count), size - 1 }
  end
  from, to = tonumber(from), math.min(tonumber(to) or math.huge, size - 1)
  return from <= to and { from, to }
end

---What to answer to a request for something of this size and version.
---@param headers table<string, string> of the request
---@return integer status, {[1]: integer, [2]: integer}? span
function M.judge(headers, size, etag)
  local known = headers["if-none-match"]
  if known and (known == "*" or known:find(etag, 1, true)) then
    return 304
  end
  local same = not headers["if-range"] or headers["if-range"] == etag
  local span = nil
  if same then
    span = range_of(headers.range, size)
  end
  if span == false then
    return 416
  end
  return span and 206 or 200, span or { 0, size - 1 }
end

-- (waits) The bytes of a span go from the source to who asked.
local function pump(ctx, source, status, span, headers)
  local whole = span[1] == 0 and span[2] == source.size - 1
  local asked = { range = not whole and ("bytes=%d-%d"):format(span[1], span[2]) or nil }
  for name, value in pairs(source.headers) do
    asked[name] = value
  end
  local expected, started, gone, got = whole and 200 or 206, false, false, nil
  local answer, code = cxb.http.request({
    url = source.url, headers = asked, s3 = source.s3, timeout_ms = LONGEST_MS,
    stall_ms = STALL_MS,
    on_answer = function(found)
      got = found
    end,
    on_data = function(piece)
      if got ~= expected then
        return false
      elseif not started then
        started = true
        ctx.req:start(status, headers)
      end
      gone = not ctx.req:write(piece)
      return not gone
    end,
  })
  if answer and started then
    ctx.req:finish()
  elseif not started and source.s3 and (not got or got >= 500) then
    return nil, recording_store.unavailable()
  elseif not started then
    return nil, errors.new(502, "upstream_failed", "The recording's store did not send it.")
  elseif not gone then
    cxb.log.warn("a recording ended short", { error = code })
  end
  return "answered"
end

---(waits) Answers GET and HEAD with the audio.
---@param source table of recording_store.find()
---@param more? table<string, string> headers
---@return "answered"?, api.error? err
function M.send(ctx, source, more)
  local headers = base_headers(ctx, source, more)
  if source.path then
    local sent, code = ctx.req:send_file(source.path, headers)
    if not sent and code == "not_found" then
      return nil, errors.new(404, "recording_missing", "There is no recording of this call here.")
    end
    return "answered"
  end
  local status, span = M.judge(ctx.req.headers, source.size, source.etag)
  headers.etag, headers["accept-ranges"] = source.etag, "bytes"
  ctx.status = status
  if status == 416 then
    headers["content-range"] = "bytes */" .. source.size
    ctx.req:respond(416, "", headers)
    return "answered"
  elseif status == 304 then
    ctx.req:respond(304, "", headers)
    return "answered"
  elseif status == 206 then
    headers["content-range"] = ("bytes %d-%d/%d"):format(span[1], span[2], source.size)
  end
  headers["content-length"] = ("%d"):format(span[2] - span[1] + 1)
  if ctx.req.method == "HEAD" or source.size == 0 then
    ctx.req:start(status, headers)
    ctx.req:finish()
    return "answered"
  end
  return pump(ctx, source, status, span, headers)
end

return M
