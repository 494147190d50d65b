-- Failed sign-ins: ten within 15 minutes for one email from one address, then none is tried for the
-- rest of that time (api.md §3.1). One under way counts as failed, so that many at once are no way
-- around it.
local caches = require("services.system.caches")
local errors = require("services.web.errors")

local M = {}

local MAX, WINDOW_MS = 10, 15 * 60 * 1000

local function key_of(email, client)
  return "signin:" .. cxb.crypto.hex(cxb.crypto.sha256(email:lower() .. "\n" .. client))
end

---(waits) Counts an attempt; nil and the refusal when there were too many.
---@return string? key for succeeded(), api.error? err
function M.begin(app, email, client)
  local key = key_of(email, client)
  local wait_ms = caches.script(app, "attempt", { key }, { MAX, WINDOW_MS }) or 0
  if wait_ms > 0 then
    return nil, errors.new(429, "rate_limited", "Too many failed sign-ins: wait and try again.",
      { headers = { ["retry-after"] = ("%d"):format(math.ceil(wait_ms / 1000)) } })
  end
  return key
end

---(waits) The attempt was good: earlier ones are forgotten.
function M.succeeded(app, key)
  app.cache:del(key)
  if app.near_cache ~= app.cache then
    app.near_cache:del(key)
  end
end

return M
