-- stores: both
-- waits: 13
-- A flow from the editor to calls: the real API, and a host of two real workers.
local CoreHost = require("support.core_host")
local dialler = require("support.dialler")
local process = require("support.api_process")
local support = require("support.world")

local wait_until = support.wait_until

-- The API listens on a Unix socket; workers reach it by this.
local RELAY = [[
return function(req, _, body)
  local query = req.query ~= "" and "?" .. req.query or ""
  local answer = cxb.http.request({ url = "http+unix:%s:" .. req.path .. query, method = req.method,
    headers = { ["x-cxb-core-secret"] = req.headers["x-cxb-core-secret"],
      ["content-type"] = "application/json" }, body = body ~= "" and body or nil })
  req:respond(answer and answer.status or 502, answer and answer.body)
end]]

describe("a published flow", function()
  local world, api, host, bot

  setup(function()
    world = support.new()
    local front = "http://127.0.0.1:" .. world:port()
    api = process.start(world, { env = { CXB_INTERNAL_URL = front } })
    world:server("tcp:" .. front:match("//(.*)$"), RELAY:format(api.socket))
    host = CoreHost.new(world, { env = { CXBCORE_SECRET = process.SECRET,
      CXB_API_CONFIG_URL = front .. "/api/v1/config", CXB_HOST_ID = "real",
      CXB_HOST_URL = "http://127.0.0.1:1" } })
    host:start(1)
    host:start(2)
  end)

  teardown(function() world:close() end)

  local function ask(verb, path, body)
    local answer = api:ask(verb, "/api/v1" .. path, { body = body, timeout_ms = 60000 })
    assert.is_true(answer.status >= 200 and answer.status < 300, answer.body)
    return answer.answer
  end

  local function say(word)
    return ('return function(call)\n  call:intent("%s")\n  call:hangup()\nend\n'):format(word)
  end

  local function publish(source, base)
    ask("PUT", "/flows/talk/draft", { source = source, base_version = base })
    return ask("POST", "/flows/talk/publish", {})
  end

  local function loaded(revision)
    wait_until("both workers on revision " .. revision, function()
      local progress = ask("GET", "/flows/talk/rollout")
      return progress.revision == revision and progress.workers_total == 2
        and progress.workers_loaded == 2
    end)
  end

  local function intents_of(d)
    d:wait_closed()
    local call = wait_until("the result", function()
      for _, item in ipairs(ask("GET", "/calls?bot_id=" .. bot).items) do
        local full = item.stream_id == d.stream_id and item.status ~= "in_progress"
          and ask("GET", "/calls/" .. item.session_id)
        if full then
          return full
        end
      end
    end)
    return call.intents and call.intents[1] and call.intents[1].name, call.flow_version
  end

  local function dial(n)
    host:idle(n)
    local d = assert(dialler.connect(host:socket(n), bot))
    return d:begin()
  end

  it("changes the next call on every worker and no live call, and goes back in one request",
    function()
      ask("POST", "/flows", { name = "talk" })
      loaded(publish('return function(call)\n  call:listen{ timeout = 90, dtmf = { max = 1 } }\n'
        .. '  call:intent("one")\nend\n', 0).revision)
      bot = ask("POST", "/bots", { name = "Talk", flow = "talk", stt = { provider = "none" },
        tts = { provider = "none" }, max_silence_seconds = 0 }).id
      local live = dial(1)
      wait_until("the live call", function()
        return host:get(1, "/health").worker_calls == 1
      end)
      loaded(publish(say("two"), 1).revision)
      assert.equal("two", (intents_of(dial(2))))
      live:send({ event = "dtmf", digit = "1" })
      assert.equal("one", (intents_of(live)))
      host:idle(1)
      assert.equal("two", (intents_of(dial(1))))
      loaded(publish(say("three"), 2).revision)
      loaded(ask("POST", "/flows/talk/rollback", { version = 2 }).revision)
      assert.equal("two", (intents_of(dial(1))))
      assert.equal("two", (intents_of(dial(2))))
    end)
end)
