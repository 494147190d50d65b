-- timeout: 300
-- waits: 25
-- Scripts that misbehave: each ends its own call, whose audio goes on to the end, and nothing else.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local json = require("cjson.safe")

-- Six seconds of sound on their way, then the flow does what it does.
local SOUND = [[
  local id = call.leg:say_begin(8000)
  call.leg:say_push(id, ("\1\2"):rep(48000))
  call.leg:say_end(id)
  cxb.time.sleep(300)
]]
local flows = {
  echo = "return require('flows.echo')",
  loop = "return function(call)" .. SOUND .. "while true do pcall(function() while true do end end) end end",
  hog = "return function(call)" .. SOUND .. "local t = {} while true do t[#t + 1] = ('x'):rep(9999) .. #t end end",
  parked = "return function(call) while true do cxb.task.park(100) end end",
  reaches = [[return function(call)
    for _, try in ipairs({ function() os.exit(3) end, function() os.execute("sleep 60") end,
      function() io.popen("sleep 60"):read("*a") end, function() io.read() end }) do
      local ok, why = pcall(try)
      call:event("tried", { ok = ok, why = tostring(why) })
    end
    call:event("date", { day = os.date("!%Y") })
  end]],
}

describe("a flow", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { workers = 2 })
    for name, text in pairs(flows) do
      world:write(("%s/flows/%s.lua"):format(host.dir, name), text)
    end
    host.env.CXB_FLOWS_DIR = host.dir .. "/flows"
    host.env.CXB_TASK_STALL_END_MS = "5000"
    host.env.CXB_MAX_SCRIPT_MB = "24"
    host:start(1)
  end)
  after_each(function() world:close() end)

  local function result(n)
    return json.decode(host:delivery(n or 1).body)
  end

  local function answers_health()
    return cxb.http.request({ url = "http+unix:" .. host:socket(1) .. ":/health", timeout_ms = 300 })
  end

  -- A call on worker 2 that talks; the function waits for its whole echo and ends it.
  local function neighbour()
    host:start(2)
    local d = assert(host:call(2)):hear_self()
    local talking = cxb.task.spawn("neighbour", function()
      d:speak(dialler.tone(4000))
      return true
    end)
    return function()
      assert.is_true(talking:wait(60000))
      World.wait_until("the neighbour's whole echo", function() return #d:heard() >= 4200 * 16 end)
      d:hangup()
    end
  end

  -- How the two calls ended: disconnected_by → error.
  local function two_ends()
    local ends = {}
    for n = 1, 2 do
      local r = result(n)
      ends[r.disconnected_by] = r.error or "none"
    end
    return ends
  end

  local function serves_on()
    host:idle(1)
    local before = #host:got()
    local d = host:short_call(1)
    assert.truthy(#d:heard() > 0)
    World.wait_until("its result", function() return #host:got() > before end)
  end

  it("that loops for ever stops no frame of its own call, nor a neighbour, and ends in stalled", function()
    local neighbour_ends = neighbour()
    local d = host:call(1, "loop")
    World.wait_until("frames while no script could have sent them", function()
      local before = #d.audio
      return not answers_health() and #d.audio >= before + 8
    end)
    neighbour_ends()
    assert.is_true(d:wait_closed())
    assert.same({ customer = "none", error = "stalled" }, two_ends())
    serves_on()
  end)

  it("that eats memory ends in memory, and the next call has all of it", function()
    local neighbour_ends = neighbour()
    local d = host:call(1, "hog")
    assert.is_true(d:wait_closed())
    neighbour_ends()
    assert.same({ customer = "none", error = "memory" }, two_ends())
    serves_on()
  end)

  it("that goes on after its caller has gone is ended, and the slot is free", function()
    local d = host:call(1, "parked")
    World.wait_until("the call", function() return answers_health() and d.ws end)
    d:hangup()
    assert.is_true(d:wait_closed())
    assert.equal("customer", result().disconnected_by)
    serves_on()
  end)

  it("cannot end or block its worker with os and io", function()
    local d = host:call(1, "reaches")
    assert.is_true(d:wait_closed())
    local r, tried = result(), 0
    assert.equal("bot", r.disconnected_by)
    for _, event in ipairs(r.events) do
      if event.type == "tried" then
        tried = tried + 1
        assert.is_false(event.data.ok)
        assert.matches("reaches.lua:%d+: .-is not for flows", event.data.why)
      elseif event.type == "date" then
        assert.matches("^%d%d%d%d$", event.data.day)
      end
    end
    assert.equal(4, tried)
    assert.is_nil(host.workers[1].ended)
  end)
end)
