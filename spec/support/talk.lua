-- A call worker with real speech and a scripted language model's server: for specs in which a
-- recorded caller talks with the assistant. Bots are files; results are files.
local dialler = require("support.dialler")
local json = require("cjson.safe")
local speech = require("support.speech")
local support = require("support.world")
local voices = require("support.voices")

local M = {}
M.__index = M

---(waits)
---@param world table
---@param bots table<string, table> configurations; `$LLM` in a base_url is the simulator's address
---@param o? {flows?: table<string, string>, env?: table<string, string>}
function M.start(world, bots, o)
  o = o or {}
  local self = setmetatable({ world = world, dir = world:folder() }, M)
  self.speech = speech.start(world)
  self.llm_port = world:port()
  self.llm_process = world:start({ "python3", cxb.root .. "/spec/sim/llm_sim.py", "--port",
    tostring(self.llm_port), "--ttft-ms", "50", "--token-ms", "5" })
  self.llm = "http://127.0.0.1:" .. self.llm_port
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
    CXB_SPEECH_URL = "unix:" .. self.speech.socket, PATH = os.getenv("PATH"),
  }
  for name, value in pairs(o.env or {}) do env[name] = value end
  support.wait_until("the model's server", function()
    return support.get_json(self.llm .. "/_seen")
  end, 20000)
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

---(waits) The result of the n-th call, from its file.
function M:result(n, timeout_ms)
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
    return #list >= (n or 1)
  end, timeout_ms or 30000)
  local newest, body
  for _, path in ipairs(list) do
    local result = assert(json.decode(self.world:read(path)))
    if not newest or result.started_at > newest then newest, body = result.started_at, result end
  end
  return body
end

return M
