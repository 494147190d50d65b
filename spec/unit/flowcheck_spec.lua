local flowcheck = require("cxb.flowcheck")
local tokens = require("cxb.flowcheck.tokens")

local function told(source)
  local out = {}
  for i, d in ipairs(flowcheck.check(source, "mine")) do
    out[i] = ("%d:%d %s %s"):format(d.line, d.column, d.code, d.message)
  end
  return out
end

describe("the words of a Lua text", function()
  it("stand where they are, comments and long texts passed over", function()
    local out = {}
    for i, t in ipairs(tokens.read("local a = 'x\\'y' -- no\n--[[ no\n]] b[==[ in\n]==] .. 1.5e3 ~= c")) do
      out[i] = ("%d:%d %s"):format(t.line, t.column, t.text)
    end
    assert.same({ "1:1 local", "1:7 a", "1:9 =", "1:11 'x\\'y'", "3:4 b", "3:5 [==[ in\n]==]",
      "4:6 ..", "4:9 1.5e3", "4:15 ~=", "4:18 c" }, out)
  end)
end)

describe("a flow's check", function()
  it("finds nothing in the flows that are shipped", function()
    local files = { "demo", "assistant", "echo", "examples/survey", "examples/ivr",
      "examples/transfer_desk", "examples/collections", "examples/appointment" }
    for _, name in ipairs(files) do
      local source = assert(cxb.fs.read(("%s/lua/flows/%s.lua"):format(cxb.root, name)))
      assert.same({}, told(source), name)
    end
  end)

  it("names a mistake of syntax with its line and column", function()
    assert.same({ "2:15 syntax unexpected symbol near ')'" },
      told("local x = 1\nlocal y = (x) )\nreturn 1"))
    assert.matches("^1:1 syntax 'end' expected", told("return function(call)")[1])
  end)

  it("names globals that nobody has, and those that are not for flows", function()
    assert.same({ "1:1 global_assigned global count is assigned; use a local",
      "2:30 unknown_global text is not defined", "2:53 unknown_global io is not for flows",
      "2:77 unknown_global dofile is not for flows" },
      told('count = 1\nreturn function() local x = {text, io = 3} print(x, io.open("/etc/passwd"), '
        .. "dofile) end"))
  end)

  it("names what the script API has not", function()
    assert.same({ "2:7 cxb_api cxb.fs is not for flows", "3:12 cxb_api there is no cxb.time.never",
      "4:7 cxb_api there is no cxb.nothing", "5:8 call_api there is no call:shout",
      "6:8 call_api write call:say(…)" },
      told("return function(call)\n  cxb.fs.read('x')\n  cxb.time.never()\n  cxb.nothing()\n"
        .. "  call:shout('a')\n  call.say('b')\n  return call.mood\nend"))
  end)

  it("asks for a function to call", function()
    assert.same({ "1:8 no_entry a flow returns function(call)" }, told("return 5"))
    assert.same({ "1:1 no_entry a flow returns function(call)" }, told(""))
    assert.same({ "2:1 load_error not today" }, told("local x = 1\nerror('not today')"))
    assert.same({ "1:1 syntax this is no Lua text" }, told("\27LJ"))
    assert.matches("load_error module cxb.core.calls is not for flows",
      told("require('cxb.core.calls')\nreturn function() end")[1])
  end)
end)
