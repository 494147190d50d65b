-- When a delivery is tried again (api.md §5.19).
local times = require("cxb.times")

local M = {}

local MINUTE, HOUR = 60000, 3600000
local delays = { 5000, 30000, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR }
local last_delay, give_up_ms = 2 * HOUR, 24 * HOUR
local retry_after_max, jitter, refusals_max = HOUR, 0.2, 3

local months = { Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9,
  Oct = 10, Nov = 11, Dec = 12 }
local try_again = { [408] = true, [409] = true, [425] = true, [429] = true }

---Milliseconds a Retry-After asks for (seconds, or the date form of RFC 9110), at most an hour.
---@param text? string
---@return number?
function M.retry_after(text, now)
  local seconds = text and text:match("^%s*(%d+)%s*$")
  if seconds then
    return math.min(tonumber(seconds) * 1000, retry_after_max)
  end
  local day, month, year, clock =
    (text or ""):match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d:%d%d:%d%d) GMT$")
  local at = months[month]
    and times.parse(("%s-%02d-%sT%sZ"):format(year, months[month], day, clock))
  return at and math.min(math.max(at - now, 0), retry_after_max) or nil
end

---Whether a receiver that answers so will never take this body.
---@return boolean
function M.is_refusal(outcome)
  local status = outcome.status
  return outcome.code == "url_not_allowed"
    or (status ~= nil and status >= 400 and status < 500 and not try_again[status])
end

---@param row {attempts: integer, since: number} attempts: with this one
---@param outcome {status?: integer, code?: string, retry_after?: string}
---@param now number
---@param chance number 0 … 1
---@return number? next_at nil: given up
function M.next(row, outcome, now, chance)
  if M.is_refusal(outcome) and row.attempts >= refusals_max then
    return nil
  end
  local wait = delays[row.attempts] or last_delay
  wait = wait * (1 + jitter * (2 * chance - 1))
  if outcome.status == 429 or outcome.status == 503 then
    wait = M.retry_after(outcome.retry_after, now) or wait
  end
  local at = math.floor(now + wait)
  if at - row.since > give_up_ms then
    return nil
  end
  return at
end

return M
