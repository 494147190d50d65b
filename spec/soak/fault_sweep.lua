-- kill -9 at every named step of a call's life and at random points, and nothing lost:
--   cxbrt spec/soak/fault_sweep.lua KILLS [--seed N] [--lanes N]
-- Real call workers on one host, callers over their sockets, a receiver that fails, an S3 server
-- that checks signatures (where it can be built). Each named step is passed once, the rest of KILLS
-- falls at random. Prints what it found; exit 1 when a call was lost, doubled or damaged.

package.path = cxb.root .. "/spec/?.lua;" .. cxb.root .. "/deploy/?.lua;" .. package.path

local ObjectStore = require("support.object_store")
local World = require("support.world")
local fault_call = require("soak.fault_call")
local verify = require("soak.fault_verify")

local options = { seed = os.time(), lanes = 4 }
do
  local i = 1
  while cxb.args[i] do
    local name = cxb.args[i]:match("^%-%-(%a+)$")
    if name then
      options[name], i = tonumber(cxb.args[i + 1]), i + 1
    else
      options.kills = tonumber(cxb.args[i])
    end
    i = i + 1
  end
end
if not options.kills then
  io.stderr:write("usage: cxbrt spec/soak/fault_sweep.lua KILLS [--seed N] [--lanes N]\n")
  return 2
end

-- In the order of a call's life. "judged" calls last long enough to be analysed.
local STEPS = {
  "journal.create", "journal.created", "journal.accepted", "journal.write", "journal.synced",
  "journal.start", "journal.plan", "journal.answer", "journal.recording", "journal.turn",
  "journal.turn:7", "journal.synced:9", "journal.event", "journal.end", "commit.before:2",
  "commit.after:2", "outbox.committed", "commit.before:3", "commit.after:3", "outbox.committed:2",
  "journal.removed", "slot.freed", "commit.before:4", "delivery.taken", "delivery.begun",
  "delivery.answered", "commit.before:5", "delivery.settled", "upload.begun", "upload.sent",
  "upload.checked", "analysis.claimed judged", "analysis.kept judged", "analysis.finished judged",
}

local world = World.new()
local dir = world:folder()
local state, neighbour = dir .. "/state", options.lanes + 1
local port = world:port()
local url = "http://127.0.0.1:" .. port
local store, env
local calls, kills, named, next_stream = {}, 0, 0, 0
local began = cxb.time.mono()
math.randomseed(options.seed)

local function say(text, ...)
  cxb.process.print(("# %4d s  "):format((cxb.time.mono() - began) / 1000) .. text:format(...) .. "\n")
end

local function setup()
  local ok, built = pcall(ObjectStore.new, world)
  store = ok and built or nil
  if store then store:start() else say("without uploads: %s", tostring(built)) end
  for _, name in ipairs({ "/progress", "/journal", "/recordings" }) do
    assert(cxb.fs.mkdir(state .. name))
  end
  world:service(cxb.root .. "/spec/soak/fault_receiver.lua", {}, function()
    return World.get_json(url .. "/_calls")
  end, { "tcp:127.0.0.1:" .. port, url, tostring(options.seed) })
  env = {
    CXBCORE_SECRET = ("k"):rep(40), CXB_DEV = "1", CXB_RUN_DIR = dir, CXB_STATE_DIR = state,
    CXB_LISTEN = "unix:" .. dir .. "/core-%i.sock", CXBCORE_WORKERS = tostring(neighbour),
    CXB_API_CONFIG_URL = url .. "/api/v1/config", CXB_BOTS_DIR = dir .. "/bots",
    CXB_FLOWS_DIR = cxb.root .. "/spec/soak/fault_flows", CXB_MIN_FREE_MB = "0",
    PATH = os.getenv("PATH"), CXB_LOG_LEVEL = "error",
  }
  for name, value in pairs(store and store:env() or {}) do env[name] = value end
end

local function socket(n)
  return ("%s/core-%d.sock"):format(dir, n)
end

-- A worker's process; ready() waits until it takes calls, or false when it died before.
local function spawn(n, crash_at)
  local vars = { CXB_WORKER_ID = tostring(n), CXB_CRASH_AT = crash_at }
  for name, value in pairs(env) do vars[name] = value end
  return world:start({ World.program, "core.lua" }, vars)
end

local function ready(p, n)
  local deadline = cxb.time.mono() + 40000
  while not p.ended and cxb.time.mono() < deadline do
    if World.accepts(socket(n)) then return true end
    cxb.time.sleep(20)
  end
  assert(p.ended, "a worker is not ready after 40 s")
  return false
end

local function forget(p) -- the world need not stop what has ended
  for i = #world.running, 1, -1 do
    if world.running[i] == p then table.remove(world.running, i) end
  end
end

local function new_call(plan)
  next_stream = next_stream + 1
  local call = { stream = ("f%d-%d"):format(options.seed, next_stream), plan = plan }
  calls[call.stream] = call
  return call
end

-- (waits) The process dies now, or has died at its step.
local function died(p, call, by_us)
  if by_us then
    call.killed_at = cxb.time.mono()
    p:kill("KILL")
  end
  assert(p:wait(60000), call.plan .. " was never reached:\n" .. p:output())
  assert(p.signal == 9, ("%s: ended with %s, signal %s:\n%s"):format(call.plan, tostring(p.code),
    tostring(p.signal), p:output()))
  forget(p)
  kills = kills + 1
  if kills % 100 == 0 then say("%d kills, %d calls", kills, next_stream) end
