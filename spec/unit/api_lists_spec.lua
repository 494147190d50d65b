-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")
local lists = require("services.web.lists")

describe("a page of a list", function()
  local ctx, counted

  before_each(function()
    api.install()
    local app = api.app()
    for i = 1, 7 do
      assert(app.store:insert("bots", { _id = "paged" .. i, name = "n" .. i, version = 1 }))
    end
    counted = 0
    ctx = { app = { store = setmetatable({
      count = function(_, ...)
        counted = counted + 1
        return app.store:count(...)
      end,
      find = function(_, ...)
        return app.store:find(...)
      end,
    }, { __index = app.store }) } }
  end)

  after_each(api.restore)

  -- How many there are, in words: rows of the page, of all, whether something follows.
  local function page(query, prefix)
    ctx.query = query
    query.limit = query.limit or 3
    local answer = assert(lists.page(ctx, "bots", { name = { prefix = prefix or "n" } },
      { sort = { "name" } }))
    assert.is_true(answer.total_exact)
    return ("%d of %d%s"):format(#answer.items, answer.total,
      answer.next ~= json.null and ", more" or ""), answer.next
  end

  it("tells how many rows there are, whichever it is", function()
    local first, next_page = page({})
    assert.equal("3 of 7, more", first)
    local second, third = page({ after = next_page })
    assert.equal("3 of 7, more", second)
    assert.equal("1 of 7", (page({ after = third })))
    assert.same({ "3 of 7, more", "1 of 7", "0 of 7" },
      { (page({ page = 2 })), (page({ page = 3 })), (page({ page = 4 })) })
    assert.same({ "7 of 7", "0 of 0" }, { (page({ limit = 50 })), (page({}, "none")) })
  end)

  it("that is the last is counted by its own rows, and costs one question", function()
    page({ limit = 50 })
    page({}, "none")
    page({ page = 3 })
    assert.equal(0, counted)
    page({})
    page({ page = 4 })
    assert.equal(2, counted)
  end)
end)
