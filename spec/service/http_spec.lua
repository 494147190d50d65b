-- The HTTP server and client with the real binary: what is answered, in which order, and what
-- malformed or slow peers get. Raw bytes are sent by an independent client (Python's sockets).

local json = require "cjson.safe"
local World = require "support.world"

local SERVICE = [[
local cjson = require "cjson.safe"
local dir = os.getenv("SPEC_DIR")
return {
  name = "web", listen = { { addr = "unix:" .. dir .. "/web.sock" } },
  large_heads = { "/hello" },
  guard = { { prefix = "/call/", upgrade = true }, { prefix = "/start", upgrade = false } },
  call_lost = function(info)
    local f = io.open(dir .. "/lost", "w") f:write(cjson.encode(info)) f:close()
  end,
  http = function(req)
    local path = req.path
    if path == "/echo" then
      local body, code = req:body(1000)
      if not body then return req:respond(code == "too_large" and 413 or 400, { error = code }) end
      return req:respond(200, { method = req.method, body = body, query = req.query })
    elseif path == "/count" then
      local n = 0
      for piece in function() return req:read() end do n = n + #piece end
      return req:respond(200, { n = n })
    elseif path == "/headers" then return req:respond(200, req.headers)
    elseif path == "/slow" then cxb.time.sleep(150) return req:respond(200, "slow")
    elseif path == "/never" then cxb.time.sleep(60000) return
    elseif path == "/boom" then error("boom")
    elseif path == "/silent" then return
    elseif path == "/half" then req:start(200, {}) req:write("part") return
    elseif path == "/stream" then
      req:start(200, { ["content-type"] = "text/plain" })
      for i = 1, 40 do if not req:write(("%05d"):format(i) .. ("x"):rep(99995)) then return end end
      return req:finish()
    elseif path == "/file" then
      local ok, code = req:send_file(dir .. "/data.bin", { ["content-type"] = "audio/wav" })
      if not ok and code == "not_found" then req:respond(404, { error = code }) end
      return
    elseif path == "/start" then
      if req.query == "die" then error("died") end
      while req.query == "held" and not cxb.fs.stat(dir .. "/release") do cxb.time.sleep(5) end
      return req:respond(200, { used = cxb.slot.state().used })
    elseif path == "/block" then
      cxb.slot.block(req.query ~= "none" and "storage_full" or nil, req.headers.key)
      return req:respond(200)
    elseif path == "/slot" then return req:respond(200, cxb.slot.state())
    elseif path == "/after" then
      req:respond(200, "ok")
      local f = io.open(dir .. "/after", "w")
      f:write(cjson.encode({ headers = req.headers, query = req.query, remote = req.remote,
        x = req.headers["x-one"] }))
      f:close()
      return
    elseif path == "/late" then
      while not cxb.fs.stat(dir .. "/gone") do cxb.time.sleep(5) end
      local ok, code = req:respond(200, "late")
      local f = io.open(dir .. "/late", "w") f:write(tostring(ok), " ", tostring(code)) f:close()
      return
    elseif path == "/trailer" then
      local body = req:body()
      return req:respond(200, { body = body, headers = req.headers })
    elseif path == "/whole" then
      io.open(dir .. "/begun", "w"):close()
      local body, code = req:body()
      local f = io.open(dir .. "/whole", "w") f:write(tostring(body), " ", tostring(code)) f:close()
      return
    elseif path == "/big" then return req:respond(200, ("b"):rep(3000000))
    elseif path == "/hello" then return req:respond(200, "hello", { ["x-a"] = "b" })
    end
    return req:respond(404, { error = "not_found" })
  end,
}
]]

local world, dir, url

local function raw(python)
  local child = assert(cxb.process.spawn {
    capture = true, args = { "python3", "-c", ([[
import socket, sys, time, json
def connect():
    s = socket.socket(socket.AF_UNIX); s.connect(%q); s.settimeout(60); return s
def drain(s):
    d = b''
    try:
        while True:
            x = s.recv(65536)
            if not x: break
            d += x
    except ConnectionResetError: pass
    return d.decode('latin1')
%s]]):format(dir .. "/web.sock", python) },
  })
  local lines = {}
  for line in function() return child:line() end do lines[#lines + 1] = line end
  assert.equal(0, (child:wait(30000)), table.concat(lines, "\n"))
  return table.concat(lines, "\n")
end

local function get(path, options)
  options = options or {}
  options.url = url .. path
  return cxb.http.request(options)
end

setup(function()
  world = World.new()
  dir = world:folder()
  world:write(dir .. "/web.lua", SERVICE)
  world:write(dir .. "/data.bin", ("0123456789"):rep(30000))
  url = "http+unix:" .. dir .. "/web.sock:"
  world:service(dir .. "/web.lua", { SPEC_DIR = dir }, dir .. "/web.sock")
end)

teardown(function() world:close() end)

describe("the HTTP server", function()
  it("answers pipelined requests once each, in order, whatever their handlers take", function()
    local text = raw [[
s = connect()
s.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
          b"POST /echo?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
          b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
print(drain(s))]]
    local _, answers = text:gsub("HTTP/1.1 200 OK", "")
    assert.equal(4, answers)
    assert.is_true(text:find("slow", 1, true) < text:find('"body":"one"', 1, true))
    assert.is_true(text:find('"body":"one"', 1, true) < text:find('"body":"two"', 1, true))
    assert.is_true(text:find('"body":"two"', 1, true) < text:find("hello", 1, true))
  end)

  it("reads a request that arrives byte by byte", function()
    local text = raw [[
s = connect()
for b in b"POST /echo?a=%20 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello":
    s.sendall(bytes([b])); time.sleep(0.001)
print(drain(s))]]
    assert.truthy(text:find('"body":"hello"', 1, true))
    assert.truthy(text:find('"query":"a=%20"', 1, true))
  end)

  it("reads chunked and counted bodies alike, with 100-continue when asked", function()
    local body = ("z"):rep(700000)
    local pieces = { body:sub(1, 1), body:sub(2, 300000), body:sub(300001) }
    local counted = get("/count", { method = "POST", body = body })
    local chunked = get("/count", { method = "POST", body = function() return table.remove(pieces, 1) end })
    assert.equal(700000, json.decode(counted.body).n)
    assert.equal(700000, json.decode(chunked.body).n)
    local text = raw [[
s = connect()
s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
print(s.recv(1000).decode().strip()); s.sendall(b"ok"); print(drain(s))]]
    assert.matches("^HTTP/1.1 100 Continue", text)
    assert.truthy(text:find('"body":"ok"', 1, true))
  end)

  it("refuses a body above the handler's limit with 413, announced or not", function()
    assert.equal(413, get("/echo", { method = "POST", body = ("x"):rep(1001) }).status)
    local left = 3
    local answer = get("/echo", { method = "POST", body = function()
      left = left - 1
      return left >= 0 and ("y"):rep(600) or nil
    end })
    assert.equal(413, answer.status)
  end)

  it("refuses headers above 16 KiB with 431 and garbage with 400, and closes", function()
    local text = raw [[
many = b"".join(b"X%d: a\r\n" % i for i in range(101))
for big in (b"X: " + b"a" * 20000 + b"\r\n", many):
    s = connect(); s.sendall(b"GET / HTTP/1.1\r\n" + big + b"\r\n"); print(drain(s).split("\r\n")[0])
folded, length = b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n"
for bad in (b"garbage\r\n\r\n", folded, length, b"\x16\x03\x01\x00\xa5"):
    s = connect(); s.sendall(bad); print(drain(s).split("\r\n")[0])]]
    assert.equal("HTTP/1.1 431 Request Header Fields Too Large\n"
      .. "HTTP/1.1 431 Request Header Fields Too Large\n"
      .. ("HTTP/1.1 400 Bad Request\n"):rep(4), text .. "\n")
  end)

  it("takes headers of 32 KiB where the service says so", function()
    local function with(path, n)
      return get(path, { headers = { ["x-1"] = ("a"):rep(n / 2), ["x-2"] = ("b"):rep(n / 2) } }).status
    end
    assert.same({ 200, 431 }, { with("/hello", 32000), with("/hello", 33000) })
    assert.same({ 200, 431 }, { with("/slow", 16000), with("/slow", 17000) })
  end)

  it("refuses in the one shape of errors, with the request's id", function()
    local text = raw [[
for bad in (b"GET / HTTP/1.1\r\nX-Request-ID: chosen-by-us\r\nHo st: a\r\n\r\n", b"garbage\r\n\r\n",
            b"GET /" + b"u" * 33000 + b" HTTP/1.1\r\nX-Request-ID: bad id\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n", b"GET /boom HTTP/1.1\r\nConnection: close\r\n\r\n"):
    s = connect(); s.sendall(bad); print(json.dumps(drain(s)))]]
    local codes, ids = {}, {}
    for line in text:gmatch("[^\n]+") do
      local head, body = json.decode("[" .. line .. "]")[1]:match("^(.-)\r\n\r\n(.*)$")
      local answer = json.decode(body)
      codes[#codes + 1], ids[#ids + 1] = answer.error, answer.request_id
      assert.equal(answer.message, answer.detail)
      assert.truthy(head:find("\r\nX-Request-ID: " .. answer.request_id .. "\r\n", 1, true))
      assert.truthy(head:find("\r\nCache-Control: no-store\r\n", 1, true))
    end
    assert.same({ "bad_request", "bad_request", "uri_too_long", "headers_too_large", "internal" }, codes)
    assert.equal("chosen-by-us", ids[1])
    assert.equal(36, #ids[3])
  end)

  it("takes a URL of 32 KiB beside its headers, and 414 is the answer to a longer one", function()
    local long = get("/hello?" .. ("q"):rep(32000))
    assert.same({ 200, "hello" }, { long.status, long.body })
    assert.equal(414, get("/hello?" .. ("q"):rep(33000)).status)
  end)

  it("answers 500 for an error and for no answer, and serves on", function()
    assert.equal(500, get("/boom").status)
    assert.equal(500, get("/silent").status)
    assert.equal("hello", get("/hello").body)
  end)

  it("breaks a streamed answer that its handler did not finish", function()
    local answer, code = get("/half")
    assert.is_nil(answer)
    assert.equal("closed", code)
  end)

  it("streams to a slow reader without holding it all, and notices one that leaves", function()
    local text = raw [[
s = connect(); s.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
n = 0; d = b''
while True:
    x = s.recv(30000)
    if not x: break
    n += len(x); time.sleep(0.0005)
print(n)
s = connect(); s.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"); s.recv(10); s.close()]]
    assert.is_true(tonumber(text) > 4000000)
    assert.equal("hello", get("/hello").body)
  end)

  it("gives repeated headers as one, names in lower case", function()
    local text = raw [[
s = connect()
s.sendall(b"GET /headers HTTP/1.1\r\nHost: a\r\nX-Two: 1 \r\nx-two:2\r\nConnection: close\r\n\r\n")
print(drain(s))]]
    assert.truthy(text:find('"x-two":"1, 2"', 1, true))
  end)

  it("answers HEAD with the length and no body", function()
    local text = raw [[
s = connect(); s.sendall(b"HEAD /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); print(drain(s))]]
    assert.truthy(text:find("Content-Length: 5", 1, true))
    assert.is_nil(text:find("hello", 1, true))
  end)
end)

describe("a request", function()
  it("says after its answer what it said before", function()
    raw [[
s = connect(); s.sendall(b"GET /after?a=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n"); s.recv(1000)
s.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); drain(s)]]
    local seen = json.decode(cxb.fs.read(dir .. "/after"))
    assert.same({ query = "a=1", remote = "unix", x = "1", headers = { host = "a", ["x-one"] = "1" } }, seen)
  end)

  it("whose peer has gone is told so by its answer, which is no mistake of the script", function()
    raw [[
s = connect(); s.sendall(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
s.shutdown(socket.SHUT_RDWR); s.close()]]
    assert.equal("hello", get("/hello").body)
    cxb.fs.write(dir .. "/gone", "")
    World.wait_until("the answer", function()
      return cxb.fs.read(dir .. "/late") == "nil closed"
    end)
  end)

  it("has no header that came behind its body", function()
    local text = raw [[
s = connect()
s.sendall(b"POST /trailer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
time.sleep(0.05); s.sendall(b"X-Admin: yes\r\n\r\n"); print(s.recv(4000).decode())]]
    assert.truthy(text:find('"body":"hello"', 1, true))
    assert.is_nil(text:lower():find("admin", 1, true))
  end)

  it("whose body breaks off in garbage is 400 for its peer and no body for its handler", function()
    local text = raw(([[
import os
s = connect()
s.sendall(b"POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
while not os.path.exists(%q): time.sleep(0.01)
s.sendall(b"nonsense\r\n"); print(drain(s).split("\r\n")[0])]]):format(dir .. "/begun"))
    assert.equal("HTTP/1.1 400 Bad Request", text)
    World.wait_until("the handler ends", function() return cxb.fs.read(dir .. "/whole") end)
    assert.equal("nil closed", cxb.fs.read(dir .. "/whole"))
  end)
end)

describe("a file as answer", function()
  local whole = ("0123456789"):rep(30000)

  it("honours one range byte-exactly, and several or malformed ones by the whole", function()
    for header, want in pairs {
      ["bytes=0-0"] = "0", ["bytes=10-19"] = "0123456789", ["bytes=299995-"] = "56789",
      ["bytes=-3"] = "789", ["bytes=299999-400000"] = "9", ["bytes=299998-" .. ("9"):rep(30)] = "89",
    } do
      local answer = get("/file", { headers = { range = header } })
      assert.equal(206, answer.status, header)
      assert.equal(want, answer.body, header)
    end
    for _, header in ipairs { "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=" } do
      local answer = get("/file", { headers = { range = header } })
      assert.equal(200, answer.status, header)
      assert.is_true(answer.body == whole, header)
    end
  end)

  it("answers 416 with the size when a range cannot be satisfied", function()
    for _, header in ipairs { "bytes=300000-", "bytes=9-3", "bytes=-0",
      "bytes=" .. ("9"):rep(30) .. "-" } do
      local answer = get("/file", { headers = { range = header } })
      assert.equal(416, answer.status, header)
      assert.equal("bytes */300000", answer.headers["content-range"])
    end
  end)

  it("knows its ETag: 304 when unchanged, the whole when If-Range differs", function()
    local etag = get("/file").headers.etag
    assert.equal(304, get("/file", { headers = { ["if-none-match"] = etag } }).status)
    assert.equal(206, get("/file", { headers = { range = "bytes=0-1", ["if-range"] = etag } }).status)
    assert.equal(200, get("/file", { headers = { range = "bytes=0-1", ["if-range"] = '"x"' } }).status)
  end)
end)

describe("a server that stops", function()
  it("sends to its end what a slow reader is still taking", function()
    local own = world:folder()
    world:write(own .. "/web.lua", (SERVICE:gsub("guard = %b{},", "")))
    local service = world:service(own .. "/web.lua", { SPEC_DIR = own }, own .. "/web.sock")
    local reader = assert(cxb.process.spawn { capture = true, args = { "python3", "-uc", ([[
import socket, time
s = socket.socket(socket.AF_UNIX); s.connect(%q); s.settimeout(60)
s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n"); n = len(s.recv(1000)); print("begun")
while True:
    x = s.recv(100000)
    if not x: break
    n += len(x); time.sleep(0.02)
print(n)]]):format(own .. "/web.sock") } })
    assert.equal("begun", reader:line())
    service:kill("TERM")
    assert.is_true(tonumber(reader:line()) > 3000000)
    assert.equal(0, (service:wait(30000)))
  end)
end)

describe("a guarded request", function()
  local function used() return json.decode(get("/slot").body).used end
  after_each(function()
    cxb.fs.remove(dir .. "/release")
    world:wait_until("the slot is free", function() return used() == 0 end)
  end)

  it("holds the slot while it runs; the next is refused in JSON without reaching Lua", function()
    local first = cxb.task.spawn("first", get, "/start?held", { method = "POST" })
    world.wait_until(world, "the slot is taken", function() return used() == 1 end)
    local second = get("/start", { method = "POST" })
    assert.equal(429, second.status)
    assert.equal('{"error":"at_capacity"}', second.body)
    assert.equal("1", second.headers["retry-after"])
    world:write(dir .. "/release", "")
    assert.equal(200, first:wait(30000).status)
    world.wait_until(world, "the slot is free", function() return used() == 0 end)
    assert.equal(200, get("/start", { method = "POST" }).status)
  end)

  it("is refused as long as anybody blocks, whoever else has stopped to", function()
    local function block(query, key) get("/block?" .. query, { headers = { key = key } }) end
    local function status() return get("/start", { method = "POST" }).status end
    block("full", "disk")
    block("full", "outbox")
    block("none", "disk")
    assert.equal(503, status())
    block("none", "outbox")
    assert.equal(200, status())
  end)

  it("refuses an upgrade with 503", function()
    local first = cxb.task.spawn("first", get, "/start?held", { method = "POST" })
    world.wait_until(world, "the slot is taken", function() return used() == 1 end)
    local answer = get("/call/x", { headers = {
      upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "13",
      ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==",
    } })
    assert.equal(503, answer.status)
    assert.equal('{"error":"at_capacity"}', answer.body)
    world:write(dir .. "/release", "")
    first:wait(30000)
  end)

  it("frees the slot when its task dies, after telling the service what was lost", function()
    assert.equal(500, get("/start?die", { method = "POST" }).status)
    world.wait_until(world, "the slot is free", function() return used() == 0 end)
    local info = json.decode(world:read(dir .. "/lost"))
    assert.equal("script", info.reason)
    assert.matches("died", info.error)
  end)

  it("is refused while draining", function()
    local own = world:folder()
    world:write(own .. "/web.lua", SERVICE)
    local service = world:service(own .. "/web.lua", { SPEC_DIR = own }, own .. "/web.sock")
    local base = "http+unix:" .. own .. "/web.sock:"
    local running = cxb.task.spawn("call", function()
      return cxb.http.request { url = base .. "/start?held", method = "POST" }
    end)
    world.wait_until(world, "the slot is taken", function()
      return json.decode(cxb.http.request({ url = base .. "/slot" }).body).used == 1
    end)
    service:kill("TERM")
    world.wait_until(world, "it says so", function()
      local answer = cxb.http.request { url = base .. "/start", method = "POST" }
      return answer and answer.status == 429
    end)
    world:write(own .. "/release", "")
    assert.equal(200, running:wait(30000).status)
    assert.equal(0, service:wait(30000))
  end)
end)

describe("the HTTP client", function()
  it("tells a refused connection, a name that does not resolve and a time-out apart", function()
    local port = world:port()
    local _, refused = cxb.http.request { url = "http://127.0.0.1:" .. port }
    local _, resolve = cxb.http.request { url = "http://no-such-host.invalid/" }
    local _, timeout = get("/never", { timeout_ms = 30 })
    assert.same({ "refused", "resolve", "timeout" }, { refused, resolve, timeout })
  end)

  it("never shows query or credentials in an error", function()
    local _, _, message = cxb.http.request {
      url = "http://user:hunter2@127.0.0.1:" .. world:port() .. "/x?token=s3cret",
    }
    assert.is_nil(message:find("hunter2"))
    assert.is_nil(message:find("s3cret"))
  end)

  it("stops a body above its limit and streams one piece by piece", function()
    local _, code = get("/stream", { max_body = 100000 })
    assert.equal("too_large", code)
    local n = 0
    local answer = get("/stream", { on_data = function(piece) n = n + #piece end })
    assert.equal(200, answer.status)
    assert.is_nil(answer.body)
    assert.equal(4000000, n)
  end)

  it("ends at once when its task is cancelled", function()
    local task = cxb.task.spawn("waiting", get, "/never")
    cxb.time.sleep(20)
    task:cancel()
    local _, code = task:wait(30000)
    assert.equal("cancelled", code)
  end)
end)
