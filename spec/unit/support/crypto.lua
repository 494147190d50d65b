-- cxb.crypto for specs that run outside the host: what the API needs, over OpenSSL.
local ffi = require("ffi")
local bit = require("bit")

ffi.cdef([[
unsigned char *SHA256(const unsigned char *, size_t, unsigned char *);
const void *EVP_sha256(void);
unsigned char *HMAC(const void *, const void *, int, const unsigned char *, size_t, unsigned char *,
                    unsigned int *);
int RAND_bytes(unsigned char *, int);
]])
local C = ffi.load("crypto.so.3")

local M = {}

function M.sha256(data)
  local out = ffi.new("unsigned char[32]")
  C.SHA256(data, #data, out)
  return ffi.string(out, 32)
end

function M.hmac_sha256(key, data)
  local out, n = ffi.new("unsigned char[32]"), ffi.new("unsigned int[1]")
  C.HMAC(C.EVP_sha256(), key, #key, data, #data, out, n)
  return ffi.string(out, 32)
end

function M.hkdf_sha256(secret, label, len)
  local prk = M.hmac_sha256(("\0"):rep(32), secret)
  return M.hmac_sha256(prk, label .. "\1"):sub(1, len)
end

function M.random(n)
  local out = ffi.new("unsigned char[?]", n)
  C.RAND_bytes(out, n)
  return ffi.string(out, n)
end

function M.equal(a, b)
  return a == b
end

function M.hex(data)
  return (data:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

function M.base64url(data)
  local out = {}
  for i = 1, #data, 3 do
    local a, b, c = data:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 0, c and 3 or b and 2 or 1 do
      local at = bit.band(bit.rshift(n, 18 - 6 * k), 63) + 1
      out[#out + 1] = alphabet:sub(at, at)
    end
  end
  return table.concat(out)
end

function M.unbase64url(text)
  if text:find("[^%w_-]") or #text % 4 == 1 then
    return nil
  end
  local out, n, bits = {}, 0, 0
  for c in text:gmatch(".") do
    n = n * 64 + alphabet:find(c, 1, true) - 1
    bits = bits + 6
    if bits >= 8 then
      bits = bits - 8
      out[#out + 1] = string.char(math.floor(n / 2 ^ bits))
      n = n % 2 ^ bits
    end
  end
  return table.concat(out)
end

function M.uuid7()
  local ms = ("%012x"):format(os.time() * 1000)
  local rest = M.hex(M.random(10))
  return ("%s-%s-7%s-a%s-%s"):format(ms:sub(1, 8), ms:sub(9), rest:sub(1, 3), rest:sub(4, 6),
    rest:sub(7, 18))
end

return M
