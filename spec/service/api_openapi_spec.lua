-- area: api
-- The OpenAPI document in the eyes of programs that we did not write.
local Api = require("support.api_process")
local json = require("cxb.json")
local npm = require("support.npm")
local support = require("support.world")

describe("the published document", function()
  local world, api

  before_each(function()
    world = support.new()
    api = Api.start(world)
  end)

  after_each(function()
    world:close()
  end)

  it("is valid OpenAPI 3.1, and TypeScript types come out of it", function()
    local folder = npm.need(world, "openapi")
    local got = api:ask("GET", "/openapi.json")
    assert.equal(200, got.status)
    local file = world:folder() .. "/openapi.json"
    assert(cxb.fs.write(file, got.body))
    local judge = world:start({ "node", folder .. "/judge.mjs", file }, nil, folder)
    assert.equal(0, judge:wait(240000), judge:output())
    local report = json.decode_object(judge.log[#judge.log])
    assert.same({ valid = true, errors = {}, type_errors = {} },
      { valid = report.valid, errors = report.errors, type_errors = report.type_errors })
    assert.is_true(report.types > 5)
  end)

  it("is shown at /docs by files of our own", function()
    local page = api:ask("GET", "/docs")
    assert.equal(200, page.status)
    assert.matches("default%-src 'self'", page.headers["content-security-policy"])
    for source in page.body:gmatch('"(/docs/[%w_.-]+)"') do
      assert.equal(200, api:ask("GET", source).status, source)
    end
    assert.is_nil(page.body:find("https?://"))
  end)

  it("comes from a command too, without a running API", function()
    -- Without its log: on a busy machine a line of that follows the document, which ends in none.
    local p = world:start({ "/bin/sh", "-c", 'exec "$0" "$1" 2>/dev/null', cxb.program,
      cxb.root .. "/api/openapi.lua" })
    assert.equal(0, p:wait(60000))
    assert.is_true(api:ask("GET", "/openapi.json").body == table.concat(p.log))
  end)
end)
