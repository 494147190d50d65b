-- WebSockets of scripts, both ways, with the real binary. The other side is independent: Python's
-- websockets library, and raw sockets for what no library would send (spec/c/ws_peer.py).

local World = require "support.world"

local SERVICE = [[
local dir = os.getenv("SPEC_DIR")
local ended = {}
return {
  name = "sockets",
  listen = { { addr = "tcp:127.0.0.1:" .. os.getenv("SPEC_PORT") }, { addr = "unix:" .. dir .. "/ws.sock" } },
  http = function(req)
    if req.path == "/ended" then return req:respond(200, table.concat(ended, " ")) end
    if not req.upgrade then return req:respond(426, { error = "upgrade_required" }) end
    local conn = assert(req:websocket { protocol = "v1" })
    if req.path == "/pipe" then
      local other = assert(cxb.ws.connect("ws+unix:" .. dir .. "/ws.sock:/echo"))
      conn:pipe(other:sink())
      other:pipe(conn:sink())
      local kind, code, number = conn:receive()
      return other:close()
    end
    while true do
      local kind, data, code = conn:receive()
      if not kind then
        ended[#ended + 1] = tostring(code)
        return
      end
      if data == "close me" then conn:close(4002, "as you wish")
      elseif data == "generation" then conn:send(tostring(cxb.generation))
      elseif kind == "text" then conn:send(data)
      else conn:send_binary(data) end
    end
  end,
}
]]

local world, dir, port, service, base

local function peer(...)
  local child = assert(cxb.process.spawn {
    capture = true, args = { "/usr/bin/python3", cxb.root .. "/spec/c/ws_peer.py", ... },
  })
  local lines = {}
  for line in function() return child:line() end do lines[#lines + 1] = line end
  return (child:wait(120000)), table.concat(lines, "\n")
end

local function ended()
  return cxb.http.request({ url = "http+unix:" .. dir .. "/ws.sock:/ended" }).body
end

---A server of Python's websockets: its port.
local function python_server(address)
  local p = world:start { "/usr/bin/python3", cxb.root .. "/spec/support/hold.py",
    cxb.root .. "/spec/c/ws_peer.py", "serve", address }
  return world:wait_until("the server's port", function() return tonumber(p.log[1]) end)
end

setup(function()
  world = World.new()
  dir, port = world:folder(), world:port()
  world:write(dir .. "/ws.lua", SERVICE)
  service = world:service(dir .. "/ws.lua", { SPEC_DIR = dir, SPEC_PORT = tostring(port) }, dir .. "/ws.sock")
  base = "ws+unix:" .. dir .. "/ws.sock:"
end)

teardown(function() world:close() end)

describe("a socket that a script serves", function()
  for case, title in pairs {
    echo = "echoes text and binary of all sizes to an independent client",
    fragments = "gets messages whole when they come in fragments, and answers pings",
    offers_deflate = "takes no compression and echoes the subprotocol it was told",
    closed_by_server = "is closed with the script's code and reason",
    bad_all = "gives each malformed stream the close code it earned",
    early = "loses no frame that came with the request",
    trickle = "takes frames byte by byte",
    silent = "is gone soon after a close that the peer ignores",
  } do
    it(title, function()
      local code, output = peer(case, tostring(port))
      assert.equal(0, code, output)
    end)
  end

  it("tells the script which code the peer closed with", function()
    local conn = assert(cxb.ws.connect(base .. "/echo"))
    conn:close(4321, "enough")
    world:wait_until("4321 among the ends", function() return ended():find("4321") end)
  end)

  it("is answered 426 by the script when the handshake is malformed", function()
    local answer = cxb.http.request { url = "http+unix:" .. dir .. "/ws.sock:/echo", headers = {
      upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "8",
      ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==",
    } }
    assert.equal(426, answer.status)
  end)

  it("stays with its generation over a reload", function()
    local conn = assert(cxb.ws.connect(base .. "/echo"))
    conn:send("generation")
    local _, before = conn:receive(30000)
    service:kill("HUP")
    world:wait_until("a new generation answers", function()
      local fresh = assert(cxb.ws.connect(base .. "/echo"))
      fresh:send("generation")
      local _, now = fresh:receive(30000)
      fresh:close()
      return tonumber(now) > tonumber(before)
    end)
    conn:send("generation")
    assert.equal(before, select(2, conn:receive(30000)))
    conn:close()
  end)
end)

describe("a socket that a script opens", function()
  local url

  setup(function() url = "ws://localhost:" .. python_server("tcp") end)

  it("carries headers, text and binary", function()
    local conn = assert(cxb.ws.connect(url .. "/headers", { headers = { ["x-key"] = "42" }, protocol = "v1" }))
    local kind, data = conn:receive(30000)
    assert.same({ "text", "42|" .. url:sub(6) }, { kind, data })
    conn:send_binary(("\0\255"):rep(5000))
    kind, data = conn:receive(30000)
    assert.equal("binary", kind)
    assert.is_true(data == ("\0\255"):rep(5000))
    conn:close()
    local nothing, closed, code = conn:receive(30000)
    assert.same({ nil, "closed", 1000 }, { nothing, closed, code })
    local sent, why = conn:send("too late")
    assert.same({ nil, "closed" }, { sent, why })
  end)

  it("says why it was not opened", function()
    local function why(address, options)
      local conn, code, _, status = cxb.ws.connect(address, options)
      assert.is_nil(conn)
      return code .. (status and status > 999 and "" or " " .. tostring(status))
    end
    assert.equal("status 401", why(url .. "/401"))
    assert.equal("status 503", why(url .. "/503"))
    assert.equal("refused", why("ws://127.0.0.1:" .. world:port()))
    assert.equal("refused", why("ws+unix:" .. dir .. "/nobody.sock:/"))
    assert.equal("resolve", why("ws://no-such-host.invalid/"))
    assert.equal("timeout", why(url .. "/stall", { timeout_ms = 100 }))
    assert.equal("invalid", (select(2, cxb.ws.connect("http://a/"))))
  end)

  it("reports the peer's close and a vanished peer", function()
    local conn = assert(cxb.ws.connect(url .. "/close"))
    assert.same({ nil, "closed", 4003, "server is done" }, { conn:receive(30000) })
    conn = assert(cxb.ws.connect(url .. "/vanish"))
    local _, _, code = conn:receive(30000)
    assert.equal(1006, code)
  end)

  it("refuses a message above the limit it was opened with", function()
    local conn = assert(cxb.ws.connect(url .. "/fragments", { max_text = 14 }))
    local _, _, code = conn:receive(30000)
    assert.equal(1009, code)
  end)

  it("waits in receive no longer than it was told, and goes on", function()
    local conn = assert(cxb.ws.connect(url .. "/"))
    assert.same({ nil, "timeout" }, { conn:receive(30) })
    conn:send("later")
    assert.same({ "text", "later" }, { conn:receive(30000) })
    conn:close()
  end)

  it("takes audio out of JSON into a sink and leaves its size to the script, in order", function()
    local conn, other = assert(cxb.ws.connect(url .. "/")), assert(cxb.ws.connect(base .. "/echo"))
    local audio = cxb.crypto.random(4000) .. "!" -- an odd number of bytes
    local function message(path, data, n)
      return path == "audio" and ('{"audio":"%s","n":%d}'):format(cxb.crypto.base64(data), n)
        or ('{"type":"audio","data":{"audio":"%s"},"n":%d}'):format(cxb.crypto.base64(data), n)
    end
    conn:send(message("audio", audio, 0)) -- may be there before the pipe is
    world:wait_until("something sent back", function() return conn:idle_ms() >= 20 end)
    conn:pipe_json(other:sink(), { path = "audio" })
    for n = 1, 3 do conn:send(message("audio", audio:sub(n), n)) end
    conn:send('{"audio":"no base64 !","n":4}')
    conn:send('{"audio":null,"chars":["\\"","\195\169"],"n":5}')
    conn:send('{"audio":"AAAA", no JSON')
    for n = 0, 3 do
      assert.same({ "text", ('{"audio":%d,"n":%d}'):format(#audio - math.max(0, n - 1), n) },
        { conn:receive(30000) })
    end
    assert.equal('{"audio":-1,"n":4}', select(2, conn:receive(30000)))
    assert.equal('{"audio":null,"chars":["\\"","\195\169"],"n":5}', select(2, conn:receive(30000)))
    assert.equal('{"audio":"AAAA", no JSON', select(2, conn:receive(30000)))
    for n = 0, 3 do
      local kind, data = other:receive(30000)
      assert.equal("binary", kind)
      assert.is_true(data == audio:sub(math.max(1, n)))
    end

    conn:pipe_json(nil, { path = "data.audio" })
    conn:send(message("data", audio, 6))
    assert.equal(('{"type":"audio","data":{"audio":%d},"n":6}'):format(#audio), select(2, conn:receive(30000)))
    conn:pipe(nil)
    conn:send('{"data":{"audio":"AAAA"}}')
    assert.equal('{"data":{"audio":"AAAA"}}', select(2, conn:receive(30000)))
    assert.same({ nil, "timeout" }, { other:receive(50) })
    conn:close()
    other:close()
  end)

  it("takes audio out of messages that come in fragments of a byte", function()
    local conn, other = assert(cxb.ws.connect(url .. "/audio")), assert(cxb.ws.connect(base .. "/echo"))
    conn:pipe_json(other:sink(), { path = "audio" })
    for n = 0, 19 do
      assert.equal(('{"audio":4,"n":%d}'):format(n), select(2, conn:receive(30000)))
      assert.equal("\0\1\2\3", select(2, other:receive(30000)))
    end
    conn:close()
    other:close()
  end)

  it("makes a sender wait for a peer that does not read", function()
    local conn = assert(cxb.ws.connect(url .. "/deaf"))
    local sent = 0
    local sender = cxb.task.spawn("sender", function()
      for _ = 1, 1000 do
        if not conn:send_binary(("x"):rep(60000)) then return end
        sent = sent + 1
      end
    end)
    local last, since = -1, cxb.time.mono()
    world:wait_until("the sender to stand still", function()
      if sent ~= last then last, since = sent, cxb.time.mono() end
      return sent > 0 and cxb.time.mono() - since > 200
    end)
    assert.is_true(sent < 1000)
    conn:close()
    sender:wait(30000)
    local _, _, code = conn:receive(30000)
    assert.equal(1006, code)
  end)

  it("ends the wait of a cancelled task", function()
    local task = cxb.task.spawn("connecting", cxb.ws.connect, url .. "/stall")
    cxb.time.sleep(20)
    task:cancel()
    local _, code = task:wait(30000)
    assert.equal("cancelled", code)
  end)
end)

describe("a pipe", function()
  it("carries binary messages from socket to socket and back without the script", function()
    local conn = assert(cxb.ws.connect(base .. "/pipe"))
    for n = 1, 50 do
      local data = string.char(n):rep(640)
      conn:send_binary(data)
      local kind, back = conn:receive(30000)
      assert.equal("binary", kind)
      assert.is_true(back == data)
    end
    conn:close()
  end)
end)

describe("the end of the process", function()
  it("closes its sockets with 1001", function()
    local own, own_port = world:folder(), world:port()
    world:write(own .. "/ws.lua", SERVICE)
    local p = world:service(own .. "/ws.lua", { SPEC_DIR = own, SPEC_PORT = tostring(own_port) }, own .. "/ws.sock")
    local conn = assert(cxb.ws.connect("ws+unix:" .. own .. "/ws.sock:/echo"))
    p:kill("TERM")
    p:kill("INT")
    local _, _, code = conn:receive(30000)
    assert.equal(1001, code)
    assert.equal(0, p:wait(30000))
  end)
end)
