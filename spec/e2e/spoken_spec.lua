-- timeout: 900
-- alone: 164
-- The demo bot hears people: recorded digits and questions in three synthetic voices, clean and with
-- noise 15 dB below, at 8 kHz, through nginx on all three transports. What the bot answered is
-- judged by transcribing its audio, not by what it thinks it said.

local json = require "cjson.safe"
local numbers = require "cxb.numbers"
local platform = require "support.platform"
local speech = require "support.speech"
local support = require "support.world"
local transcribe = require "support.transcribe"
local voices = require "support.voices"

local WIRES = { "cxb", "twilio", "browser" }
local PATHS = { cxb = "/ws/demo", twilio = "/twilio/demo", browser = "/browser/demo" }
local NOISE_DB = 15

local hours = { "monday|friday|in the morning|in the evening" }
local account = { "account number or key|your account number, or|please say|press hash" }
local colleague_refused = { "transfer" }
local goodbye = { "goodbye|good bye|bye" }
local again = { "understand" }

-- {voice, noisy, what is said, what must be heard from the bot}
local QUESTIONS = {
  { "rms", false, "What are your opening hours?", hours },
  { "awb", false, "When do you open?", hours },
  { "espeak", false, "Can you tell me your opening hours please?", hours },
  { "rms", true, "What time do you close today?", hours },
  { "awb", true, "What are your opening hours?", hours },
  { "espeak", true, "When are you open?", hours },
  { "rms", false, "Are you open on Saturday?", hours },
  { "awb", true, "I would like to know your opening hours.", hours },
  { "espeak", false, "How late are you open today?", hours },
  { "rms", true, "Are you open on the weekend?", hours },
  { "rms", false, "I want to check my account.", account },
  { "awb", false, "I have a question about my account balance.", account },
  { "espeak", true, "I want to give you my account number.", account },
  { "awb", true, "It is about my account.", account },
  { "rms", false, "I would like to speak to a human agent.", colleague_refused, no_transfer = true },
  { "awb", false, "Please transfer me to a colleague.", colleague_refused, no_transfer = true },
  { "espeak", false, "Can I talk to a real person?", colleague_refused, no_transfer = true },
  { "rms", true, "Please connect me with customer service.", colleague_refused, no_transfer = true },
  { "rms", false, "Goodbye.", goodbye },
  { "awb", false, "No thank you, that is all.", goodbye },
  { "espeak", true, "Thank you, goodbye.", goodbye },
  { "rms", false, "The purple elephant sings under the bridge.", again },
  { "awb", true, "My brother painted the kitchen yesterday.", again },
  { "espeak", false, "It might rain tomorrow afternoon.", again },
}

-- {digits spoken by a person, noisy}: asked for, read back, confirmed by voice
local ACCOUNTS = {
  { "4072", false }, { "91358", false }, { "60214", true }, { "7753", true }, { "8340916", false },
}

-- Calls at once: each has a worker, and waits most of the time.
local WIDTH = 5

local world, site, judge, folder, made

local function matches(text, want)
  for alternative in want:gmatch("[^|]+") do
    if text:find(alternative, 1, true) then return true end
  end
  return false
end

-- Read back ("I have … Is that right?") or noted ("I have noted account number …"), and thanked for.
local function noted_number(text, digits)
  local thanked = text:match("thank you(.*)")
  local read_back = text:match(".*i have(.-)right.*thank you")
  return thanked ~= nil and (numbers.digits(thanked):find(digits, 1, true) ~= nil
    or (read_back ~= nil and numbers.digits(read_back) == digits))
end

