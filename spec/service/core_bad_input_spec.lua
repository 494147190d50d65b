-- timeout: 300
-- What a call worker does with bad settings, bad disks, bad answers and garbage.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local json = require("cjson.safe")

local UPGRADE = { upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "13",
  ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" }

describe("a worker", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { workers = 2 })
  end)
  after_each(function() world:close() end)

  -- Exit code and what it said of a start with these settings.
  local function refused(more)
    local env = { CXB_TASK_STALL_MS = "60000" } -- a machine that is late is another line
    for _, vars in ipairs({ host.env, more }) do
      for name, value in pairs(vars) do env[name] = value end
    end
    local p = world:start({ World.program, "core.lua" }, env)
    local code = p:wait(30000)
    if not code then p:stop() end
    return code, p:output()
  end

  -- A worker that sees `dir` as a file system of its own, mounted with these options.
  local function start_with_mount(dir, options, more)
    local probe = world:start({ "unshare", "-rm", "true" })
    if probe:wait() ~= 0 then pending("no user namespaces here") end
    assert(cxb.fs.mkdir(dir))
    local env = { CXB_WORKER_ID = "1" }
    for _, vars in ipairs({ host.env, more or {} }) do
      for name, value in pairs(vars) do env[name] = value end
    end
    local p = world:start({ "unshare", "-rm", "sh", "-c",
      'mount -t tmpfs -o "$1" none "$2" && exec "$3" core.lua', "sh", options, dir, World.program }, env)
    host.workers[1] = p
    return p
  end

  it("does not start with a bad setting, and names variable, value and rule", function()
    local cases = {
      { "CXB_LOG_LEVEL", "loud", "one of debug, info, warn, error" },
      { "CXBCORE_WORKERS", "many", "a whole number" },
      { "CXBCORE_WORKERS", "0", "between 1 and 512" },
      { "MAX_CONCURRENT_CALLS", "2", "expected 1" },
      { "CXB_EXOTEL_CHUNK_BYTES", "3201", "a multiple of 320" },
      { "CXB_API_CONFIG_URL", "ftp://x", "an http URL" },
      { "CXB_SECRET_ORIGINS", "api.example", "http(s) URLs" },
      { "CXB_DEV", "perhaps", "1 or 0" },
      { "CXB_MIN_FREE_MB", "-1", "at least 0" },
    }
    for _, case in ipairs(cases) do
      local code, said = refused({ [case[1]] = case[2] })
      assert.equal(1, code, case[1])
      assert.truthy(said:find(case[1], 1, true), said)
      assert.truthy(said:find(case[2], 1, true), said)
      assert.truthy(said:find(case[3], 1, true), said)
      assert.equal(1, select(2, said:gsub("[^\n]+", "")), "more than a line: " .. said)
    end
    local code, said = refused({ CXB_WS_TOKEN = "t", CXBCORE_SECRET = "" })
    assert.equal(1, code)
    assert.matches("CXBCORE_SECRET", said)
  end)

  it("does not start where it cannot write, and names the path", function()
    world:write(host.dir .. "/file", "in the way")
    local code, said = refused({ CXB_STATE_DIR = host.dir .. "/file/state" })
    assert.equal(1, code)
    assert.truthy(said:find(host.dir .. "/file/state", 1, true), said)
    host:start(1):stop()
    for _, name in ipairs(cxb.fs.list(host.dir)) do
      if name:match("^scoreboard%-") then
        world:write(host.dir .. "/" .. name, "of another program")
      end
    end
    code, said = refused({})
    assert.equal(1, code)
    assert.truthy(said:find(host.dir .. "/scoreboard", 1, true), said)
  end)

  it("does not start on a read-only disk, and names the path", function()
    local p = start_with_mount(host.dir .. "/ro", "ro,size=1m", { CXB_STATE_DIR = host.dir .. "/ro" })
    assert.equal(1, p:wait(30000))
    assert.truthy(p:output():find(host.dir .. "/ro", 1, true), p:output())
  end)

  it("takes no call without the least free disk, and says so to callers and to the fleet", function()
    host:start(1, { CXB_MIN_FREE_MB = "1000000000" })
    local answer = assert(cxb.http.request({ headers = UPGRADE,
      url = "http+unix:" .. host:socket(1) .. ":/ws/echo" }))
    assert.same({ 503, '{"error":"storage_full"}', "1" },
      { answer.status, answer.body, answer.headers["retry-after"] })
    assert.matches('"fleet_max":1,"fleet_available":0', assert(cxb.http.request({
      url = "http+unix:" .. host:socket(1) .. ":/health/fleet" })).body, 1, true)
    assert.same({}, host:got())
  end)

  it("carries a call on unrecorded when the disk is full of it, with an event", function()
    start_with_mount(host.dir .. "/rec", "size=48k", { CXB_RECORDINGS_DIR = host.dir .. "/rec" })
    World.wait_until("the worker", function() return World.accepts(host:socket(1)) end)
    local d = host:call(1):hear_self()
    d:speak(dialler.tone(4000))
    World.wait_until("the whole echo", function() return #d:heard() >= 4200 * 16 end)
    d:hangup()
    local r = json.decode(host:delivery(1).body)
    assert.same({ "customer" }, { r.disconnected_by, r.error })
    local paused
    for _, event in ipairs(r.events) do
      paused = paused or event.type == "recording_paused" and event.data.error
    end
    assert.equal("recording:no_space", paused)
    host:idle(1)
    host:short_call(1)
    r = json.decode(host:delivery(2).body)
    assert.equal("customer", r.disconnected_by)
  end)

  it("tells loudly when the API refuses a result for good, and keeps it", function()
    host:start(1)
    host:mode("403", 1)
    host:short_call(1)
    local row = World.wait_until("a dead row", function() return host:outbox(1, "dead")[1] end)
    assert.same({ "result", "dead", 1 }, { row.kind, row.state, row.attempts })
    World.wait_until("the log to say so", function()
      for _, line in ipairs(host.workers[1].log) do
        local record = json.decode(line)
        if type(record) == "table" and record.level == "error" and record.msg:find("dead", 1, true) then
          return true
        end
      end
    end)
    assert.equal(200, host:post(1, "/outbox/" .. row.id .. "/replay").status)
    assert.truthy(host:delivery(1))
  end)

  it("lets garbage on its sockets harm no call", function()
    host:start(1)
    local d = host:call(1):hear_self()
    local garbage = world:start({ "python3", "-c", ([[
import random, socket
r = random.Random(7)
heads = [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /attach HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
  b"GET /ws/echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
  b"GET /ws/%%00%%ff HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /recordings/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
  b"POST /livekit/dispatch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
  b"OPTIONS * HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n"]
for i in range(400):
  for path in (%q, %q):
    s = socket.socket(socket.AF_UNIX); s.settimeout(2)
    try:
      s.connect(path)
      data = bytearray(r.choice(heads) if r.random() < 0.8 else r.randbytes(r.randrange(1, 3000)))
      for _ in range(r.randrange(0, 6)):
        data[r.randrange(len(data))] = r.randrange(256)
      s.sendall(data)
      if r.random() < 0.3: s.recv(1000)
    except OSError: pass
    s.close()
print("done")
]]):format(host:socket(1), host.dir .. "/ctl/core-1.sock") })
    local spoken = 0
    repeat
      d:speak(dialler.tone(1000))
      spoken = spoken + 1000
    until garbage.ended or spoken >= 30000
    assert.equal(0, garbage:wait(60000))
    World.wait_until("the whole echo", function() return #d:heard() >= (200 + spoken) * 16 end)
    d:hangup()
    local r = json.decode(host:delivery(1).body)
    assert.equal("customer", r.disconnected_by)
    assert.is_nil(host.workers[1].ended)
    host:idle(1)
    host:short_call(1)
    assert.truthy(host:delivery(2))
  end)
end)
