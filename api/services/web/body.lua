-- Request bodies: JSON objects, UTF-8 without NUL, at most 32 levels deep.
local errors = require("services.web.errors")
local json = require("cxb.json")

local M = {}

local DEPTH = 32

local function has_nul(value)
  if type(value) == "string" then
    return value:find("%z") ~= nil
  elseif type(value) == "table" then
    for key, item in pairs(value) do
      if has_nul(key) or has_nul(item) then
        return true
      end
    end
  end
  return false
end

local function invalid(message, offset)
  return nil, errors.new(400, "invalid_json", message, { more = { offset = offset } })
end

---@param text string
---@param opaque? table<string, true|table> members that are not taken apart (json.decode)
---@return table? object, api.error?
function M.parse(text, opaque)
  local nul = text:find("\\u0000", 1, true)
  local value, _, message, offset = json.decode_object(text, DEPTH, not nul and opaque or nil)
  if not value then
    return invalid(("Not a JSON object, at byte %d: %s."):format(offset or 0,
      (message:gsub("%.$", ""))), offset or 0)
  end
  if nul and has_nul(value) then
    return invalid("A string holds a NUL character.", nul - 1)
  end
  return nul and opaque and json.decode_object(text, DEPTH, opaque) or value
end

---(waits) The body of a request as a JSON object.
---@param req cxb.request
---@param max integer bytes
---@param optional? boolean an absent body is an empty object
---@param opaque? table<string, true|table> as M.parse
---@return string? text, table|api.error object_or_err, string? text what was no JSON
function M.read(req, max, optional, opaque)
  local kind = req.headers["content-type"]
  local absent = optional and (req.headers["content-length"] or "0") == "0"
    and not req.headers["transfer-encoding"]
  if kind and not absent and not kind:lower():match("^application/json%s*;?") then
    return nil, errors.new(415, "unsupported_media_type", "The body must be application/json.")
  end
  local text, code = req:body(max)
  if not text then
    if code == "too_large" then
      return nil, errors.new(413, "body_too_large", ("At most %d bytes."):format(max),
        { headers = { connection = "close" } })
    end
    return nil, errors.new(408, "request_timeout", "The body did not arrive.")
  end
  if optional and text == "" then
    return text, {}
  end
  local value, err = M.parse(text, opaque)
  if not value then
    return nil, err, text
  end
  return text, value
end

return M
