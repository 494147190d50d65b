-- area: api
-- timeout: 600
-- The test-call page in Debian's Chromium against the whole platform.

local json = require("cxb.json")
local npm = require("support.npm")
local platform = require("support.platform")
local support = require("support.world")

local folder = cxb.root .. "/spec/e2e/browser"

-- The page's driver from npm.
local function need_driver(world)
  support.need("chromium")
  npm.need(world, "e2e/browser")
end

local administrator = { CXB_ADMIN_EMAIL = "ada@example.org",
  CXB_ADMIN_PASSWORD = "correct horse battery" }

-- Uses the page; what it showed. The first use of a site sets it up.
local function use_page(world, site, ...)
  local link = not site.entered and assert(site.process:output():match("Set up: (%S+)"))
  site.entered = true
  local p = world:start({ "node", folder .. "/test_call.mjs", "--url", link or site.url .. "/", ... },
    administrator)
  local code = p:wait(150000)
  local report = json.decode_object(p.log[#p.log] or "")
  assert(report, p:output())
  assert.is_nil(report.failure)
  assert.equal(0, code)
  assert.equal(link and "Set up" or "Sign in", report.door)
  return report
end

local function le(n, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(math.floor(n / 256 ^ (i - 1)) % 256)
  end
  return table.concat(out)
end

-- The microphone runs from before the call: some seconds of silence first, then the words; once
-- more for a page that was not in the call yet.
local function speech(world, text, silence)
  support.need("espeak-ng")
  local path = world:folder() .. "/question.wav"
  local p = world:start({ "espeak-ng", "-v", "en-us", "-s", "140", "-w", path, text })
  assert.equal(0, p:wait(30000))
  local words, rate = assert(cxb.media.read_wav(path))
  local function quiet(seconds) return ("\0\0"):rep(seconds * rate) end
  local pcm = quiet(silence) .. words .. quiet(12) .. words
  return world:write(path, "RIFF" .. le(36 + #pcm, 4) .. "WAVEfmt " .. le(16, 4) .. le(1, 2)
    .. le(1, 2) .. le(rate, 4) .. le(rate * 2, 4) .. le(2, 2) .. le(16, 2) .. "data"
    .. le(#pcm, 4) .. pcm)
end

local function said(lines, role)
  local out = {}
  for _, line in ipairs(lines) do
    if line.role == role then
      out[#out + 1] = line.text
    end
  end
  return table.concat(out, " ")
end

describe("a test call from the browser", function()
  local world, site

  setup(function()
    world = support.new()
    need_driver(world)
    -- a call without audio keeps the worker busy until the page has found out
    site = platform.up(world, { workers = 1, env = { CXB_MEDIA_TIMEOUT_SECONDS = "600" } })
  end)

  teardown(function()
    world:close()
  end)

  it("is answered with a voice, and kept with transcript and both channels", function()
    local report = use_page(world, site, "--wav", speech(world, "When are you open?", 4),
      "--seconds", "40", "--screenshot",
      cxb.process.env("CXB_SCREENSHOT") or world:folder() .. "/page.png")
    assert.same({}, report.problems)
    assert.is_false(report.token_in_address)
    assert.matches("open", said(report.live, "customer"):lower())
    assert.matches("nine", said(report.live, "bot"))
    assert.is_true(report.loudest["in"] > 0.1 and report.loudest.out > 0.1)
    assert.matches("answered in %d+ ms", report.latency)
    assert.same({ said(report.live, "customer"), true }, { said(report.stored, "customer"),
      #report.stored >= 3 })
    assert.equal(2, report.recording.channels)
    assert.is_true(report.recording.left > 0.05 and report.recording.right > 0.05)
    assert.is_true(report.recording.seconds > 5 and report.recording.played > 0)
  end)

  it("takes typed words for spoken ones", function()
    local report = use_page(world, site, "--say", "what are your opening hours", "--seconds", "30")
    assert.matches("opening hours", said(report.stored, "customer"))
    assert.matches("nine", said(report.stored, "bot"))
  end)

  it("says what to do when the microphone is refused", function()
    assert.matches("Allow it", use_page(world, site, "--deny-microphone").notice)
  end)

  it("says so when every worker is busy, and works again afterwards", function()
    local busy = assert(cxb.ws.connect(site.url:gsub("^http", "ws") .. "/ws/echo"))
    busy:send(json.encode({ event = "connected", callerId = "+919876543210", did = "+911",
      callDirection = "incoming", streamId = "busy" }))
    busy:send(json.encode({ event = "start", streamId = "busy" }))
    busy:send(json.encode({ event = "answer" })) -- nobody lets it ring for ever
    support.wait_until("the worker to be busy", function()
      return support.get_json(site.url .. "/health/fleet").fleet_available == 0
    end)
    local report = use_page(world, site)
    assert.equal("idle", report.phase)
    assert.matches("busy", report.notice)
    busy:close(1000)
    support.wait_until("the worker to be free", function()
      return support.get_json(site.url .. "/health/fleet").fleet_available == 1
    end)
    assert.equal("talking", use_page(world, site, "--seconds", "5").phase)
  end)
end)
