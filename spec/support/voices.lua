-- Callers' speech for end-to-end specs: synthetic voices and recorded people, as 16-bit mono WAV.

local M = {}

local RECORDED = "/usr/share/asterisk/sounds/en_US_f_Allison/"

local function run(args)
  local child, _, why = cxb.process.spawn { args = args, capture = true }
  assert(child, why)
  local said = {}
  for line in function() return child:line() end do said[#said + 1] = line end
  local code = child:wait(30000)
  assert(code == 0, table.concat(args, " ") .. ": " .. table.concat(said, "\n"))
end

local makers = {
  -- three synthetic voices that are not the bot's
  rms = function(text, path) run { "flite", "-voice", "rms", "-t", text, "-o", path } end,
  awb = function(text, path) run { "flite", "-voice", "awb", "-t", text, "-o", path } end,
  espeak = function(text, path)
    run { "espeak-ng", "-v", "en-us", "-s", "150", "-w", path, text }
  end,
}

---@param voice "rms"|"awb"|"espeak"
---@param text string
---@param path string the WAV to write, 8 kHz
---@return string path
function M.say(voice, text, path)
  makers[voice](text, path .. ".raw.wav")
  run { "sox", path .. ".raw.wav", "-r", "8000", "-b", "16", "-c", "1", path, "gain", "-n", "-3" }
  return path
end

---A person reading digits: recorded prompts of Debian's asterisk-core-sounds-en, one after another.
---@param digits string
---@param path string
---@return string path
function M.digits(digits, path)
  local args = { "sox" }
  for digit in digits:gmatch("%d") do args[#args + 1] = RECORDED .. "digits/" .. digit .. ".wav" end
  for _, arg in ipairs { "-r", "8000", "-b", "16", "-c", "1", path, "gain", "-n", "-3" } do
    args[#args + 1] = arg
  end
  run(args)
  return path
end

---Adds white noise so that speech is `snr_db` above it (measured over the whole file).
function M.noise(from, path, snr_db)
  run { "python3", "-c", [[
import random, struct, sys, wave
src, dst, snr = sys.argv[1], sys.argv[2], float(sys.argv[3])
w = wave.open(src); rate = w.getframerate(); n = w.getnframes()
pcm = struct.unpack('<%dh' % n, w.readframes(n))
loud = [x for x in pcm if abs(x) > 300] or [1]
power = sum(x * x for x in loud) / len(loud)
sigma = (power / 10 ** (snr / 10)) ** 0.5
rnd = random.Random(len(pcm))
out = [max(-32768, min(32767, int(x + rnd.gauss(0, sigma)))) for x in pcm]
o = wave.open(dst, 'wb'); o.setnchannels(1); o.setsampwidth(2); o.setframerate(rate)
o.writeframes(struct.pack('<%dh' % n, *out)); o.close()
]], from, path, tostring(snr_db) }
  return path
end

return M
