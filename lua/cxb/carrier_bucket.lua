-- The rate of a carrier's new calls: a token bucket kept in the store, so that API and Dialler, in
-- any number of processes, keep it together (dialler.md §6.1). Depth `outbound_burst`, refill
-- `outbound_cps` a second; it starts with one token.
local M = {}

local ATTEMPTS = 20

-- What the bucket holds at `now`.
local function filled(bucket, carrier, now)
  local tokens = bucket.tokens + math.max(0, now - bucket.at) / 1000 * carrier.outbound_cps
  return math.min(carrier.outbound_burst, tokens)
end

---(waits) Takes up to `n` tokens.
---@param store table
---@param carrier {_id: string, outbound_cps: number, outbound_burst: number}
---@param n integer
---@param now number ms
---@return integer? taken
---@return number|table wait_or_err ms until the next token when there was none; the store's error
function M.take(store, carrier, n, now)
  local err
  for _ = 1, ATTEMPTS do
    local bucket
    bucket, err = store:upsert("carrier_buckets", { _id = carrier._id },
      { on_insert = { tokens = 1, at = now } })
    if not bucket then
      return nil, err
    end
    local tokens = filled(bucket, carrier, now)
    local taken = math.min(n, math.floor(tokens))
    if taken < 1 then
      return 0, math.ceil((1 - tokens) / carrier.outbound_cps * 1000)
    end
    local ok
    ok, err = store:update("carrier_buckets", carrier._id,
      { set = { tokens = tokens - taken, at = math.max(now, bucket.at) } },
      { expect = { v = bucket.v } })
    if ok then
      return taken, 0
    elseif err.code ~= "conflict" then
      return nil, err
    end
  end
  return 0, 50
end

return M
