-- Browser test calls on a real worker: how the page learns that the call is over.
local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local World = require "support.world"

describe("a browser test call", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { env = { CXB_DEV = "1" } })
    host:start(1)
  end)
  after_each(function() world:close() end)

  -- (waits) A page in a call: its socket, once the call is ready.
  local function page()
    local ws = assert(cxb.ws.connect("ws+unix:" .. host:socket(1) .. ":/browser/echo",
      { timeout_ms = 30000 }))
    ws:send('{"type":"start","rate":16000}')
    repeat
      local kind, data = ws:receive(30000)
      assert.truthy(kind)
    until kind == "text" and json.decode(data).type == "ready"
    return ws
  end

  -- (waits) What the page was told of the end before its socket was closed, and the code of that.
  local function last_words(ws)
    local told = {}
    while true do
      local kind, data, code = ws:receive(30000)
      if not kind then return told, code end
      local message = kind == "text" and json.decode(data)
      if message and message.type == "end" then told[#told + 1] = message end
    end
  end

  it("tells the page how it ended before it closes, whoever ends it", function()
    local ws = page()
    assert.equal(200, host:post(1, "/calls/" .. host:session(1) .. "/hangup").status)
    local told, code = last_words(ws)
    assert.same({ { { type = "end", disconnected_by = "bot" } }, 1000 }, { told, code })
    host:idle(1)
    ws = page()
    ws:send('{"type":"stop"}')
    told, code = last_words(ws)
    assert.same({ { { type = "end", disconnected_by = "customer" } }, 1000 }, { told, code })
    assert.equal("customer", json.decode(host:delivery(2).body).disconnected_by)
  end)
end)
