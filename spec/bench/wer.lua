-- What the embedded speech understands and what that costs: word error rates on recorded people
-- (Debian's pocketsphinx-testdata and asterisk-core-sounds-en-wav) and, for information, on
-- isolated words by three synthetic voices; each wideband and through a telephone (8 kHz, G.711
-- mu-law); recognition times, the wait for a final, and the memory of the speech process.
--   build/cxbrt spec/bench/wer.lua
--
-- Words are compared after: lower case; digits written out one by one; everything but letters and
-- apostrophes a blank ("ill-disposed" is two words, "Mr." is "mister"); to, too = two; for = four;
-- won = one; ate = eight; ok = okay; good bye = goodbye. WER = (substitutions + insertions +
-- deletions) / words said.
local bit = require("bit")
local procs = require("support.procs")
local Speech = require("support.speech")
local World = require("support.world")

local world = World.new()
local process, base = Speech.start(world)

local function say(form, ...)
  cxb.process.print(form:format(...) .. "\n")
end

---- words ----

local digits = { [0] = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
  "nine" }
local same = { to = "two", too = "two", ["for"] = "four", won = "one", ate = "eight", ok = "okay",
  mr = "mister" }

local function words(text)
  text = text:lower():gsub("%d", function(d) return " " .. digits[tonumber(d)] .. " " end)
  text = (" " .. text:gsub("[^a-z']+", " ") .. " "):gsub(" good bye ", " goodbye ")
  local out = {}
  for word in text:gmatch("[a-z']+") do out[#out + 1] = same[word] or word end
  return out
end

-- Levenshtein distance of two lists.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local diagonal = row[0]
    row[0] = i
    for j = 1, #b do
      local best = math.min(row[j] + 1, row[j - 1] + 1, diagonal + (a[i] == b[j] and 0 or 1))
      diagonal, row[j] = row[j], best
    end
  end
  return row[#b]
end

---- audio ----

local function samples(pcm)
  local i = 1
  return function()
    local low, high = pcm:byte(i, i + 1)
    i = i + 2
    if not high then return nil end
    local value = low + 256 * high
    return value >= 32768 and value - 65536 or value
  end
end

-- G.711 mu-law there and back (ITU-T G.711: 8 segments of 16 steps, bias 132, clip 32635).
local function mu_law(value)
  local sign = value < 0
  local x = math.min(math.abs(value), 32635) + 132
  local segment = 7
  while segment > 0 and x < bit.lshift(1, segment + 7) do segment = segment - 1 end
  local step = bit.band(bit.rshift(x, segment + 3), 15)
  local back = bit.lshift(bit.bor(bit.lshift(step, 3), 132), segment) - 132
  return sign and -back or back
end

local function telephone(pcm, rate)
  local narrow = rate == 8000 and pcm or cxb.media.resample(pcm, rate, 8000)
  local out = {}
  for value in samples(narrow) do
    local v = mu_law(value) % 65536
    out[#out + 1] = string.char(v % 256, math.floor(v / 256))
  end
  return table.concat(out), 8000
end

---- one utterance ----

local figures = { compute_ms = 0, audio_ms = 0, waits = {}, times = {} }

---(waits) Text of the audio, as a caller's: a second of silence around it, a pause before finalize.
local function recognise(pcm, rate, hints)
  local client = assert(Speech.connect(base, "/stt?rate=" .. rate))
  if hints then client:send({ type = "hints", words = hints }) end
  local quiet = ("\0"):rep(rate * 2)
  client:feed(quiet .. pcm .. quiet, rate / 25)
  client:send({ type = "finalize", id = 1 })
  local final = client:expect("final", 60000)
  client:close()
  figures.compute_ms = figures.compute_ms + final.compute_ms
  figures.audio_ms = figures.audio_ms + #pcm / rate / 2 * 1000
  return final.text
end

-- WER of a set {pcm, rate, text}; what went wrong is shown.
local function measure(name, set, path, hints)
  local errors, total, right = 0, 0, 0
  for _, item in ipairs(set) do
    local pcm, rate = item.pcm, item.rate
    if path == "telephone" then pcm, rate = telephone(pcm, rate) end
    local text = recognise(pcm, rate, hints)
    local said, heard = words(item.text), words(text)
    local wrong = distance(said, heard)
    errors, total = errors + wrong, total + #said
    right = right + (wrong == 0 and 1 or 0)
    if wrong > 0 and not item.synthetic then say("   said %q, heard %q", item.text, text) end
  end
  say("= %s, %s%s: WER %.1f %% (%d of %d words), %d of %d utterances right", name, path,
    hints and ", with hints" or "", errors / total * 100, errors, total, right, #set)
end

---- sets ----

local function transcripts(file, folder)
  local set = {}
  for line in io.lines(Speech.recordings .. file) do
    local text, name = line:match("^<s>%s*(.-)%s*</s>%s*%((.-)%)")
    if name then
      set[#set + 1] = { pcm = Speech.recording(folder .. name .. ".wav"), rate = 16000, text = text }
    end
  end
  return set
end

local sounds = "/usr/share/asterisk/sounds/en_US_f_Allison/digits/"

-- Recorded number words, and account numbers put together from recorded digits.
local function recorded_numbers()
  local set = {}
  local function read(name)
    local pcm, rate = cxb.media.read_wav(sounds .. name .. ".wav")
    assert(pcm and rate == 8000, sounds .. name)
    return pcm
  end
  for d = 0, 9 do set[#set + 1] = { pcm = read(d), rate = 8000, text = digits[d] } end
  math.randomseed(5)
  for _ = 1, 30 do
    local pcm, text = {}, {}
    local gap = ("\0"):rep(2 * 800 * math.random(0, 4))
    for i = 1, math.random(3, 8) do
      local d = math.random(0, 9)
      pcm[i], text[i] = read(d), digits[d]
    end
    set[#set + 1] = { pcm = table.concat(pcm, gap), rate = 8000, text = table.concat(text, " ") }
  end
  return set
end

local vocabulary = { "yes", "no", "zero", "one", "two", "three", "four", "five", "six", "seven",
  "eight", "nine", "ten", "eleven", "twelve", "twenty", "thirty", "hundred" }

local function by_flite(voice)
  local set = {}
  local client = assert(Speech.connect(base, "/tts"))
  for i, word in ipairs(vocabulary) do
    client.audio = {}
    client:send({ type = "speak", id = i, text = word, voice = voice })
    client:expect("done")
    set[i] = { pcm = table.concat(client.audio), rate = 16000, text = word, synthetic = true }
  end
  client:close()
  return set
end

local function by_espeak()
  local set, dir = {}, world:folder()
  for i, word in ipairs(vocabulary) do
    local path = dir .. "/word.wav"
    local child = assert(cxb.process.spawn({
      args = { "espeak-ng", "-v", "en-us", "-w", path, word },
    }))
    assert(child:wait(10000) == 0, "espeak-ng failed")
    local pcm, rate = assert(cxb.media.read_wav(path))
    set[i] = { pcm = pcm, rate = rate, text = word, synthetic = true }
  end
  return set
end

---- the run ----

local function memory(when)
  local status = world:read(("/proc/%d/status"):format(process.pid))
  local function kb(field) return tonumber(status:match(field .. ":%s+(%d+)")) / 1024 end
  say("= memory of the speech process %s: RSS %.0f MB (anonymous %.0f MB, mapped files %.0f MB), "
    .. "PSS %.0f MB, peak %.0f MB", when, kb("VmRSS"), kb("RssAnon"), kb("RssFile"),
    procs.pss_kb(process.pid) / 1024, kb("VmHWM"))
end

-- The wait from finalize to final when a caller has been quiet for a while, as in a call.
local function waits(set)
  local list = {}
  for _, item in ipairs(set) do
    local client = assert(Speech.connect(base, "/stt?rate=16000&stop_ms=400"))
    client:feed(item.pcm .. ("\0"):rep(16000))
    client:expect("silence", 60000)
    cxb.time.sleep(600) -- the end-of-turn delay of a closed sentence
    local began = cxb.time.mono()
    client:send({ type = "finalize", id = 1 })
    client:expect("final", 60000)
    list[#list + 1] = cxb.time.mono() - began
    client:close()
  end
  say("= finalize to final, 600 ms after speech: p50 %.1f ms, worst %.1f ms",
    procs.quantile(list, 0.5), procs.quantile(list, 1))
end

memory("after its start")
local books = transcripts("librivox/transcription", "librivox/")
local cards = transcripts("cards/cards.transcription", "cards/")
for _, path in ipairs({ "wideband", "telephone" }) do
  measure("five sentences read (LibriVox)", books, path)
  measure("five card names", cards, path)
end
say("= recognition time: %.3f of the audio's length, one thread",
  figures.compute_ms / figures.audio_ms)
memory("after a load")
waits(books)
if cxb.fs.stat(sounds .. "1.wav") then
  local numbers = recorded_numbers()
  measure("recorded digits and account numbers", numbers, "telephone")
  measure("recorded digits and account numbers", numbers, "telephone",
    { unpack(digits, 0, 9) })
else
  say("recorded digits: asterisk-core-sounds-en-wav is not installed")
end
local synthetic = { { "flite slt", by_flite("slt") }, { "flite rms", by_flite("rms") },
  { "espeak-ng", by_espeak() } }
for _, voice in ipairs(synthetic) do
  for _, path in ipairs({ "wideband", "telephone" }) do
    measure("isolated words, " .. voice[1], voice[2], path)
    measure("isolated words, " .. voice[1], voice[2], path, vocabulary)
  end
end
cxb.time.sleep(2500)
memory("idle again")
world:close()
return 0
