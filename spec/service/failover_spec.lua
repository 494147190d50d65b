-- waits: 26
-- Providers killed in turn in the middle of a call, all of them real processes: another takes over
-- and no turn is lost.

local speech = require("support.speech")
local support = require("support.world")
local talks = require("support.talk")

describe("a call whose providers are killed in turn", function()
  local world

  setup(function()
    world = support.new()
    for _, tool in ipairs({ "flite", "sox", "python3" }) do support.need(tool) end
  end)
  teardown(function() world:close() end)

  local function spare_model()
    local port = world:port()
    local url = "http://127.0.0.1:" .. port
    world:start({ "python3", cxb.root .. "/spec/sim/llm_sim.py", "--port", tostring(port) })
    support.wait_until("the spare model", function()
      return support.get_json(url .. "/_seen")
    end)
    return url
  end

  it("goes on with those that take over", function()
    local ear, mouth, spare = speech.start(world), speech.start(world), speech.start(world)
    local model = spare_model()
    local talk = talks.start(world, { frail = {
      system_prompt = "", opening_message = "Hello, how can I help you?", flow = "assistant",
      stt = { provider = "embedded", url = "unix:" .. ear.socket,
        fallback = { { provider = "embedded", url = "unix:" .. spare.socket } } },
      tts = { provider = "embedded", url = "unix:" .. mouth.socket,
        fallback = { { provider = "embedded", url = "unix:" .. spare.socket } } },
      llm = { provider = "openai", model = "m", base_url = "$LLM/v1",
        fallback = { { provider = "openai", model = "m", base_url = model .. "/v1" } } },
    } }, { speech = spare })
    assert(cxb.http.request({ url = model .. "/_script", method = "POST",
      headers = { ["content-type"] = "application/json" }, body = [[{"rules": [
        {"match": "pen", "text": "We are open from nine in the morning until six in the evening."},
        {"match": "ddress", "text": "Our office is beside the old stone bridge."},
        {"match": "", "text": "Goodbye then, and thank you."}]}]] }))

    local d = talk:call("frail")
    local n = talk.bot_silent(d)
    talk.llm_process:kill("KILL")
    d:says(talk:say("What are your opening hours?"))
    support.wait_until("the answer's first second", function() return #d.audio > n + 50 end)
    mouth:kill("KILL") -- while the bot speaks
    n = talk.bot_silent(d, n)
    local question = talk:say("And now please tell me, what is your address?", "awb")
    d:says(question)
    support.wait_until("half of the question", function() return #d.queue < 70 end)
    ear:kill("KILL") -- while the caller speaks
    talk.bot_silent(d, n)
    local heard = talk:heard(d)
    d:hangup()

    assert.matches("in the morning", heard)
    assert.matches("stone bridge", heard)
    local result, switched = talk:result(), {}
    for _, event in ipairs(result.events) do
      if event.type == "provider_failover" then switched[event.data.stage] = event.t_ms end
    end
    assert.truthy(switched.llm and switched.stt and switched.tts)
    assert.equal("customer", result.disconnected_by)
    local turns = 0
    for _, entry in ipairs(result.transcript) do
      turns = turns + (entry.role == "customer" and 1 or 0)
    end
    assert.equal(2, turns)
  end)
end)
