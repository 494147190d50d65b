-- docs/reference.md is what the annotations say, neither older nor edited by hand.
local root = rawget(_G, "cxb") and cxb.root or "."
local reference = dofile(root .. "/docs/reference.lua")

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

describe("the reference", function()
  local page = reference.render(root)

  it("is up to date: build/cxbrt docs/reference.lua > docs/reference.md", function()
    assert.is_true(page == read(root .. "/docs/reference.md"), "docs/reference.md is out of date")
  end)

  it("has every function of the stubs, with its contract", function()
    local count = 0
    for name in read(root .. "/lua/types/cxb.lua"):gmatch("\nfunction cxb%.([%w_.]+)") do
      assert.truthy(page:find("### `cxb." .. name .. "(", 1, true), name)
      count = count + 1
    end
    assert.is_true(count > 50)
    assert.truthy(page:find("| `timeout_ms?` | `number` | whole request, 30000 |", 1, true))
    assert.truthy(page:find('\n(waits) nil, "refused" | "timeout" | "closed"', 1, true))
  end)

  it("has the flow's call and the spec's caller", function()
    for _, name in ipairs({ "call:say(said, opts)", "call:ask(said, opts)", "testing.call(o, script)",
      "caller:hears(words)" }) do
      assert.truthy(page:find("### `" .. name .. "`", 1, true), name)
    end
    assert.truthy(page:find("| `hints?` | `string[]` | words likely to come", 1, true))
  end)
end)
