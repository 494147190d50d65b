-- timeout: 300
-- waits: 16
-- One run with everything that must not be told: secrets, keys, tickets, tokens in addresses, numbers,
-- keys pressed, words. Then every log line, metric, answer and file name is searched for them.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")
local json = require("cjson.safe")
local jwt = require("cxb.jwt")

local secrets = {
  core = "core-secret-" .. ("c"):rep(28), previous = "previous-secret-" .. ("p"):rep(24),
  ws_token = "ws-token-7f3a9b", twilio = "twilio-token-55aa", livekit_key = "lk-key-90210",
  livekit = "livekit-secret-1337", webhook = cxb.crypto.base64(("w"):rep(30)),
  api_key = "sk-provider-key-4711", url_key = "url-key-0815", hook_token = "hook-token-6174",
  header = "tool-header-key-2718", guess = "wrong-guess-3141",
}
local people = { caller = "9812345678", did = "8041234567", to = "9700011122", card = "4929123412",
  words = "swordfish", plate = "KA05MH1234" }

local FLOW = [[
return function(call)
  call:set("account", "KA05MH1234")
  call:event("asked", { text = "KA05MH1234" })
  repeat
    local heard = call:listen({ timeout = 30, dtmf = true })
    if heard.dtmf then call:set("card", heard.dtmf) end
    if heard.text and heard.text:find("fail") then error("on purpose") end
  until heard.hangup
end
]]

-- The configuration of every bot; results and live events are refused (400), so that rows die loudly.
local API = [[
local json = require("cjson.safe")
local n = 0
return function(req, seen, body)
  for i = #seen, 1, -1 do seen[i] = nil end
  local bot = req.path:match("/config/([%%w_-]+)$")
  if bot == "denied" then return req:respond(403, json.encode({ error = "forbidden" })) end
  if not bot then return req:respond(400, json.encode({ error = "no" })) end
  n = n + 1
  req:respond(200, json.encode({ session_id = "quiet-" .. n, flow = "tell", system_prompt = "KA05MH1234",
    opening_message = "", max_silence_seconds = 0, webhook_url = %q, stt = { provider = "none" },
    tts = bot == "voice" and { provider = "elevenlabs", api_key = %q, url = %q, voice = "v" }
      or { provider = "none" },
    llm = { provider = "openai", model = "m", api_key = %q, base_url = %q },
    variables = { ["crm.phone"] = "9812345678", ["crm.token"] = %q },
    tools = { { name = "look", parameters = { type = "object" }, http = { method = "GET",
      url = "http://127.0.0.1:1/?key=" .. %q, headers = { ["X-Key"] = %q } } } } }))
end
]]

