-- Sound in the caller's hands: PCM16 little-endian mono strings, µ-law, loudness, WAV files.

local bit = require("bit")
local ffi = require("ffi")

local M = {}

local BIAS, CLIP = 0x84, 32635 -- ITU-T G.711

local function encode_sample(sample)
  local sign = 0
  if sample < 0 then sample, sign = -sample, 0x80 end
  sample = math.min(sample, CLIP) + BIAS
  local exponent, mask = 7, 0x4000
  while exponent > 0 and bit.band(sample, mask) == 0 do
    exponent, mask = exponent - 1, bit.rshift(mask, 1)
  end
  local mantissa = bit.band(bit.rshift(sample, exponent + 3), 0x0f)
  return bit.band(bit.bnot(bit.bor(sign, bit.lshift(exponent, 4), mantissa)), 0xff)
end

local function decode_sample(byte)
  byte = bit.band(bit.bnot(byte), 0xff)
  local exponent, mantissa = bit.band(bit.rshift(byte, 4), 7), bit.band(byte, 0x0f)
  local sample = bit.lshift(bit.lshift(mantissa, 3) + BIAS, exponent) - BIAS
  return bit.band(byte, 0x80) ~= 0 and -sample or sample
end

local decoded = ffi.new("int16_t[256]")
for byte = 0, 255 do decoded[byte] = decode_sample(byte) end

---@param pcm string
---@return string one byte a sample
function M.to_ulaw(pcm)
  local samples, n = ffi.cast("const int16_t *", pcm), math.floor(#pcm / 2)
  local out = ffi.new("uint8_t[?]", n)
  for i = 0, n - 1 do out[i] = encode_sample(samples[i]) end
  return ffi.string(out, n)
end

---@return string pcm
function M.from_ulaw(data)
  local bytes, out = ffi.cast("const uint8_t *", data), ffi.new("int16_t[?]", #data)
  for i = 0, #data - 1 do out[i] = decoded[bytes[i]] end
  return ffi.string(out, #data * 2)
end

---Mean absolute sample, 0…32768.
function M.loudness(pcm)
  local samples, n = ffi.cast("const int16_t *", pcm), math.floor(#pcm / 2)
  if n == 0 then return 0 end
  local sum = 0
  for i = 0, n - 1 do sum = sum + math.abs(samples[i]) end
  return sum / n
end

---Samples of a WAV file at the rate asked for.
---@return string? pcm, string? why
function M.read_wav(path, rate)
  local pcm, from, message = cxb.media.read_wav(path)
  if not pcm then return nil, message or ("%s: %s"):format(path, from) end
  if from ~= rate then pcm = cxb.media.resample(pcm, from, rate) end
  return pcm
end

local function le(value, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(out)
end

---@return true?, string? why
function M.write_wav(path, pcm, rate)
  local file, why = io.open(path, "wb")
  if not file then return nil, why end
  file:write("RIFF", le(36 + #pcm, 4), "WAVEfmt ", le(16, 4), le(1, 2), le(1, 2), le(rate, 4),
    le(rate * 2, 4), le(2, 2), le(16, 2), "data", le(#pcm, 4), pcm)
  file:close()
  return true
end

return M
