-- `cxbrt test`: specs of flows, with the real binary.
local Speech = require("support.speech")
local World = require("support.world")

local RECORDING = Speech.recordings .. "cards/001.wav"

local FLOW = [[
return function(call)
  local heard = call:ask("Which card?", { timeout = 20 })
  if heard.silence then return call:say("Nothing at all.") end
  if heard.text == "fail" then error("on purpose") end
  call:set("card", heard.text)
  call:say("You chose " .. heard.text)
end
]]

describe("cxbrt test", function()
  local world, dir

  before_each(function()
    world = World.new()
    dir = world:folder()
    world:write(dir .. "/flows/card.lua", FLOW)
  end)
  after_each(function() world:close() end)

  -- Runs a spec whose one test is `body`: exit code, output.
  local function run(body, env, args)
    if body then
      world:write(dir .. "/flows/spec/card_spec.lua", ([[
        local testing = require("cxb.testing")
        describe("the card flow", function()
          it("does what is expected", function() %s end)
        end)]]):format(body))
    end
    local all = { CXB_FLOWS_DIR = dir .. "/flows", PATH = cxb.process.env("PATH") }
    for name, value in pairs(env or {}) do all[name] = value end
    local list = { World.program, "test" }
    for _, arg in ipairs(args or {}) do list[#list + 1] = arg end
    local p = world:start(list, all, dir)
    return p:wait(120000), p:output()
  end

  it("runs the specs beside the flows of this installation, and they pass", function()
    local code, output = run(nil, { CXB_FLOWS_DIR = cxb.root .. "/lua/flows" })
    assert.equal(0, code, output)
    assert.matches("ok %d+ %- the demo takes an account number by voice", output)
    assert.matches("ok %d+ %- the collections call tells nobody else about the bill", output)
    assert.matches("# %d+ passed, 0 failed", output)
  end)

  it("carries a conversation to its end and shows what became of it", function()
    local code, output = run([[
      local call = testing.call({ flow = "card" }, function(caller)
        caller:hears("Which card?")
        caller:says("ten of clubs")
        caller:hears("You chose ten of clubs")
      end)
      assert.equal("ten of clubs", call.vars.card)
      assert.equal("bot", call.disconnected_by)
      assert.equal("bot: Which card?\ncustomer: ten of clubs\nbot: You chose ten of clubs",
        call:conversation())]])
    assert.equal(0, code, output)
  end)

  it("lets an hour pass at once", function()
    local code, output = run([[
      local flow = function(call)
        repeat local heard = call:listen({ timeout = 60 }) until heard.hangup
      end
      local call = testing.call({ flow = flow, config = { max_call_duration_seconds = 7200,
        max_silence_seconds = 0 } }, function(caller) caller:silent(3500) end)
      assert.is_true(call.seconds >= 3500 and call.seconds < 3510, call.seconds)]])
    assert.equal(0, code, output)
  end)

  it("fails with the conversation so far when the bot says something else", function()
    local code, output = run([[
      testing.call({ flow = "card" }, function(caller)
        caller:says("ten of clubs")
        caller:hears("You chose wisely")
      end)]])
    assert.equal(1, code)
    assert.matches("not ok 1 - the card flow does what is expected", output, 1, true)
    assert.matches('the bot did not say "You chose wisely" but "You chose ten of clubs"', output, 1, true)
    assert.matches("customer: ten of clubs", output, 1, true)
    assert.matches("card_spec.lua:%d+", output)
  end)

  it("fails with its reason when the flow does, and when the call is over too soon", function()
    local code, output = run([[
      testing.call({ flow = "card" }, function(caller) caller:says("fail") end)]])
    assert.equal(1, code)
    assert.matches("card.lua:4: on purpose", output, 1, true)
    code, output = run([[
      testing.call({ flow = "card" }, function(caller)
        caller:says("ten of clubs")
        caller:says("and then?")
      end)]])
    assert.equal(1, code)
    assert.matches("the call is over (disconnected by bot)", output, 1, true)
  end)

  it("plays a recording through the embedded recogniser, and says when there is none", function()
    local body = ([[
      local call = testing.call({ flow = "card" }, function(caller) caller:plays(%q) end)
      assert.equal("ten of clubs", (call.vars.card:lower():gsub("%%p", "")))]]):format(RECORDING)
    local speech = Speech.start(world)
    local code, output = run(body, { CXB_SPEECH_URL = "unix:" .. speech.socket })
    assert.equal(0, code, output)
    code, output = run(body, { CXB_SPEECH_URL = "unix:" .. dir .. "/nobody.sock" })
    assert.equal(1, code)
    assert.matches("no speech service at unix:" .. dir .. "/nobody.sock", output, 1, true)
  end)

  it("runs what is asked for", function()
    run("error('not this one')")
    world:write(dir .. "/one_spec.lua", "it('is this one', function() end)")
    local code, output = run(nil, nil, { "one_spec.lua" })
    assert.equal(0, code, output)
    assert.matches("# 1 passed, 0 failed", output, 1, true)
    code, output = run(nil, nil, { "--filter", "nothing of the kind" })
    assert.equal(0, code, output)
    assert.matches("# 0 passed, 0 failed", output, 1, true)
    assert.equal(2, (run(nil, nil, { "absent_spec.lua" })))
  end)

  it("names Debian's package when busted is missing", function()
    world:write(dir .. "/without.lua", ([[
      package.preload["busted.core"] = function() error("module not found") end
      return assert(loadfile(%q))()]]):format(cxb.root .. "/lua/test.lua"))
    local p = world:start({ World.program, "without.lua" }, { CXB_FLOWS_DIR = dir .. "/flows" }, dir)
    assert.equal(1, p:wait(120000))
    assert.matches("apt-get install lua-busted", p:output(), 1, true)
  end)
end)

describe("the example flows", function()
  local world = World.new()
  after_each(function() world:close() end)

  it("load in a call worker too", function()
    local dir = world:folder()
    local p = world:start({ World.program, "--check", "core.lua" }, {
      CXB_FLOWS_DIR = cxb.root .. "/lua/flows/examples", CXB_BOTS_DIR = dir .. "/bots",
      CXBCORE_SECRET = ("k"):rep(40), CXBCORE_WORKERS = "1", CXB_WORKER_ID = "1",
      CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state", CXB_API_CONFIG_URL = "http://127.0.0.1:1",
      PATH = cxb.process.env("PATH"),
    })
    assert.equal(0, p:wait(120000), p:output())
  end)
end)
