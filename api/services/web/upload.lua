-- Uploads (api.md §4): a multipart field or a raw body, streamed to a temporary file of ours. A
-- client that lies about its length, sends too much or leaves has left nothing behind; the file
-- goes when the request has been answered. Names of clients are shown, never used.
local errors = require("services.web.errors")
local multipart = require("services.web.multipart")

local M = {}

local DEADLINE_MS = 600000
local STALE_MS = 900000 -- what a killed process has left
local ENVELOPE = 65536 -- boundaries, headers and other fields around a file

local function too_large(max)
  return errors.new(413, "body_too_large", ("At most %d bytes."):format(max),
    { headers = { connection = "close" } })
end

local function folder_of(app)
  return app.settings.CXB_STATE_DIR .. "/uploads"
end

-- Files of requests that ended with their process.
local function sweep(folder)
  for _, name in ipairs(cxb.fs.list(folder) or {}) do
    local found = cxb.fs.stat(folder .. "/" .. name)
    if found and found.mtime < cxb.time.now() - STALE_MS then
      cxb.fs.remove(folder .. "/" .. name)
    end
  end
end

local function open(app)
  local folder = folder_of(app)
  cxb.fs.mkdir(folder, 448)
  sweep(folder)
  local path = folder .. "/" .. cxb.crypto.hex(cxb.crypto.random(16))
  local file, _, message = cxb.fs.spool(path)
  return file, file and path or message
end

---The last part of a client's file name, for people: at most 200 bytes, no control characters.
---@return string?
function M.shown_name(name)
  if not name then
    return nil
  end
  local last = name:gsub("%c", ""):match("([^/\\]*)$"):sub(1, 200)
  return last ~= "" and not require("cxb.utf8").first_bad(last) and last or nil
end

-- Pieces of the body until its end: each to `take`.
local function pump(req, deadline, take)
  while true do
    local piece, code = req:read()
    if not piece then
      if code then
        return nil, errors.new(408, "request_timeout", "The body did not arrive.")
      end
      return true
    end
    if cxb.time.mono() > deadline then
      return nil, errors.new(408, "request_timeout", "The body took too long.",
        { headers = { connection = "close" } })
    end
    local ok, err = take(piece)
    if not ok then
      return nil, err
    end
  end
end

-- A function that writes pieces of the file and counts them.
local function writer(file, upload, max)
  return function(piece)
    upload.bytes = upload.bytes + #piece
    if upload.bytes > max then
      return nil, too_large(max)
    end
    local ok, code, message = file:write(piece)
    if not ok then
      cxb.log.error("upload cannot be kept", { error = message or code })
      return nil, errors.new(503, "storage_unavailable", "The file cannot be kept now.")
    end
    return true
  end
end

local function malformed()
  return errors.new(400, "invalid_multipart", "The body is not well-formed multipart/form-data.")
end

local function missing(field)
  return errors.invalid({ { path = field, rule = "required", message = "is required: a file" } })
end

local function receive(ctx, rule, max, file, upload)
  local req, field = ctx.req, rule.field or "file"
  local deadline = cxb.time.mono() + DEADLINE_MS
  local kind = req.headers["content-type"] or ""
  local take = writer(file, upload, max)
  local boundary = multipart.boundary(kind)
  if not boundary then
    upload.type = kind:match("^[^;%s]+")
    local ok, err = pump(req, deadline, take)
    if ok and upload.bytes == 0 then
      return nil, missing(field)
    end
    return ok, err
  end
  local parts, total = multipart.new(boundary, field, take), 0
  local ok, err = pump(req, deadline, function(piece)
    total = total + #piece
    if total > max + ENVELOPE then
      return nil, too_large(max)
    end
    local fed, why = parts:feed(piece)
    return fed, why == "malformed" and malformed() or why
  end)
  if not ok then
    return nil, err
  end
  local outcome = parts:finish()
  if outcome == "malformed" then
    return nil, malformed()
  elseif outcome == "missing" or upload.bytes == 0 then
    return nil, missing(field)
  end
  upload.name, upload.type = M.shown_name(parts.name), parts.type
  return true
end

---(waits) Takes the body of a request into a file: ctx.upload = {path, name?, type?, bytes}.
---@param rule {max: integer|fun(ctx: table): integer, field?: string} bytes of the file; "file"
---@return true?, api.error? err
function M.receive(ctx, rule)
  local max = type(rule.max) == "function" and rule.max(ctx) or rule.max
  local headers = ctx.req.headers
  local length, kind = tonumber(headers["content-length"]), headers["content-type"] or ""
  if length and length > max + ENVELOPE then
    return nil, too_large(max)
  elseif kind:lower():match("^application/json") then
    return nil, errors.new(415, "unsupported_media_type",
      "The body must be the file, or multipart/form-data with it.")
  end
  local file, path = open(ctx.app)
  if not file then
    cxb.log.error("upload cannot be kept", { error = path })
    return nil, errors.new(503, "storage_unavailable", "The file cannot be kept now.")
  end
  local upload = { path = path, bytes = 0 }
  ctx.upload = upload
  local ok, err = receive(ctx, rule, max, file, upload)
  file:close()
  return ok, err
end

---(waits) Removes the file, unless the handler has taken it: ctx.upload.taken = true.
function M.discard(ctx)
  if ctx.upload and not ctx.upload.taken then
    cxb.fs.remove(ctx.upload.path)
  end
end

return M
