-- timeout: 300
-- waits: 22
-- A call while it happens: listening in by the monitor's socket, live events at the API.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local front_of = require("support.front")
local json = require("cjson.safe")
local jwt = require("cxb.jwt")

local SECRET = CoreHost.SECRET

-- Notes something five times a second until the caller goes.
local TALK = [[
return function(call)
  call:event("greeted", { how = "warmly" })
  repeat
    local heard = call:listen({ timeout = 0.2 })
    call:event("tick")
  until heard.hangup
end
]]

local function ticket(session_id, o)
  local claims = { aud = "core-listen", session_id = session_id, jti = cxb.crypto.uuid4(),
    exp = math.floor(cxb.time.now() / 1000) + 50 }
  for name, value in pairs(o or {}) do claims[name] = value end
  return jwt.sign(claims, cxb.crypto.hkdf_sha256(SECRET, "core-listen", 32))
end

describe("a call while it happens", function()
  local world, host

  local function start(workers, env)
    world = World.new()
    host = CoreHost.new(world, { workers = workers or 1, env = env })
    world:write(host.dir .. "/flows/talk.lua", TALK)
    world:write(host.dir .. "/flows/echo.lua", world:read(cxb.root .. "/lua/flows/echo.lua"))
    host.env.CXB_FLOWS_DIR = host.dir .. "/flows"
    for n = 1, workers or 1 do host:start(n) end
  end

  local function session_of(n)
    local socket = ("%s/ctl/core-%d.sock"):format(host.dir, n)
    return World.wait_until("a session on " .. n, function()
      local status = cxb.process.control(socket, { verb = "status" })
      return status and status.session_id ~= "" and status.session_id
    end)
  end

  local function monitor(n, session_id, made)
    return cxb.ws.connect(("ws+unix:%s:/monitor/%s?ticket=%s"):format(host:socket(n), session_id,
      made or ticket(session_id)), { timeout_ms = 30000 })
  end

  -- What a listener gets until `enough`: bytes of audio, messages.
  local function hear(ws, enough, timeout_ms)
    local audio, messages = {}, {}
    local deadline = cxb.time.mono() + (timeout_ms or 60000)
    while cxb.time.mono() < deadline do
      local kind, data, code = ws:receive(1000)
      if kind == "binary" then
        audio[#audio + 1] = data
      elseif kind == "text" then
        messages[#messages + 1] = json.decode(data)
      elseif data == "closed" then
        return table.concat(audio), messages, code
      end
      if enough(audio, messages) then break end
    end
    return table.concat(audio), messages
  end

  -- The loudest sample of one side (0 left, 1 right).
  local function loudest(pcm, side)
    local most = 0
    for at = 1 + side * 2, #pcm - 1, 4 do
      local v = pcm:byte(at) + pcm:byte(at + 1) * 256
      most = math.max(most, math.abs(v >= 32768 and v - 65536 or v))
    end
    return most
  end

  local function loud_on(pcm, side)
    return loudest(pcm, side) > 4000
  end

  after_each(function() world:close() end)

  it("is heard by a listener on both channels, with its words and its end", function()
    start()
    local d = host:call(1)
    local session = session_of(1)
    local ws = assert(monitor(1, session))
    local talking = cxb.task.spawn("talk", function() d:speak(dialler.tone(3000)) end)
    local pcm = hear(ws, function(audio)
      local all = table.concat(audio)
      return loud_on(all, 0) and loud_on(all, 1)
    end)
    assert.is_true(loud_on(pcm, 0), "no caller")
    assert.is_true(loud_on(pcm, 1), "no bot")
    assert.equal(0, #pcm % 4)
    talking:wait(60000)
    d:hangup()
    local _, messages, code = hear(ws, function() return false end)
    assert.same({ type = "end", disconnected_by = "customer" }, messages[#messages])
    assert.equal(1000, code)
  end)

  it("is heard through any worker of the host, and through the front", function()
    start(2)
    local front = front_of.start(world, { workers = 2, started = 0, dir = host.dir })
    local d = host:call(1)
    local session = session_of(1)
    local heard = false
    local talking = cxb.task.spawn("talk", function()
      repeat d:speak(dialler.tone(1000)) until heard or d.closed
    end)
    for _, address in ipairs({ "ws+unix:" .. host:socket(2) .. ":", front.ws, front.ws }) do
      local ws = assert(cxb.ws.connect(("%s/monitor/%s?ticket=%s"):format(address, session,
        ticket(session)), { timeout_ms = 30000 }))
      ws:send("nothing goes up")
      ws:send_binary("nothing")
      local pcm = hear(ws, function(audio)
        local all = table.concat(audio)
        return loud_on(all, 0) and loud_on(all, 1)
      end)
      assert.is_true(loud_on(pcm, 0) and loud_on(pcm, 1), address)
      ws:close(1000)
    end
    heard = true
    local ws = assert(monitor(2, session))
    talking:wait(60000)
    d:hangup()
    local _, messages = hear(ws, function(_, list)
      return list[#list] and list[#list].type == "end"
    end)
    assert.equal("end", messages[#messages].type)
  end)

  it("opens to nobody without a good ticket, used once, for this session", function()
    start(2)
    local d = host:call(1)
    local session = session_of(1)
    local now = math.floor(cxb.time.now() / 1000)
    local bad = {
      "", "x.y.z", ticket("other"), ticket(session, { aud = "core-test" }),
      ticket(session, { exp = now - 1 }), ticket(session, { exp = now + 120 }),
      ticket(session, { jti = "" }),
    }
    for i, made in ipairs(bad) do
      local ws, code, _, status = monitor(1, session, made)
      assert.same({ nil, "status", 401 }, { ws, code, status }, "ticket " .. i)
    end
    local once = ticket(session)
    local first = assert(monitor(2, session, once))
    for n = 1, 2 do
      local ws, _, _, status = monitor(n, session, once)
      assert.same({ nil, 401 }, { ws, status })
    end
    first:close(1000)
    local ws, _, _, status = monitor(1, "nobody", ticket("nobody"))
    assert.same({ nil, 404 }, { ws, status })
    local answer = assert(cxb.http.request({
      url = "http+unix:" .. host:socket(1) .. ":/monitor/" .. session }))
    assert.equal(426, answer.status)
    d:hangup()
  end)

  it("goes on in time when a listener does not read, and that one is let go", function()
    start()
    local d = host:call(1)
    local session = session_of(1)
    local deaf = world:start({ "python3", "-c", ([[
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
s.connect(%q)
s.sendall(b"GET /monitor/%s?ticket=%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
  b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
  b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
print(s.recv(15).decode(), flush=True)
time.sleep(120)
]]):format(host:socket(1), session, ticket(session)) })
    World.wait_until("the deaf listener", function() return deaf:output():find("101") end)
    d:hear_self()
    d:speak(dialler.tone(2000))
    World.wait_until("the echo", function() return #d:heard() >= 2100 * 16 end)
    d:hangup()
    assert.is_true(d:wait_closed())
    host:idle(1)
    deaf:stop()
  end)

  it("is told to the API in order, with the secret, at most once a second", function()
    start()
    local began = cxb.time.mono()
    local d = host:call(1, "talk")
    World.wait_until("four requests", function() return #host:lives() >= 4 end)
    d:hangup()
    local posts = World.wait_until("the end", function()
      local list = host:lives()
      local last = list[#list] and list[#list].body
      return last and last:find('"call_ended"', 1, true) and list
    end)
    assert.is_true(#posts <= (cxb.time.mono() - began) / 1000 + 3, "more than one a second")
    local seen = {}
    for i, post in ipairs(posts) do
      local body = json.decode(post.body)
      assert.equal(i, body.seq)
      assert.equal("/api/v1/calls/s1/live", post.path)
      assert.equal(SECRET, post.headers["x-cxb-core-secret"])
      assert.is_nil(post.headers["idempotency-key"])
      for _, event in ipairs(body.events) do seen[#seen + 1] = event.type end
    end
    local all = table.concat(seen, " ")
    assert.matches("call_started", all)
    assert.matches("greeted", all)
    assert.matches("state", all)
    assert.matches("tick tick tick", all)
    assert.matches("call_ended$", all)
  end)

  it("ends as fast while the API swallows or refuses its live events, which are never sent again",
    function()
      start()
      for _, mode in ipairs({ "503", "silent" }) do
        host:live_mode(mode)
        local before = #host:lives()
        local d = host:call(1, "talk")
        World.wait_until("a live event", function() return #host:lives() > before end)
        d:hangup()
        assert.is_true(d:wait_closed())
        host:idle(1)
        World.wait_until("the last one", function()
          local list = host:lives()
          return list[#list].body:find("call_ended", 1, true)
        end)
        local seqs = {}
        for i = before + 1, #host:lives() do
          local seq = json.decode(host:lives()[i].body).seq
          assert.is_nil(seqs[seq], "sent twice")
          seqs[seq] = true
        end
      end
      assert.truthy(host:delivery(2))
    end)
end)
