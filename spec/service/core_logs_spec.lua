-- Log lines of a host about one call, as a worker finds them.
local CoreHost = require("support.core_host")
local World = require("support.world")
local json = require("cxb.json")

describe("a host's log", function()
  local world, host

  setup(function()
    world = World.new()
    host = CoreHost.new(world, { workers = 1 })
    local function line(ts, msg, id)
      return json.encode({ ts = ts, msg = msg, session_id = id, level = "info" }) .. "\n"
    end
    assert(cxb.fs.mkdir(host.state .. "/logs"))
    world:write(host.state .. "/logs/core-1.log", line("2026-04-24T09:00:02.000Z", "second", "s-call-1")
      .. line("2026-04-24T09:00:03.000Z", "other", "s-call-2") .. "not JSON s-call-1\n")
    world:write(host.state .. "/logs/core-1.log.1", line("2026-04-24T09:00:01.000Z", "first", "s-call-1"))
    world:write(host.state .. "/logs/api.log", line("2026-04-24T09:00:04.000Z", "third", "s-call-1"))
    world:write(host.state .. "/logs/secrets.env", line("2026-04-24T09:00:05.000Z", "no log", "s-call-1"))
    host:start(1)
  end)

  teardown(function() world:close() end)

  local function lines(query)
    local found = {}
    for i, item in ipairs(assert(host:get(1, "/logs?" .. query)).items) do found[i] = item.msg end
    return found
  end

  it("gives the lines of one call from all its files in order of time", function()
    assert.same({ "first", "second", "third" }, lines("id=s-call-1"))
    assert.same({ "second", "third" }, lines("id=s-call-1&since=2026-04-24T09:00:02Z"))
    assert.same({ "third" }, lines("id=s-call-1&limit=1"))
    assert.same({}, lines("id=s-call-9"))
  end)

  it("takes an id for nothing but an id, and asks for the secret", function()
    for _, id in ipairs({ "", "short", "--help-me-please", "a%20b%20c%20d%20e" }) do
      local answer = host:get(1, "/logs?id=" .. id)
      assert.equal(id:match("^%-") and "array" or "invalid", answer.error or "array", id)
    end
    local bare = cxb.http.request({ url = "http+unix:" .. host:socket(1) .. ":/logs?id=s-call-1" })
    assert.equal(403, bare.status)
  end)
end)
