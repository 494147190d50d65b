-- A call worker with real speech and a scripted language model's server: for specs in which a
-- recorded caller talks with the assistant. Bots are files; results are files. The bot `assistant`
-- is the one that comes with the installation.
local dialler = require("support.dialler")
local fault_of = require("support.result_schema")
local json = require("cjson.safe")
local speech = require("support.speech")
local support = require("support.world")
local transcribe = require("support.transcribe")
local voices = require("support.voices")

local M = {}
M.__index = M

---(waits)
---@param world table
---@param bots table<string, table> configurations; `$LLM` in a base_url is the simulator's address
---@param o? {flows?: table<string, string>, env?: table<string, string>, speech?: table|false}
function M.start(world, bots, o)
  o = o or {}
  local self = setmetatable({ world = world, dir = world:folder() }, M)
  self.speech = o.speech or (o.speech == nil and speech.start(world)) or nil
  self.llm_port = world:port()
  self.llm_process = world:start({ "python3", cxb.root .. "/spec/sim/llm_sim.py", "--port",
    tostring(self.llm_port), "--ttft-ms", "50", "--token-ms", "5" })
  self.llm = "http://127.0.0.1:" .. self.llm_port
  for _, name in ipairs({ "assistant.json", "assistant.rules.json" }) do
    world:write(self.dir .. "/bots/" .. name, world:read(cxb.root .. "/lua/bots/" .. name))
  end
  for name, bot in pairs(bots) do
    bot.bot_id = name
    local text = json.encode(bot):gsub("%$LLM", self.llm)
    world:write(("%s/bots/%s.json"):format(self.dir, name), text)
  end
  for name, text in pairs(o.flows or {}) do
    world:write(("%s/flows/%s.lua"):format(self.dir, name), text)
  end
  for _, name in ipairs({ "assistant", "echo", "demo" }) do
    world:write(("%s/flows/%s.lua"):format(self.dir, name),
      world:read(("%s/lua/flows/%s.lua"):format(cxb.root, name)))
  end
  self.socket = self.dir .. "/core-1.sock"
  local env = {
    CXBCORE_SECRET = ("k"):rep(40), CXB_RUN_DIR = self.dir, CXB_STATE_DIR = self.dir .. "/state",
    CXB_LISTEN = "unix:" .. self.dir .. "/core-%i.sock", CXBCORE_WORKERS = "1",
    CXB_FLOWS_DIR = self.dir .. "/flows", CXB_BOTS_DIR = self.dir .. "/bots",
    CXB_SPEECH_URL = self.speech and "unix:" .. self.speech.socket, PATH = os.getenv("PATH"),
  }
  for name, value in pairs(o.env or {}) do env[name] = value end
  support.wait_until("the model's server", function()
    return support.get_json(self.llm .. "/_seen")
  end)
  self.worker = world:service("core.lua", env, self.socket)
  return self
end

---(waits) What the model's server answers from now on.
function M:script(script)
  local answer = assert(cxb.http.request({ url = self.llm .. "/_script", method = "POST",
    body = json.encode(script), headers = { ["content-type"] = "application/json" } }))
  assert(answer.status == 200, answer.body)
end

---(waits) Bodies of the requests the model's server got.
---@return table[]
function M:requests()
  local list = {}
  local seen = assert(support.get_json(self.llm .. "/_seen"))
  for _, request in ipairs(seen) do
    if type(request.body) == "table" and request.body.messages then list[#list + 1] = request.body end
  end
  return list
end

---(waits) Samples of a sentence in a synthetic voice, 8 kHz, with a second of silence behind it.
function M:say(words, voice)
  self.made = (self.made or 0) + 1
  local path = voices.say(voice or "rms", words, ("%s/say-%d.wav"):format(self.dir, self.made))
  return (assert(cxb.media.read_wav(path)))
end

---(waits) A caller who has been answered. Silence is sent whenever he says nothing.
function M:call(bot, o)
  self.calls = (self.calls or 0) + 1
  local d = assert(dialler.connect(self.socket, bot, o)):begin(o and o.event)
  local silence = ("\0"):rep(320)
  d.queue = {}
  cxb.task.spawn("caller", function()
    local due = cxb.time.mono()
    while not d.closed do
      local pcm = table.remove(d.queue, 1) or silence
      d:send({ event = "media", payload = cxb.crypto.base64(pcm) })
      due = math.max(due + 20, cxb.time.mono() - 200)
      cxb.time.sleep(math.max(0, due - cxb.time.mono()))
    end
  end)
  function d.says(_, pcm)
    for at = 1, #pcm - 319, 320 do d.queue[#d.queue + 1] = pcm:sub(at, at + 319) end
  end
  return d
end

---(waits) Until the bot has been silent for two seconds after more than `after` frames of its audio:
---a busy worker pauses between sentences, too.
---@return integer frames so far
function M.bot_silent(d, after)
  local last, at = -1, cxb.time.mono()
  support.wait_until("the bot's words", function()
    if #d.audio ~= last then
      last, at = #d.audio, cxb.time.mono()
    end
    return last > (after or 0) and cxb.time.mono() - at > 2000
  end)
  return last
end

local function le(n, size)
  local out = {}
  for i = 1, size do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

---(waits) What the bot said so far, transcribed from its audio.
function M:heard(d)
  local path, pcm = self.dir .. "/heard.wav", d:heard()
  self.world:write(path, "RIFF" .. le(36 + #pcm, 4) .. "WAVEfmt " .. le(16, 4) .. le(1, 2)
    .. le(1, 2) .. le(8000, 4) .. le(16000, 4) .. le(2, 2) .. le(16, 2) .. "data" .. le(#pcm, 4)
    .. pcm)
  return transcribe(self.speech.socket, path)
end

---(waits) The result of the latest call, from its file.
function M:result()
  local list
  support.wait_until("a result", function()
    list = {}
    local function look(dir)
      for _, name in ipairs(cxb.fs.list(dir) or {}) do
        local path = dir .. "/" .. name
        if name:match("%.json$") then list[#list + 1] = path else look(path) end
      end
    end
    look(self.dir .. "/state/results")
    return #list >= self.calls
  end)
  local newest, body
  for _, path in ipairs(list) do
    local text = self.world:read(path)
    local fault = fault_of(text)
    assert(not fault, fault)
    local result = assert(json.decode(text))
    if not newest or result.started_at > newest then newest, body = result.started_at, result end
  end
  return body
end

return M
