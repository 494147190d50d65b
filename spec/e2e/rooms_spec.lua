-- area: api
-- timeout: 300
-- People in rooms of a real LiveKit server: how a caller comes to a worker, who hears whom when
-- supervisors listen and whisper.
local FleetHost = require("support.fleet_host")
local LiveKit = require("support.livekit_server")
local client = require("cxb.livekit")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local process = require("support.api_process")
local support = require("support.world")

local folder = cxb.root .. "/spec/e2e/room"

-- The room's people from npm: once per clone, by the lock file.
local function need_people(world)
  support.need("node")
  support.need("npm")
  if not cxb.fs.stat(folder .. "/node_modules/@livekit/rtc-node") then
    local npm = world:start({ "npm", "ci", "--no-progress", "--loglevel=error" }, nil, folder)
    assert.equal(0, npm:wait(180000), npm:output())
  end
end

-- (waits) LiveKit that tells an API what happens, and this API.
local function start(world)
  local port = world:port()
  local livekit = LiveKit.new(world, { webhook = ("http://127.0.0.1:%d/api/v1/livekit/webhook")
    :format(port) }):start()
  local api = process.start(world, { env = livekit:env() })
  world:server("tcp:127.0.0.1:" .. port, ([[
    return function(req, _, body)
      local answer = cxb.http.request({ url = "http+unix:%s:" .. req.path, method = req.method,
        headers = { authorization = req.headers.authorization,
          ["content-type"] = req.headers["content-type"] }, body = body })
      req:respond(answer and answer.status or 502, answer and answer.body)
    end]]):format(api.socket))
  return livekit, api
end

describe("a caller", function()
  local world = support.new()
  teardown(function() world:close() end)

  it("whom the telephone network brings into a room is offered to a worker", function()
    need_people(world)
    local livekit, api = start(world)
    local host = FleetHost.new(world)
    host:register(api)
    local now = math.floor(cxb.time.now() / 1000)
    local token = jwt.sign({ iss = LiveKit.KEY, sub = "sip_+919876543210", nbf = now - 10,
      exp = now + 600, kind = "sip", video = { roomJoin = true, room = "call-_+91_x1" },
      attributes = { ["sip.phoneNumber"] = "+919876543210", ["sip.callID"] = "SCL_1",
        ["sip.trunkPhoneNumber"] = "+912212345678", ["sip.trunkID"] = "ST_1" } }, LiveKit.SECRET)
    world:start({ "node", folder .. "/join.mjs", livekit.settings.LIVEKIT_URL, token },
      cxb.process.environ())
    support.wait_until("the dispatch", function()
      return host:asked("/livekit/dispatch")[1]
    end, 60000)
    assert.same({ room_name = "call-_+91_x1", caller_number = "+919876543210", final = false,
      dialed_number = "+912212345678", call_id = "SCL_1" }, host:asked("/livekit/dispatch")[1].sent)
    host:silence()
  end)
end)

describe("a supervisor", function()
  local world, report

  setup(function()
    world = support.new()
    need_people(world)
    local livekit = start(world)
    local function token(identity, more)
      local grant = { identity = identity, room = "desk-1" }
      for name, value in pairs(more or {}) do grant[name] = value end
      return client.token(livekit.settings, grant)
    end
    local to_agent = { attributes = { ["cxb.whisper_to"] = "agent-1" } }
    local people = world:start({ "node", folder .. "/people.mjs", json.encode({
      url = livekit.settings.LIVEKIT_URL, agent = "agent-1", tokens = {
        caller = token("sip_+919876543210"), agent = token("agent-1"),
        listen = token("supervisor-1", { publish = false, hidden = true }),
        whisper = token("supervisor-2", to_agent), rude = token("supervisor-3", to_agent),
      } }) }, cxb.process.environ())
    people:wait(200000)
    for _, line in ipairs(people.log) do -- among them the library's own
      local object = json.decode_object(line)
      report = object and (object.whisper or object.failure) and object or report
    end
    assert(report and not report.failure, people:output())
  end)

  teardown(function() world:close() end)

  it("who listens hears both, is not seen and cannot speak", function()
    assert.equal(0, report.listener_seen)
    assert.is_false(report.listener_published)
    assert.equal(0, report.heard_of_listener)
  end)

  it("who whispers is heard by the agent and not by the caller", function()
    assert.is_true(report.whisper.agent > 100)
    assert.equal(0, report.whisper.caller)
  end)

  it("whose client forgets to hide the whisper is cut off from the caller", function()
    assert.equal(0, report.rude.caller_more)
  end)
end)
