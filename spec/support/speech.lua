-- The speech service with the real binary, for specs, and a client of its two sockets.
local json = require("cjson.safe")
local World = require("support.world")

local M = {}

M.recordings = "/usr/share/pocketsphinx/test/data/"

---@param world table
---@param env? table<string, string>
---@return table process, string base URL prefix of its WebSockets
function M.start(world, env)
  local dir = world:folder()
  local all = {}
  for name, value in pairs(cxb.process.environ()) do all[name] = value end
  all.CXB_RUN_DIR, all.CXB_SPEECH_URL = dir, "unix:" .. dir .. "/speech.sock"
  for name, value in pairs(env or {}) do all[name] = value end
  local process = world:service("speech.lua", all, function()
    local answer = cxb.http.request({ url = "http+unix:" .. dir .. "/speech.sock:/health" })
    local health = answer and json.decode(answer.body)
    return health and health.voices[1]
  end)
  process.socket = dir .. "/speech.sock"
  return process, "ws+unix:" .. process.socket .. ":"
end

---Samples of a 16 kHz recording of Debian's pocketsphinx-testdata, as PCM16 LE.
function M.recording(name)
  local file = assert(io.open(M.recordings .. name, "rb"))
  local data = file:read("*a")
  file:close()
  return name:match("%.wav$") and data:sub(45) or data
end

local client = {}
client.__index = client

---(waits)
function M.connect(base, path)
  local conn, code, message = cxb.ws.connect(base .. path, { max_binary = 1024 * 1024 })
  if not conn then return nil, code, message end
  return setmetatable({ conn = conn, audio = {}, events = {} }, client)
end

function client:send(message)
  return self.conn:send(type(message) == "string" and message or json.encode(message))
end

---Sends audio as a caller's frames would come, only faster.
function client:feed(pcm, piece)
  piece = piece or 6400
  for at = 1, #pcm, piece do
    assert(self.conn:send_binary(pcm:sub(at, at + piece - 1)))
  end
end

---(waits) Messages until one of this type has come; that one. Audio on the way is kept.
function client:expect(kind, timeout_ms)
  local deadline = cxb.time.mono() + (timeout_ms or 60000)
  while true do
    local what, data, code, reason = self.conn:receive(math.max(1, deadline - cxb.time.mono()))
    if what == "binary" then
      self.audio[#self.audio + 1] = data
      self.events[#self.events + 1] = { type = "audio", bytes = #data }
    elseif what == "text" then
      local message = assert(json.decode(data), data)
      self.events[#self.events + 1] = message
      if message.type == kind then return message end
    else
      error(("no %q came: %s %s %s"):format(kind, tostring(data), tostring(code),
        tostring(reason)), 2)
    end
  end
end

---How many messages of this type have come.
function client:count(kind)
  local n = 0
  for _, event in ipairs(self.events) do
    if event.type == kind then n = n + 1 end
  end
  return n
end

function client:close()
  self.conn:close(1000)
end

---Lower case, everything but letters and apostrophes one blank.
function M.plain(text)
  return (text:lower():gsub("[^%w']+", " "):gsub("^ ", ""):gsub(" $", ""))
end

M.wait_until = World.wait_until

return M