describe("in a whole run", function()
  local world, host, said

  -- What was said to the outside, by where: text[].
  local function note(where, text)
    said[#said + 1] = { where = where, text = text or "" }
  end

  local function ask(method, path, body, headers)
    local answer = assert(cxb.http.request({ method = method, body = body, headers = headers,
      url = "http+unix:" .. host:socket(1) .. ":" .. path }))
    note(method .. " " .. path:gsub("%?.*", ""), answer.body)
    for name, value in pairs(answer.headers) do note("header of " .. path, name .. ": " .. value) end
    return answer
  end

  local function start(level)
    world, said = World.new(), {}
    host = CoreHost.new(world, { workers = 2 })
    local port = world:port()
    local url = "http://127.0.0.1:" .. port
    local dead = "http://127.0.0.1:1/v1?key=" .. secrets.url_key
    world:server("tcp:127.0.0.1:" .. port, API:format(url .. "/results?token=" .. secrets.hook_token,
      secrets.api_key, dead, secrets.api_key, dead, secrets.api_key, secrets.url_key, secrets.header))
    world:write(host.dir .. "/flows/tell.lua", FLOW)
    for name, value in pairs({
      CXBCORE_SECRET = secrets.core, CXBCORE_SECRET_PREVIOUS = secrets.previous,
      CXB_WS_TOKEN = secrets.ws_token, TWILIO_AUTH_TOKEN = secrets.twilio,
      LIVEKIT_URL = "ws://127.0.0.1:1", LIVEKIT_API_KEY = secrets.livekit_key,
      LIVEKIT_API_SECRET = secrets.livekit, CXB_WEBHOOK_SECRET = "whsec_" .. secrets.webhook,
      CXB_FLOWS_DIR = host.dir .. "/flows", CXB_LOG_LEVEL = level,
      CXB_API_CONFIG_URL = url .. "/api/v1/config",
      CXB_TASK_STALL_MS = "60000", -- said of a late machine before the log knows whose it is
    }) do host.env[name] = value end
    host:start(1)
  end

  local function ticket(purpose, more)
    local claims = { aud = purpose, jti = cxb.crypto.uuid4(), bot_id = "plain",
      exp = math.floor(cxb.time.now() / 1000) + 50 }
    for name, value in pairs(more or {}) do claims[name] = value end
    return jwt.sign(claims, cxb.crypto.hkdf_sha256(secrets.core, purpose, 32))
  end

  local function session()
    return World.wait_until("a session", function()
      local status = cxb.process.control(host.dir .. "/ctl/core-1.sock", { verb = "status" })
      return status and status.session_id ~= "" and status.session_id
    end)
  end

  -- Calls of each kind, and requests of each kind that is refused.
  local function run()
    local made = {}
    local event = { callerId = "+91" .. people.caller, did = "+91" .. people.did,
      crm = { phone = people.to, token = secrets.url_key } }
    for _, bot in ipairs({ "plain", "voice", "denied" }) do
      local d = assert(dialler.connect(host:socket(1), bot, { query = "token=" .. secrets.ws_token }))
      d:begin(event)
      if bot == "plain" then
        for digit in people.card:gmatch(".") do d:send({ event = "dtmf", digit = digit }) end
        made.listen = ticket("core-listen", { session_id = session() })
        local ws = assert(cxb.ws.connect(("ws+unix:%s:/monitor/%s?ticket=%s"):format(
          host:socket(1), session(), made.listen)))
        ws:receive(5000)
        d:send({ event = "media", payload = people.words })
        d:send("{" .. people.words)
        d:hangup()
      elseif bot == "voice" then
        session()
        d:hangup()
      end
      d:wait_closed()
      host:idle(1)
    end
    made.test = ticket("core-test", { session_id = "typed" })
    local ws = assert(cxb.ws.connect(("ws+unix:%s:/browser/plain?ticket=%s"):format(host:socket(1),
      made.test)))
    ws:send(json.encode({ type = "start", rate = 16000, variables = { phone = people.to } }))
    session()
    ws:send(json.encode({ type = "text", text = people.words .. " fail" }))
    repeat until not ws:receive(15000)
    host:idle(1)

    local body = json.encode({ room_name = "call-1", caller_number = "+91" .. people.caller,
      dialed_number = people.did, bot_id = "plain", to_number = "not " .. people.to })
    for _, path in ipairs({ "/livekit/dispatch", "/livekit/dialout", "/attach", "/livekit/widget" }) do
      ask("POST", path, body, { ["x-cxb-core-secret"] = secrets.guess })
      ask("POST", path, body, { ["x-cxb-core-secret"] = secrets.core,
        ["x-cxbcore-secret"] = secrets.previous })
      ask("POST", path, body, { ["x-cxbcore-secret"] = secrets.previous })
    end
    local upgrade = { upgrade = "websocket", connection = "Upgrade",
      ["sec-websocket-version"] = "13", ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" }
    for _, path in ipairs({ "/ws/plain?token=" .. secrets.guess, "/twilio/plain?to=" .. people.to,
      "/browser/plain?ticket=" .. made.test, "/monitor/x?ticket=" .. made.listen }) do
      ask("GET", path, nil, upgrade)
    end
    ask("GET", "/recordings/" .. people.caller .. ".wav", nil, { ["x-cxb-core-secret"] = secrets.core })
    ask("POST", "/calls/" .. people.caller .. "/hangup", "", { ["x-cxb-core-secret"] = secrets.core })
    World.wait_until("a dead row", function()
      return ask("GET", "/outbox", nil, { ["x-cxb-core-secret"] = secrets.core }).body:find('"dead"')
    end)
    -- a worker that dies in a call, and the one that makes its result
    local d = assert(dialler.connect(host:socket(1), "plain", { query = "token=" .. secrets.ws_token }))
    d:begin(event)
    session()
    host:kill(1)
    host:start(2)
    World.wait_until("the lost call's result", function()
      return host.workers[2]:logged("a result was made from a journal")
    end)
    host:start(1)
    for _, path in ipairs({ "/metrics", "/metrics?scope=worker", "/health", "/health/fleet" }) do
      ask("GET", path)
    end
    return made
  end

  local function log_lines()
    local lines = {}
    for _, p in ipairs(world.running) do
      if p.name == "core.lua" then
        for _, line in ipairs(p.log) do lines[#lines + 1] = line end
      end
    end
    return lines
  end

  local function note_files(dir)
    for _, name in ipairs(cxb.fs.list(dir) or {}) do
      note("file", name)
      local stat = cxb.fs.stat(dir .. "/" .. name)
      if stat and stat.type == "directory" then note_files(dir .. "/" .. name) end
    end
  end

  local function found(list, words)
    for _, entry in ipairs(list) do
      for name, word in pairs(words) do
        if entry.text:find(word, 1, true) then
          return ("%s in %s: %s"):format(name, entry.where, entry.text:sub(1, 400))
        end
      end
    end
  end

  local function as_entries(lines)
    local list = {}
    for i, line in ipairs(lines) do list[i] = { where = "the log", text = line } end
    return list
  end

  after_each(function() world:close() end)

  it("no secret, key, ticket, number, digit or word is in logs, metrics, answers or file names",
    function()
      start("info")
      local made = run()
      note_files(host.dir)
      local hidden = {}
      for _, words in ipairs({ secrets, people, made }) do
        for name, word in pairs(words) do hidden[name] = word end
      end
      local lines = log_lines()
      assert.is_true(#lines > 10)
      assert.is_true(#said > 60)
      assert.is_nil(found(said, hidden))
      assert.is_nil(found(as_entries(lines), hidden))
    end)

  it("each log line is one JSON object with its fields; at debug what people say is under pii only",
    function()
      start("debug")
      local made = run()
      local in_call, errors = 0, 0
      for _, line in ipairs(log_lines()) do
        local record = json.decode(line)
        assert.is_table(record, line)
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$", record.ts)
        assert.is_string(record.level, line)
        assert.is_string(record.msg, line)
        assert.equal("core", record.service, line)
        assert.matches("^[12]$", record.worker, line)
        if record.msg == "call ended" or record.msg == "call started" then
          in_call = in_call + 1
          for _, field in ipairs({ "call_id", "session_id", "bot_id", "transport", "generation" }) do
            assert.truthy(record[field], field .. " is missing in " .. line)
          end
        end
        if record.level == "error" then
          errors = errors + 1
          assert.is_string(record.code, line)
          assert.is_string(record.file, line)
          assert.is_number(record.line, line)
        end
        for key in pairs(record) do
          if ("_" .. key .. "_"):gsub("[.-]", "_"):find("_pii_", 1, true) then record[key] = nil end
        end
        local rest = { { where = "the log", text = json.encode(record) } }
        assert.is_nil(found(rest, people))
      end
      assert.is_true(in_call >= 6)
      assert.is_true(errors >= 1)
      assert.is_nil(found(as_entries(log_lines()), secrets))
      assert.is_nil(found(as_entries(log_lines()), made))
    end)
end)
