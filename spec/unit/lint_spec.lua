-- Mistakes in flows that are found when they are loaded.
local lint = require("cxb.core.lint")

describe("a flow that is loaded", function()
  local function check(text)
    local found = lint.check(assert(loadstring(text)), setmetatable({ call = false }, { __index = _G }))
    return found and ("%d: %s"):format(found.line, found.message)
  end

  it("is refused when it assigns what is no local, however deep", function()
    assert.equal("1: global x is assigned; use a local", check("x = 1"))
    assert.equal("4: global total is assigned; use a local", check([[
return function(call)
  local function add(n)
    return function()
      total = n
    end
  end
end]]))
    assert.equal("1: global helper is assigned; use a local", check("function helper() end"))
  end)

  it("is refused when it reads what nobody has defined", function()
    assert.equal("2: nme is not defined", check("local name = 1\nreturn function() return nme end"))
    assert.equal("1: prnt is not defined", check("return function() prnt('x') end"))
  end)

  it("has the first of several mistakes named", function()
    assert.equal("2: b is not defined", check("local a = 1\nlocal c = b\nd = c"))
  end)

  it("is taken with locals, parameters, upvalues, fields and Lua's own names", function()
    assert.is_nil(check([[
local json = require("cxb.json")
local count = 0
local t = { x = 1 }
t.y, t["z"] = 2, 3
return function(call, ...)
  count = count + select("#", ...)
  for i, v in ipairs({ 1, 2 }) do t[i] = v end
  local s = ("x"):rep(3) .. tostring(math.floor(os.time())) .. string.char(65)
  if cxb then t.s = s end
  return pcall(error, s), json
end]]))
  end)

  it("of this installation is taken, each", function()
    for _, name in ipairs(cxb.fs.list(cxb.root .. "/lua/flows")) do
      if name:match("%.lua$") then
        local chunk = assert(loadfile(cxb.root .. "/lua/flows/" .. name))
        assert.is_nil(lint.check(chunk, _G), name)
      end
    end
  end)
end)
