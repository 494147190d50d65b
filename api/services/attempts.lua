-- Failed sign-ins: ten within 15 minutes for one email from one address, then none is tried for the
-- rest of that time (api.md §3.1). One under way counts as failed, so that many at once are no way
-- around it.
local errors = require("services.errors")

local M = {}

local MAX, WINDOW_MS = 10, 15 * 60 * 1000

local function key_of(email, client)
  return "signin:" .. cxb.crypto.hex(cxb.crypto.sha256(email:lower() .. "\n" .. client))
end

---Counts an attempt; nil and the refusal when there were too many.
---@return string? key for succeeded(), api.error? err
function M.begin(app, email, client)
  local key, now = key_of(email, client), cxb.time.mono()
  local state = app.attempts:get(key)
  if not state or now >= state.ends then
    state = { n = 0, ends = now + WINDOW_MS }
    app.attempts:set(key, state, WINDOW_MS)
  end
  if state.n >= MAX then
    local seconds = math.max(1, math.ceil((state.ends - now) / 1000))
    return nil, errors.new(429, "rate_limited", "Too many failed sign-ins: wait and try again.",
      { headers = { ["retry-after"] = tostring(seconds) } })
  end
  state.n = state.n + 1
  return key
end

---The attempt was good: earlier ones are forgotten.
function M.succeeded(app, key)
  app.attempts:del(key)
end

return M