local function call(wire, turns, options)
  made = made + 1
  local bot = ("%s/bot-%d.wav"):format(folder, made)
  local args = { "/usr/bin/python3", cxb.root .. "/spec/sim/wscall.py", "--transport", wire,
    "--url", (site.url:gsub("^http", "ws")) .. PATHS[wire], "--record-bot", bot, "--json" }
  for _, word in ipairs(turns) do args[#args + 1] = word end
  for _, word in ipairs(options or {}) do args[#args + 1] = word end
  local p = world:start(args)
  p:wait(180000)
  local report = json.decode(p.log[#p.log] or "") or {}
  return report, cxb.fs.stat(bot) and transcribe(judge.socket, bot) or "", p
end

-- Runs jobs, as many at once as there are workers; results in the jobs' order.
local function together(jobs, width)
  local results, next_job, tasks = {}, 0, {}
  for lane = 1, width do
    tasks[lane] = cxb.task.spawn("caller", function()
      while next_job < #jobs do
        next_job = next_job + 1
        local mine = next_job
        results[mine] = { jobs[mine]() }
      end
      return true
    end)
  end
  for _, task in ipairs(tasks) do
    local ok, _, trace = task:wait()
    assert(ok, trace)
  end
  return results
end

describe("the demo bot", function()
  setup(function()
    world = support.new()
    for _, tool in ipairs { "flite", "espeak-ng", "sox" } do support.need(tool) end
    folder, made = world:folder(), 0
    judge = speech.start(world) -- not the calls' own: they would wait for it
    site = platform.up(world, { workers = WIDTH, env = { CXB_DEV = "1" } })
  end)
  teardown(function() world:close() end)

  it("answers at least 9 of 10 spoken inputs, on all three transports, with and without noise", function()
    local jobs, said = {}, {}
    -- the longest first: the last to end is then a short one
    for i, a in ipairs(ACCOUNTS) do
      local wire = WIRES[i % 3 + 1]
      local ask = voices.say("rms", "I want to give you my account number.", ("%s/a-%d.wav"):format(folder, i))
      local digits = voices.digits(a[1], ("%s/d-%d.wav"):format(folder, i))
      local yes = voices.say("awb", "Yes, that is right.", ("%s/y-%d.wav"):format(folder, i))
      said[#said + 1] = ("recorded%s %s: %s"):format(a[2] and "+noise" or "", wire, a[1])
      jobs[#jobs + 1] = function()
        local report, heard = call(wire, { "--wav", ask, "--wav", digits, "--wav", yes },
          a[2] and { "--noise-db", tostring(NOISE_DB) } or {})
        return noted_number(heard, a[1]), heard, report
      end
    end
    said[#said + 1] = "keypad twilio: 2, 5591#, 1"
    jobs[#jobs + 1] = function()
      local report, heard = call("twilio", { "--dtmf", "2", "--dtmf", "5591#", "--dtmf", "1" })
      return noted_number(heard, "5591"), heard, report
    end
    for i, q in ipairs(QUESTIONS) do
      local wire = WIRES[i % 3 + 1]
      -- the CXB wire can transfer, and then the call is over: asked where it cannot
      if q.no_transfer and wire == "cxb" then wire = "twilio" end
      local file = voices.say(q[1], q[3], ("%s/q-%d.wav"):format(folder, i))
      local options = q[2] and { "--noise-db", tostring(NOISE_DB) } or {}
      said[#said + 1] = ("%s%s %s: %s"):format(q[1], q[2] and "+noise" or "", wire, q[3])
      jobs[#jobs + 1] = function()
        local report, heard = call(wire, { "--wav", file }, options)
        local right = #heard > 0
        for _, want in ipairs(q[4]) do right = right and matches(heard, want) end
        return right, heard, report
      end
    end

    local right, wrong = 0, {}
    for i, result in ipairs(together(jobs, WIDTH)) do
      if result[1] then
        right = right + 1
      else
        wrong[#wrong + 1] = ("%s\n    bot: %s\n    %s"):format(said[i], result[2],
          json.encode(result[3]):sub(1, 300))
      end
    end
    print(("# %d of %d spoken inputs answered rightly"):format(right, #jobs))
    for _, line in ipairs(wrong) do print("# not: " .. line:gsub("\n", "\n# ")) end
    assert.is_true(#jobs >= 30)
    assert.is_true(right >= 0.9 * #jobs, table.concat(wrong, "\n"))
  end)

  it("transfers a caller who asks for a colleague where the wire can", function()
    local file = voices.say("rms", "I would like to speak to a human agent.", folder .. "/t.wav")
    local report = call("cxb", { "--wav", file }, { "--wait-end", "20" })
    assert.matches("reverse%-call%-transfer", json.encode(report))
  end)
end)
