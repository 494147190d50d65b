-- The host with the real binary: scripts as tools and as services, reload, drain, containment.

local cjson = require "cjson"

local dir, children

local function write(name, text)
  assert(cxb.fs.write(dir .. "/" .. name, text))
  return dir .. "/" .. name
end

local function start(script, env, args)
  local list = { cxb.program, script }
  for _, a in ipairs(args or {}) do list[#list + 1] = a end
  local child = assert(cxb.process.spawn { args = list, env = env, capture = true })
  children[#children + 1] = child
  return child
end

local function control(message)
  return cxb.process.control(dir .. "/ctl.sock", message, 30000)
end

local function eventually(what, condition)
  local deadline = cxb.time.mono() + 60000
  while cxb.time.mono() < deadline do
    local value = condition()
    if value then return value end
    cxb.time.sleep(10)
  end
  error("did not happen in 60 s: " .. what, 2)
end

local function service(body)
  return write("service.lua", ([[
    local dir = %q
    return { name = "t", listen = { { addr = "unix:" .. dir .. "/ctl.sock", control = true } }, %s }
  ]]):format(dir, body or ""))
end

local function serve(body, env)
  local child = start(service(body), env)
  eventually("the service answers", function() return control { verb = "status" } end)
  return child
end

--- Reads a child's output until `pattern`; fails at its end.
local function expect_line(child, pattern)
  local seen = {}
  while true do
    local line = child:line()
    if not line then error("no line like " .. pattern .. " in:\n" .. table.concat(seen, "\n"), 2) end
    if line:find(pattern) then return line end
    seen[#seen + 1] = line
  end
end

before_each(function()
  dir = "/tmp/cxb-host-" .. cxb.crypto.hex(cxb.crypto.random(6))
  assert(cxb.fs.mkdir(dir))
  children = {}
end)

after_each(function()
  for _, child in ipairs(children) do
    child:kill("KILL")
    child:wait(30000)
  end
  cxb.process.spawn({ args = { "rm", "-rf", dir } }):wait(30000)
end)

describe("a script run as a tool", function()
  it("gives its number as exit code and gets its arguments", function()
    local child = start(write("tool.lua", "print(...) return #cxb.args"), nil, { "a", "b c" })
    assert.equal("a\tb c", child:line())
    assert.equal(2, (child:wait(30000)))
  end)

  it("prints the traceback of an uncaught error and exits 1", function()
    local child = start(write("tool.lua", "local function f() local t = nil; return t.x end f()"))
    expect_line(child, "attempt to index local 't'")
    assert.equal(1, (child:wait(30000)))
  end)

  it("names file and line of a syntax error", function()
    local child = start(write("tool.lua", "x = = 1"))
    expect_line(child, "tool.lua:1: unexpected symbol")
    assert.equal(1, (child:wait(30000)))
  end)

  it("is found in the installation when it is not in the working directory", function()
    local child = assert(cxb.process.spawn {
      args = { cxb.program, "help_config.lua" }, cwd = dir, capture = true,
    })
    children[#children + 1] = child
    assert.equal("# lua/core.lua", child:line())
  end)

  it("is refused with the folders searched when it does not exist", function()
    local child = start("nowhere.lua")
    expect_line(child, "no script nowhere.lua in the working directory or in lua/")
    assert.equal(1, (child:wait(30000)))
  end)
end)

describe("--check", function()
  it("loads, runs the self-test, starts nothing and says ok", function()
    local script = service "selftest = function() return true end, start = function() error('started') end"
    local child = start("--check", nil, { script })
    expect_line(child, "ok$")
    assert.equal(0, (child:wait(30000)))
    assert.is_nil((cxb.fs.stat(dir .. "/ctl.sock")))
  end)

  it("answers 1 and the reason when the self-test refuses", function()
    local child = start("--check", nil, { service "selftest = function() return nil, 'flow x is broken' end" })
    expect_line(child, "flow x is broken")
    assert.equal(1, (child:wait(30000)))
  end)
end)

describe("tasks", function()
  it("resume where they waited, with the values given", function()
    local me = cxb.task.self()
    cxb.task.spawn("waker", function() cxb.time.sleep(5) me:unpark("a", nil, 3) end)
    assert.same({ n = 3, "a", nil, 3 }, { n = 3, cxb.task.park(30000) })
  end)

  it("end alone: an uncaught error is the waiter's value, not the process's end", function()
    local ok, code, trace = cxb.task.spawn("bad", function() error("boom") end):wait()
    assert.is_nil(ok)
    assert.equal("error", code)
    assert.matches("host_spec.lua:%d+: boom", trace)
  end)

  it("get nil, cancelled from every wait after cancel", function()
    local task = cxb.task.spawn("sleeper", function()
      local first = { cxb.time.sleep(60000) }
      local second = { cxb.task.park() }
      return first[2], second[2]
    end)
    cxb.time.sleep(5)
    task:cancel()
    assert.same({ "cancelled", "cancelled" }, { task:wait(30000) })
  end)

  it("may wait for one another in rows of any length", function()
    local n = 0
    for _ = 1, 100000 do cxb.task.spawn("next", function() n = n + 1 end):wait() end
    assert.equal(100000, n)
  end)

  it("keep nothing of what they returned once nobody holds them", function()
    collectgarbage()
    local before = collectgarbage("count")
    for i = 1, 2000 do
      cxb.task.spawn("gone", function() return ("%08d"):format(i):rep(1000) end):wait()
    end
    collectgarbage() -- finds the handles
    collectgarbage() -- and then what they held
    assert.is_true(collectgarbage("count") - before < 4000)
  end)

  it("cannot wait inside a coroutine of their own", function()
    local ok, message = coroutine.wrap(function() return pcall(cxb.time.sleep, 1) end)()
    assert.is_false(ok)
    assert.matches("cannot wait here", message)
  end)

  it("repeat without overlapping until the generation retires", function()
    local child = serve [[
      start = function()
        cxb.task.every(5, "tick", function()
          local f = io.open(dir .. "/ticks" .. cxb.generation, "a") f:write("x") f:close()
          cxb.time.sleep(20)
        end)
      end ]]
    eventually("ticks", function() return (cxb.fs.read(dir .. "/ticks1") or ""):len() > 3 end)
    assert.is_true(control { verb = "reload" }.ok)
    eventually("the old generation is freed", function() return control { verb = "status" }.generations == 1 end)
    local count = #cxb.fs.read(dir .. "/ticks1")
    cxb.time.sleep(60) -- longer than two periods: a repeat that survived would tick
    assert.equal(count, #cxb.fs.read(dir .. "/ticks1"))
    child:kill("KILL")
  end)
end)

describe("reload", function()
  it("takes new work to the new script and lets old tasks end where they began", function()
    serve [[ control = {
      version = function() return { v = 1 } end,
      slow = function()
        io.open(dir .. "/begun", "w"):close()
        while not cxb.fs.stat(dir .. "/go") do cxb.time.sleep(5) end
        return { v = 1 }
      end } ]]
    local slow = cxb.task.spawn("slow", function() return control { verb = "slow" } end)
    eventually("the slow task", function() return cxb.fs.stat(dir .. "/begun") end)
    service "control = { version = function() return { v = 2 } end }"
    assert.is_true(control { verb = "reload" }.ok)
    assert.equal(2, control({ verb = "version" }).v)
    assert.equal(2, control({ verb = "status" }).generations)
    write("go", "")
    assert.equal(1, slow:wait(30000).v)
    eventually("the old generation is freed", function() return control { verb = "status" }.generations == 1 end)
  end)

  it("changes nothing but a reason when the new script does not load", function()
    serve "control = { version = function() return { v = 1 } end }"
    write("service.lua", "return {\n  name = oops oops }")
    local answer = control { verb = "reload" }
    assert.is_false(answer.ok)
    assert.matches("service.lua:2: ", answer.message)
    local status = control { verb = "status" }
    assert.equal("failed", status.reload)
    assert.matches("service.lua:2: ", status.reload_error)
    assert.equal(1, control({ verb = "version" }).v)
  end)

  it("refuses a generation whose self-test fails", function()
    serve()
    service "selftest = function() error('no bots') end"
    assert.matches("no bots", control({ verb = "reload" }).message)
  end)

  it("survives 100 hang-up signals in a row and serves the last script", function()
    local child = serve()
    for i = 1, 100 do
      service(("control = { version = function() return { v = %d } end }"):format(i))
      child:kill("HUP")
    end
    eventually("the last script serves", function() return (control { verb = "version" } or {}).v == 100 end)
    eventually("old generations are freed", function() return control { verb = "status" }.generations == 1 end)
  end)
end)

describe("signals", function()
  it("end a service with exit 0 after its stop function", function()
    local child = serve "stop = function() io.open(dir .. '/stopped', 'w'):close() end"
    child:kill("TERM")
    assert.equal(0, (child:wait(30000)))
    assert.is_truthy((cxb.fs.stat(dir .. "/stopped")))
    assert.is_nil((cxb.fs.stat(dir .. "/ctl.sock")))
  end)

  it("call now() on SIGINT", function()
    local child = serve "now = function() io.open(dir .. '/now', 'w'):close() end"
    child:kill("INT")
    assert.equal(0, (child:wait(30000)))
    assert.is_truthy((cxb.fs.stat(dir .. "/now")))
  end)
end)

describe("a child", function()
  it("is not started, and the process lives, when its output has no place", function()
    local child, code, message = cxb.process.spawn {
      args = { "true" }, stdout = dir .. "/absent/log",
    }
    assert.same({ "io" }, { code, child })
    assert.matches("permission denied", message)
  end)
end)

describe("containment", function()
  it("names a task that does not yield, then ends it whatever it catches; others go on", function()
    local child = serve([[ control = {
      spin = function() while true do pcall(function() while true do end end) end end } ]],
      { CXB_TASK_STALL_MS = "100", CXB_TASK_STALL_END_MS = "2000" })
    local answer = control { verb = "spin" }
    assert.matches("stalled at .*service.lua:%d+", answer.message)
    assert.is_true(control({ verb = "status" }).ok)
    -- Of the service's own tasks one may be as slow, on a busy machine.
    local line = cjson.decode(expect_line(child, 'a task does not yield.*"task":"spin"'))
    assert.matches("service.lua$", line.file)
    assert.is_number(line.line)
  end)

  it("is possible because scripts are interpreted, tools and services", function()
    local child = start(write("tool.lua", "print(tostring(jit.status()))"))
    assert.equal("false", child:line())
    serve "control = { jit = function() return { on = jit.status() } end }"
    assert.is_false(control({ verb = "jit" }).on)
  end)

  it("ends a task that eats memory and keeps the state usable", function()
    serve([[ control = {
      hog = function() local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1000) .. i end end,
      ping = function() return { pong = true } end } ]], { CXB_MAX_SCRIPT_MB = "16" })
    assert.matches("memory cap", control({ verb = "hog" }).message)
    assert.is_true(control({ verb = "ping" }).pong)
    assert.is_true(control({ verb = "status" }).script_memory < 4 * 1048576)
  end)

  it("leaves nothing of the memory to the next task when it catches the refusal", function()
    serve([[ control = { hog = function()
      local function eat() local t = {} for i = 1, 1e9 do t[#t + 1] = ("x"):rep(10000) .. i end end
      return { eaten = pcall(eat) } end } ]], { CXB_MAX_SCRIPT_MB = "16" })
    assert.is_false(control({ verb = "hog" }).eaten)
    assert.is_true(control({ verb = "status" }).script_memory < 4 * 1048576)
  end)

  it("loses no memory to JSON that a script has no room for", function()
    local child = start(write("tool.lua", [[
      local json = require("cxb.json")
      local text, keys = '"' .. ("\\n"):rep(1048576) .. '"', {}
      for i = 1, 20000 do keys["k" .. i] = 0 end
      local function taken()
        return tonumber(io.open("/proc/self/status"):read("*a"):match("VmData:%s*(%d+)"))
      end
      local held = {}
      pcall(function()
        while true do held = { held, ("y"):rep(10000) .. math.random() } end
      end)
      local refused, before = 0, taken()
      for _ = 1, 200 do
        refused = refused + (pcall(json.decode, text) and 0 or 1)
          + (pcall(json.encode, keys, true) and 0 or 1)
        cxb.time.sleep(0)
      end
      print(refused, taken() - before < 50000)
    ]]), {
      CXB_MAX_SCRIPT_MB = "16",
      -- The sanitizer keeps what was freed, which would be counted too.
      ASAN_OPTIONS = "quarantine_size_mb=1:thread_local_quarantine_size_kb=16",
    })
    assert.equal("400\ttrue", expect_line(child, "^%d+\t"))
  end)

  it("give a service the memory it asks for, unless the environment says otherwise", function()
    local body = [[ memory_mb = 160, control = {
      fill = function() local t = {} for i = 1, 100 do t[i] = ("x"):rep(1048576) .. i end
        return { n = #t } end } ]]
    local child = serve(body)
    assert.equal(100, control({ verb = "fill" }).n)
    child:kill("KILL")
    child:wait(30000)
    serve(body, { CXB_MAX_SCRIPT_MB = "32" })
    assert.matches("memory cap", control({ verb = "fill" }).message)
  end)

  it("answers a verb that fails with its error and goes on", function()
    serve "control = { boom = function() error('no') end }"
    assert.matches("no", control({ verb = "boom" }).message)
    assert.equal("unknown_verb", control({ verb = "nothing" }).error)
  end)
end)

describe("the control socket", function()
  it("answers malformed lines with an error and stays open to others", function()
    serve()
    local child = assert(cxb.process.spawn { capture = true, args = { "python3", "-c", ([[
import socket
s = socket.socket(socket.AF_UNIX); s.connect(%q)
for line in (b"not json\n", b"[]\n", b"{}\n", b"{\"verb\":3}\n", b"\x00\xff\n"):
    s.sendall(line); print(s.recv(4096).decode().strip())
]]):format(dir .. "/ctl.sock") } })
    for _ = 1, 5 do assert.equal("bad_request", cjson.decode(child:line()).error) end
    assert.is_true(control({ verb = "status" }).ok)
  end)
end)

describe("a socket's file", function()
  local body = [[ http = function(req) req:respond(200, tostring(cxb.process.pid)) end ]]

  local function serve_both()
    local child = start(write("both.lua", ([[
      local dir = %q
      return { name = "t", listen = { { addr = "unix:" .. dir .. "/http.sock" },
        { addr = "unix:" .. dir .. "/ctl.sock", control = true } }, %s }
    ]]):format(dir, body)))
    eventually("the service answers", function()
      local status = control { verb = "status" }
      return status and status.pid == child.pid
    end)
    return child
  end

  local function http_pid()
    local answer = cxb.http.request { url = "http+unix:" .. dir .. "/http.sock:/" }
    return answer and tonumber(answer.body)
  end

  it("is left alone by a process that ends when it is its successor's by now", function()
    local old = serve_both()
    for _, name in ipairs { "http.sock", "ctl.sock" } do
      assert(cxb.fs.remove(dir .. "/" .. name))
    end
    local new = serve_both()
    old:kill("TERM")
    assert.equal(0, (old:wait(30000)))
    assert.equal(new.pid, http_pid())
    assert.equal(new.pid, control({ verb = "status" }).pid)
  end)

  it("goes with its process", function()
    local child = serve_both()
    child:kill("TERM")
    assert.equal(0, (child:wait(30000)))
    assert.is_nil(cxb.fs.stat(dir .. "/http.sock"))
    assert.is_nil(cxb.fs.stat(dir .. "/ctl.sock"))
  end)

  it("left by a process that was killed is replaced, that of a living one is not", function()
    local killed = serve_both()
    killed:kill("KILL")
    killed:wait(30000)
    local living = serve_both()
    local late = start(dir .. "/both.lua")
    expect_line(late, "address already in use")
    assert.equal(1, (late:wait(30000)))
    assert.equal(living.pid, http_pid())
    assert.equal(living.pid, control({ verb = "status" }).pid)
  end)
end)

describe("readiness", function()
  it("is told to the service manager, also around a reload", function()
    local listener = assert(cxb.process.spawn { capture = true, args = { "python3", "-u", "-c", ([[
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(%q); print("bound")
while True: print(s.recv(4096).decode().replace("\n", " "))
]]):format(dir .. "/notify") } })
    children[#children + 1] = listener
    assert.equal("bound", listener:line())
    local child = serve("", { NOTIFY_SOCKET = dir .. "/notify" })
    assert.matches("^READY=1", listener:line())
    child:kill("HUP")
    assert.matches("^RELOADING=1 MONOTONIC_USEC=%d+", listener:line())
    assert.matches("^READY=1", listener:line())
    child:kill("TERM")
    assert.matches("^STOPPING=1", listener:line())
  end)
end)

describe("the log", function()
  it("says of an error its code, file and line, of every line the generation", function()
    local child = serve [[ start = function()
      cxb.task.spawn("bad", function() error("boom") end)
      cxb.log.error("it broke", { code = "io", n = 1 })
      cxb.log.error("it broke too")
    end ]]
    local own = cjson.decode(expect_line(child, '"it broke"'))
    assert.same({ "io", 1, 1 }, { own.code, own.n, own.generation })
    assert.matches("service.lua$", own.file)
    assert.equal(4, own.line)
    assert.equal("error", cjson.decode(expect_line(child, '"it broke too"')).code)
    local lost = cjson.decode(expect_line(child, "boom"))
    assert.same({ "script", "boom", 3, 1 }, { lost.code, lost.msg, lost.line, lost.generation })
    assert.matches("service.lua$", lost.file)
    assert.matches("stack traceback", lost.trace)
  end)

  it("drops what comes faster than 200 lines a second, but no error, and says how much", function()
    local child = serve [[ start = function()
      for i = 1, 3000 do cxb.log.info("flood") end
      cxb.log.error("an error")
      cxb.time.sleep(1100)
      cxb.log.info("after")
    end ]]
    local floods, dropped = 0, 0
    while true do
      local line = cjson.decode((assert(child:line())))
      if line.msg == "flood" then floods = floods + 1 end
      if line.msg == "an error" then floods = floods + 0.5 end
      if line.msg == "log lines were dropped" then dropped = dropped + line.lines end
      if line.msg == "after" then break end
    end
    assert.equal(0.5, floods % 1, "the error was dropped")
    assert.equal(3000, math.floor(floods) + dropped)
    assert.is_true(dropped > 0)
  end)

  it("keeps what people say to lines at debug", function()
    local child = serve [[ start = function()
      for _, level in ipairs { "info", "debug" } do
        cxb.log.level(level)
        cxb.log[level]("heard", { pii = "a", pii_text = "b", ["caller.pii"] = "c", pill = "d" })
      end
    end ]]
    local line = cjson.decode(expect_line(child, "heard"))
    assert.same({ "d" }, { line.pill, line.pii, line.pii_text, line["caller.pii"] })
    line = cjson.decode(expect_line(child, "heard"))
    assert.same({ "d", "a", "b", "c" }, { line.pill, line.pii, line.pii_text, line["caller.pii"] })
  end)
end)
