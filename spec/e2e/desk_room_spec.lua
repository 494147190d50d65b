-- area: api
-- timeout: 300
-- A call of the Agent Desk in a room of a real LiveKit server: the API learns of the agent from the
-- room's webhook, and whoever holds the caller learns of the end from the room.
local LiveKit = require("support.livekit_server")
local client = require("cxb.livekit")
local json = require("cxb.json")
local npm = require("support.npm")
local process = require("support.api_process")
local support = require("support.world")

local folder = cxb.root .. "/spec/e2e/room"
local BASE = "/api/v1/agent-desk"

describe("a desk call in a real room", function()
  local world, livekit, api, agent

  setup(function()
    world = support.new()
    npm.need(world, "e2e/room")
    local port = world:port()
    livekit = LiveKit.new(world, { webhook = ("http://127.0.0.1:%d/api/v1/livekit/webhook")
      :format(port) }):start()
    api = process.start(world, { env = livekit:env() })
    world:server("tcp:127.0.0.1:" .. port, ([[
      return function(req, _, body)
        local answer = cxb.http.request({ url = "http+unix:%s:" .. req.path, method = req.method,
          headers = { authorization = req.headers.authorization,
            ["content-type"] = req.headers["content-type"] }, body = body })
        req:respond(answer and answer.status or 502, answer and answer.body)
      end]]):format(api.socket))
    assert.equal(201, api:ask("POST", "/api/v1/auth/register", { body = { email = "ann@example.org",
      name = "Ann", role = "agent", password = "correct horse battery" } }).status)
    agent = process.token("ann@example.org")
    assert.equal(200, api:ask("POST", BASE .. "/status",
      { token = agent, body = { status = "available" } }).status)
  end)

  teardown(function() world:close() end)

  local function join(token)
    return world:start({ "node", folder .. "/one.mjs",
      json.encode({ url = livekit.settings.LIVEKIT_URL, token = token }) }, cxb.process.environ())
  end

  local function said(person, what)
    return support.wait_until(what, function()
      for _, line in ipairs(person.log) do
        local value = json.decode_object(line)
        if value and (value[what] or value.topic == what) then return value end
      end
      if person.ended then error(person:output(), 0) end
    end)
  end

  it("is active once its agent is in the room; a forced end is told there, then the room goes", function()
    local holder = join(client.token(livekit.settings, { identity = "hold-1", room = "call-1" }))
    said(holder, "joined")
    assert.equal(200, api:ask("POST", BASE .. "/enqueue",
      { body = { call_id = "c1", room = "call-1", caller = "+14155550100" } }).status)
    local taken = api:ask("POST", BASE .. "/calls/c1/accept", { token = agent })
    assert.same({ 200, "assigned", "call-1" }, { taken.status, taken.answer.call.state,
      taken.answer.media.room_name })
    local person = join(taken.answer.media.token)
    said(person, "joined")
    support.wait_until("the agent in the room", function()
      return api:ask("GET", BASE .. "/calls/c1/state").answer.state == "active"
    end)
    local forced = api:ask("POST", BASE .. "/supervisor/calls/c1/force-end",
      { body = { reason = "test" } })
    assert.equal("wrap_up", forced.answer.state)
    assert.same({ reason = "force_ended" }, said(holder, "desk.end").data)
    assert.is_true(said(holder, "left").left)
    assert.equal(0, person:wait(60000))
    assert.equal("completed", api:ask("POST", BASE .. "/calls/c1/end",
      { token = agent, body = { disposition = "D" } }).answer.state)
  end)
end)
