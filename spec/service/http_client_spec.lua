-- cxb.http against an independent server (Python's http.server) and our own: uploads in pieces,
-- answers into sinks, redirects, TLS, connections that break.

local json = require "cjson.safe"
local World = require "support.world"

local PYTHON = [[
import http.server, json, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in headers.items(): self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        pieces, body = 0, b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while True:
                n = int(self.rfile.readline(), 16)
                piece = self.rfile.read(n)
                self.rfile.readline()
                if not n: break
                pieces, body = pieces + 1, body + piece
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, json.dumps({"pieces": pieces, "size": len(body), "first": body[:5].decode(),
            "type": self.headers.get("Content-Type", "")}).encode())
    def do_GET(self):
        if self.path == "/break":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.wfile.flush()
            self.connection.close()
            self.close_connection = True
        elif self.path == "/redirect": self.answer(302, b"", {"Location": "/headers"})
        elif self.path.startswith("/away"): self.answer(307, b"", {"Location": self.path[6:]})
        elif self.path == "/headers": self.answer(200, json.dumps(dict(self.headers)).encode())
        elif self.path == "/twice":
            self.answer(200, b"x", {"X-One": "1", "x-one": "2"})
        elif self.path == "/audio": self.answer(200, bytes(i % 251 for i in range(300000)))
        elif self.path == "/failed": self.answer(503, b"busy")
        else: self.answer(404, b"")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1])
    server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
]]

local ECHO = [[
return {
  name = "echo", listen = { { addr = "unix:" .. os.getenv("SPEC_DIR") .. "/echo.sock" } },
  http = function(req)
    if not req.upgrade then return req:respond(200, "up") end
    local conn = assert(req:websocket())
    while true do
      local kind, data = conn:receive()
      if not kind then return end
      conn:send_binary(data)
    end
  end,
}
]]

local world, url

local function python_server(...)
  local p = world:start { "/usr/bin/python3", "-c", PYTHON, ... }
  return world:wait_until("the server's port", function() return tonumber(p.log[1]) end)
end

setup(function()
  world = World.new()
  url = "http://127.0.0.1:" .. python_server()
end)

teardown(function() world:close() end)

describe("an upload", function()
  it("of a string carries its length", function()
    local answer = assert(cxb.http.request {
      url = url, method = "POST", body = ("x"):rep(100000), headers = { ["content-type"] = "text/x" },
    })
    assert.same({ pieces = 0, size = 100000, first = "xxxxx", type = "text/x" }, json.decode(answer.body))
  end)

  it("of a function goes piece by piece, and the function may wait", function()
    local n = 0
    local answer = assert(cxb.http.request {
      url = url, method = "POST", body = function()
        n = n + 1
        cxb.time.sleep(2)
        return n <= 20 and ("%05d"):format(n) .. ("x"):rep(4995) or nil
      end,
    })
    local seen = json.decode(answer.body)
    assert.equal(100000, seen.size)
    assert.equal("00001", seen.first)
    assert.is_true(seen.pieces > 1)
  end)

  it("whose function fails raises in the task that asked", function()
    local ok, why = pcall(cxb.http.request, {
      url = url, method = "POST", body = function() error("no more of it") end,
    })
    assert.is_false(ok)
    assert.matches("no more of it", tostring(why))
  end)
end)

