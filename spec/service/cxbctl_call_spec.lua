-- What cxbctl says to who calls a bot that does not answer, or types what it does not know.

local World = require "support.world"
local platform = require "support.platform"

describe("cxbctl", function()
  local world

  before_each(function() world = World.new() end)
  after_each(function() world:close() end)

  local function run(dir, ...)
    return platform.cxbctl(world, { CXB_RUN_DIR = dir, CXB_STATE_DIR = dir .. "/state",
      CXB_EXE = World.program, CXB_TTY = "0" }, { ... })
  end

  it("call names the front that does not answer, and the file that cannot be read", function()
    local dir, front = world:folder(), "http://127.0.0.1:" .. world:port()
    local code, text = run(dir, "call", "--keys", "1", "--url", front)
    assert.equal(1, code)
    assert.matches("no call: ", text, 1, true)
    assert.matches("(" .. front .. ")", text, 1, true)
    code, text = run(dir, "call", "--wav", dir .. "/none.wav")
    assert.equal(2, code)
    assert.matches("cxbctl: " .. dir .. "/none.wav: not found", text, 1, true)
  end)

  it("call says that a call was refused, and why, instead of waiting for its result", function()
    local call = require("cxbctl.verbs.call")
    local function refused(closed, more)
      local result = { ended_by = "far end", frames_in = 0, closed = closed }
      for name, value in pairs(more or {}) do result[name] = value end
      return call.refusal(result)
    end
    assert.equal("the call was refused: there is no active bot of this name",
      refused({ status = 1008 }))
    assert.equal("the call was refused: the bot is outside its active hours",
      refused({ status = 1000 }))
    assert.equal("the call was refused: the worker's log says why", refused({ status = 1011 }))
    assert.is_nil(refused({ status = 1000 }, { frames_in = 7 }))
    assert.is_nil(refused({ status = 1000 }, { ended_by = "bot" }))
  end)

  it("takes no words that a verb has no use for", function()
    for _, verb in ipairs({ "calls", "status", "version", "down" }) do
      local code, text = run(world:folder(), verb, "show")
      assert.same({ 2, true }, { code, text:find(verb .. ' takes no "show"', 1, true) ~= nil })
    end
  end)
end)
