-- Conversations at random, each from its number: callers who talk, cough, press keys, fall silent and
-- hang up at any moment, models and voices that are slow or fail. Whatever happens, the call ends
-- as one of the contract's ends, and what the model is told stays in order.
require("spec.support.pure")
local conversation = require("cxb.testing.stage")
local fault_of = require("spec.support.result_schema")
local result = require("cxb.result")

local ends = { bot = true, customer = true, RNR = true, timeout = true, voicemail = true, error = true }

local sentences = { "When do you open?", "okay", "haan ji", "no wait stop please", "agent",
  "I have one more question about my bill", "Yes.", "and", "wrong number", "my number is four two",
  "thank you goodbye" }
local answers = { "We open at nine. Anything else I can do for you?", "All right.",
  "This is a long answer that goes on and on, with clauses, until everybody has had enough of it.",
  "Yes. No. Perhaps. I cannot say more about this today, I am afraid." }
local configs = {
  {}, { min_words_interruption = 0 }, { min_words_interruption = 1 },
  { re_engagement = { after_seconds = 2, messages = { "Are you there?" }, final_message = "Bye." } },
  { re_engagement = { after_seconds = 3 } }, { max_silence_seconds = 5 },
  { max_call_duration_seconds = 20 }, { turn = { false_interruption_ms = 0 } },
  { stt = { provider = "embedded", extra = { should_interrupt = false } } },
  { voicemail_message = "Call us back." },
  { turn = { dynamic = false, endpoint_delay_ms = 50 } },
}

-- Numbers in a row that looks random, the same on every machine.
local function random(seed)
  local state = seed * 7919 + 17
  return function(n)
    state = (state * 16807) % 2147483647
    return state % n + 1
  end
end

