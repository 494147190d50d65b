local support = require("support.world")

describe("the operator's log view", function()
  local logs = require("cxbctl.logs")
  local plain = { paint = function(_, _, text) return text end }
  local function view(line, verbose) return logs.view("core-1", line, plain, verbose) end

  it("shows warnings and errors, and nothing of what is ordinary", function()
    assert.matches("core%-1.*disk is full",
      view('{"ts":"2026-04-24T09:00:00.000Z","level":"error","msg":"disk is full","path":"/x"}'))
    assert.is_nil(view('{"level":"info","msg":"config fetched"}'))
    assert.is_string(view('{"level":"info","msg":"config fetched"}', true))
  end)

  it("shows one line for each call that ended", function()
    assert.matches("call ended bot_id=demo transport=cxb disconnected_by=bot",
      view('{"level":"info","msg":"call ended","bot_id":"demo","transport":"cxb",'
        .. '"disconnected_by":"bot"}'), 1, true)
  end)

  it("shows text that is no log record, but nginx's only when it is an error", function()
    assert.matches("cannot open", view("cxbrt: cannot open"))
    assert.is_nil(logs.view("nginx", "2026/01/01 00:00:00 [notice] 1#1: start", plain))
    assert.is_string(logs.view("nginx", "2026/01/01 00:00:00 [emerg] 1#1: bind() failed", plain))
  end)

  it("leaves out that nginx does not reach a service that is still starting", function()
    local away = "2026/01/01 00:00:00 [crit] 1#1: *1 connect() to unix:/run/cxb/api-1.sock failed"
    assert.is_string(logs.view("nginx", away, plain))
    assert.is_nil(logs.view("nginx", away, plain, false, true))
    assert.is_string(logs.view("nginx", away, plain, true, true))
    assert.is_string(logs.view("nginx", "[emerg] 1#1: bind() failed", plain, false, true))
  end)
end)

describe("a service's log file", function()
  local logs = require("cxbctl.logs")
  local world = support.new()
  after_each(function() world:close() end)

  it("is rotated at its limit and keeps four files", function()
    local path = world:folder() .. "/core-1.log"
    local log = assert(logs.open(path, 100))
    for n = 1, 30 do log:write(("line %02d of thirty"):format(n)) end
    log:close()
    local names = cxb.fs.list(path:match("^(.*)/"))
    table.sort(names)
    assert.same({ "core-1.log", "core-1.log.1", "core-1.log.2", "core-1.log.3" }, names)
    assert.matches("line 30", world:read(path))
    assert.is_true(#world:read(path .. ".1") <= 100)
  end)
end)

describe("a process that was recorded", function()
  local pids = require("cxbctl.pids")
  local world = support.new()
  after_each(function() world:close() end)

  it("is told apart from a later one of the same id", function()
    local p = world:start({ "tail", "-f", "/dev/null" })
    local record = { pid = p.pid, started = pids.started(p.pid) }
    assert.is_true(pids.alive(record))
    assert.is_false(pids.alive({ pid = p.pid, started = "1" }))
    p:stop()
    assert.same({}, pids.wait_gone({ record }, 5000))
  end)
end)

describe("the caller's sound", function()
  local audio = require("cxbctl.audio")
  local ffi = require("ffi")

  it("keeps µ-law within its quantisation both ways", function()
    local samples = ffi.new("int16_t[6]", { 0, 100, -100, 8031, -32768, 32767 })
    local back = ffi.cast("const int16_t *",
      audio.from_ulaw(audio.to_ulaw(ffi.string(samples, 12))))
    local near = { 0, 100, 100, 8031, 32124, 32124 }
    for i = 0, 5 do
      assert.is_true(math.abs(math.abs(back[i]) - near[i + 1]) <= math.max(4, near[i + 1] / 16))
    end
    assert.equal("\255", audio.to_ulaw("\0\0"))
  end)

  it("writes a WAV file that says what it holds", function()
    local path = os.tmpname()
    audio.write_wav(path, ("\1\2"):rep(160), 8000)
    local file = assert(io.open(path, "rb"))
    local text = file:read("*a")
    file:close()
    os.remove(path)
    assert.equal(44 + 320, #text)
    assert.equal("RIFF\100\1\0\0WAVE", text:sub(1, 12))
  end)
end)
