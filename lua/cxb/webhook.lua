-- Signatures of what we deliver, after the Standard Webhooks specification: HMAC-SHA256 over
-- "id.timestamp.body" with each secret, so that a receiver may change its secret without a gap.
local bit = require("bit")

local M = {}

local base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" -- RFC 4648
local id_length = 26
local tolerance_s = 300

local function to_base32(bytes, length)
  local out, held, bits = {}, 0, 0
  for i = 1, #bytes do
    held = bit.bor(bit.lshift(held, 8), bytes:byte(i))
    bits = bits + 8
    while bits >= 5 and #out < length do
      bits = bits - 5
      local at = bit.band(bit.rshift(held, bits), 31) + 1
      out[#out + 1] = base32:sub(at, at)
    end
    held = bit.band(held, bit.lshift(1, bits) - 1)
  end
  return table.concat(out)
end

---Keys of a list of secrets "whsec_<base64>", separated by blanks. nil when one is malformed.
---@param text string
---@return string[]?
function M.keys(text)
  local keys = {}
  for word in text:gmatch("%S+") do
    local key = word:match("^whsec_.") and cxb.crypto.unbase64(word:sub(7))
    if not key or key == "" then
      return nil
    end
    keys[#keys + 1] = key
  end
  return #keys > 0 and keys or nil
end

---The id of a delivery: the same on every attempt.
---@param idempotency_key string
function M.id(idempotency_key)
  return "msg_" .. to_base32(cxb.crypto.sha256(idempotency_key), id_length)
end

-- "v1,…" of each key over what is signed.
local function signatures(keys, id, stamp, body)
  local signed, list = ("%s.%s.%s"):format(id, stamp, body), {}
  for i, key in ipairs(keys) do
    list[i] = "v1," .. cxb.crypto.base64(cxb.crypto.hmac_sha256(key, signed))
  end
  return list
end

---@param keys string[] as M.keys() gives them
---@param id string of the message, the same on every attempt
---@param body string
---@param seconds? integer of the attempt; now
---@return table<string, string> headers
function M.sign_as(keys, id, body, seconds)
  local stamp = ("%d"):format(seconds or math.floor(cxb.time.now() / 1000))
  return { ["webhook-id"] = id, ["webhook-timestamp"] = stamp,
    ["webhook-signature"] = table.concat(signatures(keys, id, stamp, body), " ") }
end

---Headers of one of our own deliveries, whose id follows from its key.
---@param idempotency_key string
---@return table<string, string> headers
function M.sign(keys, idempotency_key, body, seconds)
  return M.sign_as(keys, M.id(idempotency_key), body, seconds)
end

---Whether one of the signatures was made with one of the keys, at most five minutes ago.
---@param keys string[]
---@param headers table<string, string> lower-case names
---@param body string as received
---@return boolean
function M.verify(keys, headers, body)
  local id, stamp = headers["webhook-id"] or "", headers["webhook-timestamp"] or ""
  local seconds = stamp:match("^%d+$") and tonumber(stamp)
  if id == "" or not seconds or math.abs(cxb.time.now() / 1000 - seconds) > tolerance_s then
    return false
  end
  local found = false
  for _, expected in ipairs(signatures(keys, id, stamp, body)) do
    for given in (headers["webhook-signature"] or ""):gmatch("%S+") do
      found = cxb.crypto.equal(given, expected) or found
    end
  end
  return found
end

return M