local function answer(r)
  local kind = r(10)
  local text = answers[r(#answers)]
  if kind == 1 then
    return { text = text, tool_calls = { { name = "end_call" } } }
  elseif kind == 2 then
    return { text = r(2) == 1 and text or "", tool_calls = { { name = "look" }, { name = "look" } } }
  elseif kind == 3 then
    return { tool_calls = { { name = "transfer_call", arguments = '{"reason":"x"}' } } }
  elseif kind == 4 then
    return { text = text, tool_calls = { { name = "detected_voicemail" } } }
  elseif kind == 5 then
    return { fault = "http_500", delay = r(2000) }
  elseif kind == 6 then
    return { text = text, piece_ms = r(400), breaks = r(2) == 1 and "bad_response" or nil }
  end
  return { text = text, delay = r(5000), piece_ms = r(300) }
end

local function one(seed)
  local talk, r = conversation.new(), random(seed)
  talk.tools.look = { answer = '{"x":1}', ms = r(8000) }
  for i = 1, 60 do
    talk.model.answers[i] = answer(r)
  end
  local at = 0
  for _ = 1, r(14) do
    at = at + r(5000)
    local what = r(6)
    if what <= 3 then
      local said = sentences[r(#sentences)]
      talk:speaks(at, 100 + r(1500), said, { final = r(6) == 1 and "" or said })
    elseif what == 4 then
      talk:coughs(at, 50 + r(600))
    elseif what == 5 then
      talk:keys(at, ({ "1", "12#", "5551", "#" })[r(4)])
    elseif r(3) == 1 then
      local dead = ({ talk.model.dead, talk.voice.dead, talk.caller.dead })[r(3)]
      talk:at(at, function()
        dead[({ "rules", "embedded", "embedded" })[r(3)]] = "refused"
        if dead == talk.caller.dead and dead.embedded and talk.caller.on_event then
          talk.caller.on_event({ type = "lost", message = "gone" })
        end
      end)
    end
  end
  talk.voice.timed = r(2) == 1
  if r(3) > 1 then
    talk:leaves(at + r(15000))
  end
  local config = {}
  for key, value in pairs(configs[r(#configs)]) do
    config[key] = value
  end
  config.opening_message = r(3) > 1 and "Hello, this is Asha. How can I help you today?" or ""
  config.max_call_duration_seconds = config.max_call_duration_seconds or 120
  config.tools = { { name = "look", pre_message = r(2) == 1 and "One second." or "" } }
  config.transfer_targets = { { id = "d", value = "1", type = "extension", is_default = true,
    method = "websocket_reverse_transfer" } }
  local spare = { { provider = "spare", model = "m" } }
  config.llm, config.tts = { provider = "rules", fallback = spare },
    { provider = "embedded", fallback = spare }
  config.stt = config.stt or { provider = "embedded", fallback = spare }
  local ending = talk:run(config, { can_transfer = r(2) == 1 })
  return talk, ending
end

-- The answers of tools stand behind the request they belong to, each one; no turn of the bot is
-- empty.
local function in_order(request)
  local awaited = {}
  for _, message in ipairs(request.messages) do
    if awaited[1] then
      assert(message.tool_call_id == table.remove(awaited, 1), "a tool's answer is missing")
    else
      assert(message.role ~= "tool", "an answer to nothing")
    end
    for _, call in ipairs(message.tool_calls or {}) do
      awaited[#awaited + 1] = call.id
    end
    assert(message.role ~= "assistant" or message.tool_calls or message.content ~= "")
  end
  assert(not awaited[1], "a tool's answer is missing")
end

-- All but the last of what the caller said or keyed was told to the model.
local function nothing_lost(talk)
  local said, last = {}, talk.model.requests[#talk.model.requests]
  for _, message in ipairs(last and last.messages or {}) do
    said[#said + 1] = message.role == "user" and message.content or nil
  end
  local all, caller = table.concat(said, "\n"), {}
  for _, entry in ipairs(talk.facts.transcript) do
    caller[#caller + 1] = entry.role ~= "bot" and entry.text or nil
  end
  for i = 1, #caller - 1 do
    assert(all:find(caller[i], 1, true), "the model was not told: " .. caller[i])
  end
end

-- The result of a call that ended like this, as it would be posted.
local function posted(talk, ending)
  talk.facts:add("start", { session_id = "s1", pipeline_config = { flow = "assistant",
    generation = 1, version = "1", worker = "1", transport = "cxb", rate = 8000 } })
  talk.facts:add("end", { disconnected_by = ending.by, error = ending.error,
    t_ms = talk.leg:clock() })
  return result.build(talk.facts)
end

local function check(talk, ending)
  local fault = fault_of(posted(talk, ending))
  assert(not fault, fault)
  assert(ends[ending.by], tostring(ending.by))
  assert(ending.error == nil or ending.error == "provider", tostring(ending.error))
  local last = -1
  for _, entry in ipairs(talk.facts.transcript) do
    assert(entry.turn == last + 1)
    last = entry.turn
    assert(entry.start_ms <= entry.end_ms)
    assert(entry.text ~= "" and (not entry.full_text or #entry.text < #entry.full_text))
  end
  for _, request in ipairs(talk.model.requests) do
    in_order(request)
  end
  if not ending.error then
    nothing_lost(talk)
  end
  for _, s in ipairs(talk.facts.samples) do
    assert(s.total_ms == s.endpoint_ms + s.stt_ms + s.rag_ms + s.tool_ms + s.llm_ttft_ms
      + s.tts_ttfb_ms + s.host_ms)
  end
end

describe("conversations at random", function()
  it("all end as the contract says, with what was said in order", function()
    for seed = 1, 300 do
      local ok, why, ending = pcall(one, seed)
      assert(ok, ("conversation %d: %s"):format(seed, tostring(why)))
      local talk = why
      ok, why = pcall(check, talk, ending)
      talk:close()
      assert(ok, ("conversation %d: %s"):format(seed, tostring(why)))
    end
  end)
end)
