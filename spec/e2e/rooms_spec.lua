-- area: api
-- timeout: 300
-- People in rooms of a real LiveKit server: how a caller comes to a worker, who hears whom when
-- supervisors listen and whisper.
local FleetHost = require("support.fleet_host")
local LiveKit = require("support.livekit_server")
local client = require("cxb.livekit")
local json = require("cxb.json")
local jwt = require("cxb.jwt")
local npm = require("support.npm")
local process = require("support.api_process")
local support = require("support.world")

local folder = cxb.root .. "/spec/e2e/room"

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
  local world, livekit, host

  setup(function()
    world = support.new()
    npm.need(world, "e2e/room")
    local api
    livekit, api = start(world)
    host = FleetHost.new(world)
    host:register(api)
  end)

  teardown(function()
    host:silence()
    world:close()
  end)

  -- As LiveKit's SIP service brings one into a room of his own.
  local function call(room)
    local now = math.floor(cxb.time.now() / 1000)
    local token = jwt.sign({ iss = LiveKit.KEY, sub = "sip_+919876543210", nbf = now - 10,
      exp = now + 600, kind = "sip", video = { roomJoin = true, room = room },
      attributes = { ["sip.phoneNumber"] = "+919876543210", ["sip.callID"] = "SCL_1",
        ["sip.trunkPhoneNumber"] = "+912212345678", ["sip.trunkID"] = "ST_1" } }, LiveKit.SECRET)
    world:start({ "node", folder .. "/join.mjs", livekit.settings.LIVEKIT_URL, token },
      cxb.process.environ())
  end

  -- (waits) What the host was asked about a room.
  local function dispatched(room)
    return support.wait_until("the dispatch", function()
      for _, request in ipairs(host:asked("/livekit/dispatch")) do
        if request.sent.room_name == room then return request.sent end
      end
    end)
  end

  it("whom the telephone network brings into a room is offered to a worker", function()
    call("call-1")
    assert.same({ room_name = "call-1", caller_number = "+919876543210", final = false,
      dialed_number = "+912212345678", call_id = "SCL_1" }, dispatched("call-1"))
  end)

  it("for whom no worker comes is not left in silence", function()
    host:answer("/livekit/dispatch", 404, { error = "no_bot" })
    call("call-2")
    dispatched("call-2")
    support.wait_until("the caller's removal", function()
      local there = client.twirp(livekit.settings, "RoomService", "ListParticipants",
        { room = "call-2" })
      return not there or #there.participants == 0
    end)
    local first = assert(client.twirp(livekit.settings, "RoomService", "ListParticipants",
      { room = "call-1" }))
    assert.equal(1, #first.participants)
  end)
end)

describe("a supervisor", function()
  local world, report

  setup(function()
    world = support.new()
    npm.need(world, "e2e/room")
    local livekit, api = start(world)
    local desk = "/api/v1/agent-desk"
    local function person(name, role)
      local made = api:ask("POST", "/api/v1/auth/register", { body = { name = name, role = role,
        email = name .. "@example.org", password = process.PASSWORD } })
      assert.equal(201, made.status)
      return process.token(name .. "@example.org")
    end
    local function join(token, path)
      local answer = api:ask("POST", desk .. path, { token = token })
      assert.equal(200, answer.status)
      return answer.answer.media.token
    end
    local ann = person("ann", "agent")
    api:ask("POST", desk .. "/status", { token = ann, body = { status = "available" } })
    api:ask("POST", desk .. "/enqueue", { body = { call_id = "c-1", room = "desk-1",
      caller = "+919876543210" } })
    local tokens = {
      caller = client.token(livekit.settings, { identity = "sip_+919876543210", room = "desk-1" }),
      agent = join(ann, "/calls/c-1/accept"),
      listen = join(person("sue", "supervisor"), "/supervisor/calls/c-1/listen"),
      whisper = join(person("sam", "supervisor"), "/supervisor/calls/c-1/whisper"),
      rude = join(person("sid", "supervisor"), "/supervisor/calls/c-1/whisper"),
    }
    local people = world:start({ "node", folder .. "/people.mjs", json.encode({
      url = livekit.settings.LIVEKIT_URL, tokens = tokens,
      agent = jwt.verify(tokens.agent, LiveKit.SECRET).sub }) }, cxb.process.environ())
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
