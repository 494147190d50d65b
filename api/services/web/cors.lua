-- Which other origins may read answers (api.md §4): those listed, without credentials mode; tokens
-- by header are the callers' own. A route with `cors = "*"` is for any page.
local M = {}

local EXPOSED = "ETag, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
  .. "X-Request-ID, Idempotent-Replay, Content-Disposition"
local ALLOWED = "Authorization, Content-Type, If-Match, Idempotency-Key, Last-Event-ID, X-API-Key, "
  .. "X-Request-ID"
local CACHED_S = "600"

local function allowed(app, origin, any)
  if any then
    return "*"
  end
  for _, listed in ipairs(app.settings.CXB_CORS_ORIGINS) do
    if listed == origin then
      return origin
    end
  end
end

---Adds to `headers` what a browser of another origin needs to see the answer.
---@param any? boolean the route is for any page
function M.answer(app, req, headers, any)
  local origin = req.headers.origin
  if not origin and not any then
    return
  end
  local to = allowed(app, origin, any)
  if to ~= "*" then
    headers.vary = "Origin"
  end
  if to then
    headers["access-control-allow-origin"] = to
    headers["access-control-expose-headers"] = EXPOSED
  end
  return to
end

---The answer to OPTIONS on a path that takes these methods.
---@param methods string[]
---@param any? boolean
---@return table answer {status, headers}
function M.preflight(app, req, methods, any)
  local list = table.concat(methods, ", ")
  local headers = { allow = list .. ", OPTIONS" }
  if M.answer(app, req, headers, any) then
    headers["access-control-allow-methods"] = list
    headers["access-control-allow-headers"] = ALLOWED
    headers["access-control-max-age"] = CACHED_S
  end
  return { status = 204, headers = headers }
end

return M
