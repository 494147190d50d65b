-- waits: 40
-- Recordings into a real S3 server that checks signatures, by a box of our own and by real workers.
-- timeout: 700

local json = require "cjson.safe"
local CoreHost = require "support.core_host"
local ObjectStore = require "support.object_store"
local World = require "support.world"

describe("the upload of a recording", function()
  local world, store

  before_each(function()
    world = World.new()
    store = ObjectStore.new(world)
  end)
  after_each(function() world:close() end)

  -- Boxes of this process ------------------------------------------------------------------------

  local function open_box(settings)
    return assert(cxb.outbox.open(world:folder() .. "/outbox-1.db", {
      s3 = settings or { region = "us-east-1", access_key = ObjectStore.ACCESS,
        secret_key = ObjectStore.SECRET },
      keep_files_ms = 3600000 }))
  end

  local function file_of(bytes)
    local path = world:folder() .. "/r.wav"
    assert(os.execute(("head -c %d /dev/urandom >%s"):format(bytes, path)) == 0)
    return path
  end

  local function put(box, file, url)
    return assert(box:put({ kind = "upload", session_id = "s1", file = file, body = "",
      url = url .. "/recordings/recordings/s1.wav" }))
  end

  local function await(box, state, timeout_ms)
    return World.wait_until(state, function() return assert(box:list(state))[1] end,
      timeout_ms or 30000)
  end

  it("above 64 MiB goes in parts and arrives whole", function()
    store:start()
    local box, file = open_box(), file_of(70 * 1048576 + 7)
    put(box, file, store.url)
    await(box, "done", 120000)
    assert.is_true(ObjectStore.same(file, store:object("recordings/s1.wav")))
    box:close()
  end)

  it("arrives over a link that stalls, then is slow", function()
    store:start()
    local port = world:port()
    world:start({ "python3", cxb.root .. "/spec/sim/slow_link.py", tostring(port),
      tostring(store.port), "400000", "100000" }, cxb.process.environ())
    local box, file = open_box(), file_of(300000)
    put(box, file, "http://127.0.0.1:" .. port)
    local row = await(box, "done", 120000)
    assert.is_true(row.attempts >= 2)
    assert.is_true(ObjectStore.same(file, store:object("recordings/s1.wav")))
    box:close()
  end)

  it("is not done while the store has another size", function()
    local port, honest = world:port(), world:folder() .. "/honest"
    local liar = world:start({ "python3", "-u", "-c", [[
import http.server, os, sys
size = 0
class Store(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        global size
        size = len(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def do_HEAD(self):
        self.send_response(200)
        self.send_header("content-length", str(size - (not os.path.exists(sys.argv[2]))))
        self.end_headers()
    def log_message(self, *words):
        print(self.command, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Store).serve_forever()
]], tostring(port), honest }, cxb.process.environ())
    local box, file = open_box(), file_of(5000)
    put(box, file, "http://127.0.0.1:" .. port)
    World.wait_until("another size", function()
      local row = assert(box:list("ready"))[1]
      return row and row.last_error:find("the store has 4999 of 5000 bytes", 1, true)
    end)
    world:write(honest, "")
    await(box, "done", 150000)
    World.wait_until("what the store was asked", function()
      return liar:output():match("PUT\nHEAD\nPUT\nHEAD")
    end)
    box:close()
  end)

  it("whose file is gone is dead at once and says so", function()
    store:start()
    local box = open_box()
    put(box, world:folder() .. "/none.wav", store.url)
    assert.equal("not found: the file cannot be read", await(box, "dead").last_error)
    box:close()
  end)

  it("whose file is erased while it is on its way leaves nothing in the store", function()
    local port, file = world:port(), file_of(5000)
    local keeper = world:start({ "python3", "-u", "-c", [[
import http.server, os, sys
class Store(http.server.BaseHTTPRequestHandler):
    def answer(self, status, length):
        signed = "AWS4-HMAC-SHA256" in self.headers.get("authorization", "")
        print(self.command, self.path, "signed" if signed else "bare", flush=True)
        self.send_response(status)
        self.send_header("content-length", str(length))
        self.end_headers()
    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        os.unlink(sys.argv[2])
        self.answer(200, 0)
    def do_HEAD(self):
        self.answer(200, 5000)
    def do_DELETE(self):
        self.answer(204, 0)
    def log_message(self, *words):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Store).serve_forever()
]], tostring(port), file }, cxb.process.environ())
    World.wait_until("the store", function()
      return cxb.http.request({ url = "http://127.0.0.1:" .. port, method = "HEAD" })
    end)
    local box = open_box()
    put(box, file, "http://127.0.0.1:" .. port)
    assert.matches("the file was erased meanwhile$", await(box, "dead").last_error)
    local key = "/recordings/recordings/s1.wav signed\n"
    World.wait_until("what the store was asked", function()
      return keeper:output():find(("PUT %sHEAD %sDELETE %s"):format(key, key, key:sub(1, -2)), 1,
        true)
    end)
    box:close()
  end)

  -- Workers --------------------------------------------------------------------------------------

  local host

  local function start(more)
    host = host or CoreHost.new(world, { env = store:env() })
    host:start(1, more)
  end

  local function local_file(key)
    return host.state .. "/" .. key
  end

  after_each(function() host = nil end)

  it("of a call arrives whole; the result does not wait for it and says where it will be", function()
    start()
    host:short_call(1)
    local result = json.decode(host:delivery(1).body)
    assert.is_nil(store:object(result.recording_key))
    assert.equal(("%s/recordings/%s"):format(store.url, result.recording_key), result.recording_url)
    store:start()
    World.wait_until("the upload", function()
      return host:outbox(1, "done")[2]
    end, 150000) -- what failed before waits its delay, as in host:delivery
    assert.is_true(ObjectStore.same(local_file(result.recording_key),
      store:object(result.recording_key)))
    assert.equal(1, host:metric(1, "cxb_recording_upload_seconds_count"))
    assert.equal(200, cxb.http.request({ headers = { ["x-cxb-core-secret"] = CoreHost.SECRET },
      url = "http+unix:" .. host:socket(1) .. ":/" .. result.recording_key }).status)
  end)

  it("with a wrong key is dead, keeps its file, and goes when the key is right", function()
    store:start()
    start({ S3_SECRET_KEY = "wrong" })
    host:short_call(1)
    local key = json.decode(host:delivery(1).body).recording_key
    local row = World.wait_until("a dead row", function() return host:outbox(1, "dead")[1] end)
    assert.equal("upload", row.kind)
    assert.equal("HTTP 403: SignatureDoesNotMatch", row.last_error)
    assert.is_nil(store:object(key))
    assert.truthy(cxb.fs.stat(local_file(key)))
    assert.is_nil(host.workers[1]:output():find("wrong", 1, true))
    host.workers[1]:stop()
    start()
    assert.equal(200, host:post(1, "/outbox/" .. row.id .. "/replay").status)
    World.wait_until("the object", function() return store:object(key) end)
  end)

  it("lets go of the local file when its hours are over", function()
    store:start()
    start({ CXB_KEEP_RECORDINGS_HOURS = "0" })
    host:short_call(1)
    local key = json.decode(host:delivery(1).body).recording_key
    World.wait_until("the file to go", function() return not cxb.fs.stat(local_file(key)) end)
    assert.truthy(store:object(key))
    assert.equal(404, cxb.http.request({ headers = { ["x-cxb-core-secret"] = CoreHost.SECRET },
      url = "http+unix:" .. host:socket(1) .. ":/" .. key }).status)
  end)

  it("is asked of nobody without a store: no row, nothing expires", function()
    host = CoreHost.new(world, { env = { CXB_KEEP_RECORDINGS_HOURS = "0" } })
    host:start(1)
    host:short_call(1)
    local result = json.decode(host:delivery(1).body)
    assert.equal(result.recording_key, result.recording_url)
    World.wait_until("done", function() return host:outbox(1, "done")[1] end)
    assert.equal(1, #host:outbox(1, "done"))
    assert.truthy(cxb.fs.stat(local_file(result.recording_key)))
  end)

  it("is not begun without both keys", function()
    host = CoreHost.new(world, { env = { S3_ENDPOINT = store.url, S3_ACCESS_KEY = "a",
      CXB_WORKER_ID = "1" } })
    local p = world:start({ World.program, "core.lua" }, host.env)
    assert.equal(1, p:wait())
    assert.truthy(p:output():find("S3_SECRET_KEY", 1, true))
  end)
end)
