-- Sessions with unusual names on real workers: as long as a name may be, with characters that no
-- file has.
local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local World = require "support.world"
local dialler = require "support.dialler"

describe("a session of the longest name", function()
  local world, host, session

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { prefix = ("s:"):rep(99) .. "-" })
    host:start(1)
    host:start(2)
    session = host.prefix .. "1"
    assert.equal(200, #session)
  end)
  after_each(function() world:close() end)

  it("is hung up by any worker of the host, which then has its recording", function()
    local d = assert(host:call(1))
    d:speak(dialler.tone(400))
    assert.equal(404, host:post(2, "/calls/" .. session:sub(1, 199) .. "/hangup").status)
    local name
    World.wait_until("the file", function()
      local found = cxb.process.spawn({ args = { "find", host.state .. "/recordings", "-name",
        "*.wav" }, capture = true })
      name = (found:line() or ""):match("[^/]*$")
      return name ~= ""
    end)
    local function recording()
      return cxb.http.request({ url = "http+unix:" .. host:socket(2) .. ":/recordings/" .. name,
        headers = { ["x-cxb-core-secret"] = CoreHost.SECRET } })
    end
    assert.equal(404, recording().status) -- the call still makes it
    assert.equal(200, host:post(2, "/calls/" .. session .. "/hangup").status)
    assert.is_true(d:wait_closed())
    local result = json.decode(host:delivery(1).body)
    assert.same({ session, "bot" }, { result.session_id, result.disconnected_by })
    assert.truthy(result.recording_key:find("/" .. name, 1, true))
    host:idle(1)
    assert.equal(200, recording().status)
  end)
end)
