-- The API of a fault sweep: cxbrt spec/soak/fault_receiver.lua ADDR URL SEED
-- Gives configurations, keeps every delivery by its idempotency key, reads analyses, and fails the
-- way receivers do: refuses, stores and then fails, stores and is silent. GET /_calls says what it
-- has seen of each stream; GET /_policy/calm ends the failures.

local json = require("cjson.safe")

local addr, url = cxb.args[1], cxb.args[2]
math.randomseed(tonumber(cxb.args[3]))

local streams = {} -- by stream_id: {fetched=, keys={[key]={seen=, stored=, body=, ...}}}
local sessions, calm, silent = 0, false, 3

local function stream_of(id)
  streams[id] = streams[id] or { keys = {} }
  return streams[id]
end

local function config(bot)
  sessions = sessions + 1
  local judged = bot == "judged"
  return json.encode({
    session_id = ("sweep-%d-%d"):format(cxb.process.pid, sessions), webhook_url = url .. "/results",
    system_prompt = "", opening_message = "", flow = "tick", max_silence_seconds = 0,
    stt = { provider = "none" }, tts = { provider = "none" },
    llm = { provider = "openai", model = "judge", api_key = "k", base_url = url .. "/v1" },
    post_call_analysis_prompt = judged and "Judge it." or nil, qc_prompt = judged and "Score it." or nil,
  })
end

local ANSWER = 'data: {"choices":[{"index":0,"delta":{"content":"{\\"overall_score\\":8}"}}]}\n\n'
  .. 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

local function keys_pressed(result)
  local n = 0
  for _, entry in ipairs(result.transcript or {}) do
    if entry.role == "dtmf" then n = n + 1 end
  end
  return n
end

local function keep(req, body)
  local result = json.decode(body)
  local stream = stream_of(result.stream_id or "?")
  local key = req.headers["idempotency-key"] or "?"
  local kept = stream.keys[key] or { seen = 0, stored = 0, first = cxb.time.mono() }
  stream.keys[key] = kept
  kept.seen = kept.seen + 1
  return kept, function()
    kept.stored = kept.stored + 1
    kept.changed = kept.changed or (kept.body ~= nil and kept.body ~= body) or nil
    kept.body = body
    kept.pressed, kept.error, kept.by = keys_pressed(result), result.error, result.disconnected_by
    kept.recording_key, kept.recording_url = result.recording_key, result.recording_url
    kept.judged = result.post_call_analysis ~= nil and result.qc_analysis ~= nil or nil
  end
end

local function results(req, body)
  local _, store = keep(req, body)
  local dice = calm and 1 or math.random()
  if dice < 0.05 then
    return req:respond(503, "{}")
  end
  store()
  if dice < 0.10 then
    return req:respond(500, "{}")
  elseif dice < 0.12 and silent > 0 then
    silent = silent - 1
    return cxb.time.sleep(60000)
  end
  req:respond(200, "{}")
end

local function calls()
  local out = {}
  for id, stream in pairs(streams) do
    local keys = {}
    for key, kept in pairs(stream.keys) do
      local shown = { key = key }
      for name, value in pairs(kept) do
        if name ~= "body" then shown[name] = value end
      end
      keys[#keys + 1] = shown
    end
    out[#out + 1] = { stream = id, fetched = stream.fetched or false, keys = keys }
  end
  return json.encode({ calls = out })
end

return {
  name = "fault receiver",
  listen = { { addr = addr, mode = 438 } },
  http = function(req)
    local bot = req.path:match("^/api/v1/config/([%w_]+)$")
    if bot then
      local id = req.query:match("stream_id=([%w%-]+)")
      if id then stream_of(id).fetched = true end
      return req:respond(200, config(bot))
    elseif req.path == "/results" or req.path == "/api/v1/call-results" then
      return results(req, req:body(16 * 1024 * 1024))
    elseif req.path == "/v1/chat/completions" then
      req:body(16 * 1024 * 1024)
      return req:respond(200, ANSWER, { ["content-type"] = "text/event-stream" })
    elseif req.path == "/_calls" then
      return req:respond(200, calls())
    elseif req.path:find("^/_policy/") then
      calm = req.path == "/_policy/calm"
      return req:respond(200, "{}")
    end
    req:respond(404, "{}")
  end,
}