end

-- How long the caller of a named step talks. Steps of a call that goes on are passed when disk and
-- machine let them, and end it; the others need its end. Calls of five seconds are judged, from
-- their answer, which may be late.
local function talk_ms(name, bot)
  if name:find("^journal%.") and name ~= "journal.end" and name ~= "journal.removed" then
    return 30000
  end
  return bot == "judged" and 10000 or 900
end

-- (waits) One life of worker n that ends at a named step.
local function named_life(n, step)
  local name, bot = step:match("^(%S+) ?(%a*)$")
  local call = new_call(name)
  local p = spawn(n, name)
  local connected = ready(p, n) and fault_call.run(socket(n), bot ~= "" and bot or "plain",
    call.stream, talk_ms(name, bot), false, function()
      return cxb.fs.stat(state .. "/progress/" .. call.stream) -- by the flow, at its beginning
    end)
  call.accepted = connected and name == "journal.synced" -- of later steps the rest bears witness
  died(p, call)
  named = named + 1
end

-- (waits) One life that is ended at random: while it starts, in the call, or after it.
local function random_life(n)
  local p = spawn(n)
  local call = new_call("random")
  if math.random() < 0.05 then
    cxb.time.sleep(math.random(0, 150))
    return died(p, call, true)
  end
  if not ready(p, n) then error("a worker ended at its start:\n" .. p:output()) end
  local ms = math.random() < 0.15 and math.random(1200, 2600) or math.random(0, 700)
  local at = math.random(0, ms + 400)
  local caller = cxb.task.spawn("call", fault_call.run, socket(n), "plain", call.stream, ms)
  cxb.time.sleep(at)
  call.plan = ("random %d of %d"):format(at, ms)
  died(p, call, true)
  caller:wait(10000)
  if math.random() < 0.08 then -- its neighbours have to find what it left
    call.left_dead = true
    cxb.time.sleep(10500)
  end
end

local function lane(n, steps)
  for _, step in ipairs(steps) do named_life(n, step) end
  while kills < options.kills do random_life(n) end
end

-- A neighbour that dies while it takes over what another has left: at each of these steps.
local function dying_neighbours()
  for _, pair in ipairs({ { "outbox.committed", "outbox.adopted" },
    { "journal.turn:3", "outbox.committed" }, { "journal.turn:3", "commit.after:2" } }) do
    local first, call = spawn(1, pair[1]), new_call(pair[1] .. ", then " .. pair[2])
    assert(ready(first, 1))
    fault_call.run(socket(1), "plain", call.stream, talk_ms(pair[1]))
    died(first, call)
    local second = spawn(2, pair[2])
    ready(second, 2)
    died(second, call)
    named = named + 2
  end
end

local function run_lanes()
  local queues, tasks = {}, {}
  for n = 1, options.lanes do queues[n] = {} end
  for i, step in ipairs(STEPS) do
    if store or not step:find("^upload") then
      table.insert(queues[i % options.lanes + 1], step)
    end
  end
  for n = 1, options.lanes do tasks[n] = cxb.task.spawn("lane " .. n, lane, n, queues[n]) end
  for n = 1, options.lanes do
    local ok, code, why = tasks[n]:wait()
    assert(ok ~= nil or code ~= "error", why)
  end
end

-- (waits) Everything that was left is delivered.
local function quiesce()
  assert(World.get_json(url .. "/_policy/calm"))
  for n = 1, options.lanes do assert(ready(spawn(n), n)) end
  local secret = { ["x-cxb-core-secret"] = env.CXBCORE_SECRET }
  World.wait_until("empty outboxes and journals", function()
    local answer = World.get_json("http+unix:" .. socket(neighbour) .. ":/outbox?limit=1000", secret)
    for _, name in ipairs(cxb.fs.list(state .. "/journal")) do
      if name:find("%.jnl$") then return false end
    end
    return answer and #answer.items == 0
  end, 300000)
end

local function report()
  local r = verify.check(calls, assert(World.get_json(url .. "/_calls")).calls, {
    progress = state .. "/progress", recordings = state .. "/recordings", store = store })
  for i = 1, math.min(20, #r.failures) do say("FAILED: %s", r.failures[i]) end
  say("seed %d: %d kills, %d of them at named steps; %d calls, %d accepted, %d results, "
    .. "%d stored again", options.seed, kills, named, next_stream, r.accepted, r.results, r.repeats)
  say("behind at most: transcript %d ms, recording %d ms, adoption %d ms", r.transcript_ms or 0,
    r.recording_ms or 0, r.adoption_ms or 0)
  say("%d recordings playable, %d in the store, %d results analysed", r.playable, r.uploaded,
    r.judged)
  say("%d lost, %d doubled, %d other failures", r.lost, r.doubled,
    #r.failures - r.lost - r.doubled)
  return #r.failures == 0 and 0 or 1
end

local ok, code = pcall(function()
  setup()
  dying_neighbours()
  assert(ready(spawn(neighbour), neighbour))
  run_lanes()
  quiesce()
  return report()
end)
if not ok then say("FAILED: %s", tostring(code)) end
world:close()
return ok and code or 1