describe("an answer", function()
  it("has lower-case names and joins what is repeated", function()
    assert.equal("1, 2", assert(cxb.http.request { url = url .. "/twice" }).headers["x-one"])
  end)

  it("is no error because of its status", function()
    local answer = assert(cxb.http.request { url = url .. "/failed" })
    assert.same({ 503, "busy" }, { answer.status, answer.body })
  end)

  it("that breaks off is 'closed', not a short body", function()
    local answer, code = cxb.http.request { url = url .. "/break" }
    assert.is_nil(answer)
    assert.equal("closed", code)
  end)

  it("goes into a sink without the script, in order and whole", function()
    local dir = world:folder()
    world:write(dir .. "/echo.lua", ECHO)
    world:service(dir .. "/echo.lua", { SPEC_DIR = dir }, dir .. "/echo.sock")
    local conn = assert(cxb.ws.connect("ws+unix:" .. dir .. "/echo.sock:/"))
    local total = 0
    local answer = assert(cxb.http.request { url = url .. "/audio", sink = conn:sink(),
      on_bytes = function(bytes) assert(bytes > total) total = bytes end })
    assert.equal(200, answer.status)
    assert.is_nil(answer.body)
    assert.same({ 300000, 300000 }, { answer.bytes, total })
    local pieces, size = {}, 0
    while size < 300000 do
      local kind, data = conn:receive(30000)
      assert.equal("binary", kind)
      pieces[#pieces + 1], size = data, size + #data
    end
    local text = table.concat(pieces)
    assert.equal(300000, #text)
    for i = 0, 299999, 997 do assert.equal(i % 251, text:byte(i + 1)) end
    conn:close()
  end)

  it("comes piece by piece, its status and headers before the first", function()
    local got, pieces, before = nil, {}, nil
    local answer = assert(cxb.http.request { url = url .. "/audio",
      on_answer = function(status, headers) got, before = { status, headers }, #pieces end,
      on_data = function(piece) pieces[#pieces + 1] = piece end })
    assert.same({ 200, "300000", 0 }, { got[1], got[2]["content-length"], before })
    assert.equal(300000, #table.concat(pieces))
    assert.same({ 200, "300000" }, { answer.status, answer.headers["content-length"] })
    local called = false
    answer = assert(cxb.http.request { url = url .. "/failed",
      on_answer = function() called = true end, on_data = function() called = true end })
    assert.same({ 503, "busy", false }, { answer.status, answer.body, called })
  end)

  it("waits while a piece is worked on, and ends when that says false", function()
    local addr = world:folder() .. "/endless.sock"
    world:server("unix:" .. addr, [[
      local sent, over = 0, false
      return function(req)
        if req.path == "/sent" then return req:respond(200, { sent = sent, over = over }) end
        req:start(200)
        while req:write(("x"):rep(65536)) do sent = sent + 65536 end
        over = true
      end]])
    local function sent() return assert(World.get_json("http+unix:" .. addr .. ":/sent")) end
    local working = false
    local reader = cxb.task.spawn("reader", function()
      return cxb.http.request { url = "http+unix:" .. addr .. ":/", on_data = function()
        working = true
        cxb.task.park(60000)
        return false
      end }
    end)
    local last
    world:wait_until("the sender to wait", function()
      local now = sent().sent
      local still = working and now == last
      last = now
      return still
    end)
    assert.is_true(last < 16 * 1024 * 1024)
    assert.is_false(sent().over)
    reader:unpark()
    local answer, code = reader:wait(60000)
    assert.is_nil(answer)
    assert.equal("cancelled", code)
    world:wait_until("the sender to be told", function() return sent().over end)
  end)
end)

describe("a redirect", function()
  it("is handed out unless it was allowed", function()
    assert.equal(302, assert(cxb.http.request { url = url .. "/redirect" }).status)
    assert.equal(200, assert(cxb.http.request { url = url .. "/redirect", redirects = 1 }).status)
  end)

  it("does not take credentials to another origin", function()
    local other = "http://127.0.0.1:" .. python_server()
    local answer = assert(cxb.http.request {
      url = url .. "/away/" .. other .. "/headers", redirects = 1,
      headers = { authorization = "Bearer s3cret" },
    })
    assert.equal(200, answer.status)
    assert.is_nil(answer.body:find("s3cret", 1, true))
  end)

  it("leads to no other scheme than HTTP", function()
    local answer, code = cxb.http.request { url = url .. "/away/file:///etc/hostname", redirects = 1 }
    assert.is_nil(answer)
    assert.is_string(code)
  end)
end)

describe("a URL that somebody else set", function()
  local function get(address, public_only)
    local answer, code = cxb.http.request { url = address, public_only = public_only }
    return answer and answer.status, code
  end

  it("leads to no private address, by number, by name or by redirect", function()
    assert.same({ nil, "url_not_allowed" }, { get(url .. "/headers", true) })
    assert.same({ nil, "url_not_allowed" }, { get((url:gsub("127.0.0.1", "localhost")) .. "/headers", true) })
    assert.same({ nil, "url_not_allowed" }, { get("http://[::ffff:127.0.0.1]:8080/", true) })
    assert.same({ nil, "url_not_allowed" }, { get("http+unix:/run/cxb/core-1.sock:/health", true) })
    assert.equal(200, (get(url .. "/headers")))
    local answer = cxb.http.request { url = url .. "/redirect", redirects = 3, public_only = "127.0.0.0/8" }
    assert.equal(302, answer.status)
  end)

  it("leads to what is named as an exception", function()
    assert.equal(200, (get(url .. "/headers", "10.0.0.0/8, 127.0.0.1")))
    assert.equal(200, (get((url:gsub("127.0.0.1", "localhost")) .. "/headers", "localhost")))
    assert.same({ nil, "url_not_allowed" }, { get(url .. "/headers", "127.0.0.2, localhost") })
    assert.same({ nil, "url_not_allowed" }, { get((url:gsub("//", "//u:p@")), "127.0.0.0/8") })
  end)

  it("can be judged before it is kept", function()
    local function check(...)
      return { (select(1, cxb.http.check(...))), (select(2, cxb.http.check(...))) }
    end
    assert.same({ nil, "url_not_allowed" }, check("http://localhost:8080/"))
    assert.same({ nil, "url_not_allowed" }, check("http://[::1]:8080/"))
    assert.same({ nil, "url_not_allowed" }, check("http://169.254.169.254/latest"))
    assert.same({ nil, "resolve" }, check("http://no-such-host.invalid/"))
    assert.same({ true }, check("https://8.8.8.8/"))
    assert.same({ true }, check("http://localhost:8080/", "localhost"))
  end)
end)

describe("the end of a process", function()
  it("lets go of what it requests, also when its tasks have no memory left to end by", function()
    local addr = world:folder() .. "/silent.sock"
    world:server("unix:" .. addr, [[
      return function(req)
        req:start(200)
        while req:write(("x"):rep(1000)) do cxb.time.sleep(5) end
      end]])
    local p = world:start({ World.program, world:write(world:folder() .. "/full.lua", [[
      local begun = 0
      for _ = 1, 20 do
        cxb.task.spawn("request", cxb.http.request, { url = cxb.args[1], on_data = function()
          begun = begun + 1
          cxb.task.park(60000)
        end })
      end
      while begun < 20 do cxb.time.sleep(5) end
      local held = {}
      package.loaded.held = held
      for _, size in ipairs({ 1000, 3 }) do
        pcall(function()
          while true do held[#held + 1] = ("x"):rep(size) .. #held end
        end)
      end
      error("over")
    ]]), "http+unix:" .. addr .. ":/" }, { CXB_MAX_SCRIPT_MB = "16" })
    assert.equal(1, p:wait(60000))
  end)
end)

describe("TLS", function()
  it("refuses a certificate nobody vouches for, and does not show the query", function()
    local dir = world:folder()
    local openssl = world:start { "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
      "-keyout", dir .. "/key.pem", "-out", dir .. "/cert.pem", "-subj", "/CN=localhost" }
    assert.equal(0, openssl:wait(60000))
    world:write(dir .. "/both.pem", world:read(dir .. "/key.pem") .. world:read(dir .. "/cert.pem"))
    local port = python_server(dir .. "/both.pem")
    local answer, code, message = cxb.http.request { url = "https://localhost:" .. port .. "/x?token=s3cret" }
    assert.is_nil(answer)
    assert.equal("tls", code)
    assert.is_nil(message:find("s3cret", 1, true))
  end)
end)
