-- URLs that an operator sets for others to be called (api.md §7): judged when they are saved, and
-- by cxb.http's `public_only` again when they are used.
local url = require("cxb.url")

local M = {}

---Exceptions of the installation, as cxb.http takes them for `public_only`.
---@return string|true
function M.exceptions(app)
  local allow = app.settings.CXB_OUTBOUND_ALLOW
  return allow and allow[1] and table.concat(allow, ",") or true
end

-- Whether this is one of our own doors.
local function is_own(app, origin)
  for _, name in ipairs({ "CXB_PUBLIC_URL", "CXB_INTERNAL_URL" }) do
    local own = app.settings[name]
    if own and url.origin(own) == origin then
      return true
    end
  end
  local listen = app.settings.CXB_API_LISTEN
  return not listen:match("^unix:") and url.origin("http://" .. listen) == origin
end

---(waits for the name's addresses) What is wrong with a URL; nil when it may be saved. Placeholders
---may stand in its path and query; with `base` also for the whole address before them, which is
---judged when it is used. A name that nobody can resolve now may be one tomorrow.
---@param options? {base?: boolean}
---@return string? why
function M.refused(app, text, options)
  if options and options.base and text:match("^{{%s*[%w_.%-]+%s*}}[/?]?") then
    return nil
  end
  local authority = text:match("^%a[%w+.-]*://([^/?#]+)")
  if not authority then
    return "must be an http or https URL"
  elseif authority:find("[{}]") then
    return "must name its host without placeholders"
  end
  local plain = text:gsub("{{%s*[%w_.%-]+%s*}}", "x")
  local allow = M.exceptions(app)
  local ok, code, why = cxb.http.check(plain, allow ~= true and allow or nil)
  if not ok and code ~= "resolve" then
    return why or "is not allowed"
  end
  return is_own(app, url.origin(plain)) and "is an address of this installation" or nil
end

return M
