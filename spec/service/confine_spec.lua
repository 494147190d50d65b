-- A process that gives up files and the network (cxb.process.confine).
local json = require("cxb.json")
local support = require("support.world")

local SCRIPT = [[
local json = require("cxb.json")
local no_files = cxb.args[1] == "no_files"
local path, url = cxb.args[2], cxb.args[3]
local ok = cxb.process.confine({ cpu_seconds = 1 + math.ceil(os.clock()), no_files = no_files })
local function try(fn)
  local done, value = pcall(fn)
  return done and value ~= nil and value ~= false
end
local new = path .. ".new"
cxb.process.print(json.encode({
  ok = ok,
  reads = try(function() return io.open(path) end),
  writes = try(function()
    local file = assert(io.open(new, "w"))
    file:setvbuf("no")
    return file:write("x")
  end),
  removes = try(function() return os.remove(path) end),
  connects = try(function() return cxb.http.request({ url = url, timeout_ms = 2000 }) end),
}) .. "\n")
while no_files do end
]]

describe("a confined process", function()
  local world, url, script

  setup(function()
    world = support.new()
    local port = world:port()
    url = "http://127.0.0.1:" .. port
    world:server("tcp:127.0.0.1:" .. port, "return function(req) req:respond(200, 'x') end")
    script = world:write(world:folder() .. "/script.lua", SCRIPT)
  end)

  teardown(function()
    world:close()
  end)

  local function run(mode)
    local file = world:write(world:folder() .. "/file", "secret")
    local p = world:start({ support.program, script, mode, file, url })
    local line = support.wait_until("what it could do", function()
      for _, text in ipairs(p.log) do
        if text:match('^{"') and not text:match('^{"ts"') then
          return text
        end
      end
    end)
    return json.decode(line), p
  end

  it("makes no socket and writes no byte, but may read", function()
    local did = run("read")
    assert.same({ true, true, false, false }, { did.ok, did.reads, did.writes, did.connects })
  end)

  it("that needs no files opens and removes none, and ends when its time is over", function()
    local did, p = run("no_files")
    assert.same({ ok = true, reads = false, writes = false, removes = false, connects = false },
      did)
    local _, signal = p:wait(60000)
    assert.is_true(signal ~= 0 or p.code ~= 0)
  end)
end)
