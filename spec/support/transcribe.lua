-- What a WAV says, by the embedded recogniser: how specs judge the bot's voice.

local json = require("cjson.safe")

-- Words of the bot's that a telephone line blurs; the same for every case, right or wrong.
local WORDS = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
  "opening hours", "account number", "colleague", "thank you", "goodbye", "transfer you",
  "is that right", "I have noted", "sorry", "understand" }

---@param socket string path of the speech process's socket
---@param wav string path, mono
---@return string text all it heard, lower case, one line
return function(socket, wav)
  local pcm, rate = assert(cxb.media.read_wav(wav))
  local url = ("ws+unix:%s:/stt?rate=%d&stop_ms=900"):format(socket, rate)
  local conn = assert(cxb.ws.connect(url, { timeout_ms = 60000 }))
  local heard, waiting, ids = {}, 0, 0
  assert(conn:send(json.encode { type = "hints", words = WORDS }))

  local function ask()
    ids, waiting = ids + 1, waiting + 1
    assert(conn:send(json.encode { type = "finalize", id = ids }))
  end

  local function take(limit_ms)
    local kind, data = conn:receive(limit_ms)
    if kind ~= "text" then return kind end
    local event = json.decode(data)
    if event.type == "silence" then ask() end
    if event.type == "error" then error("recogniser: " .. data) end
    if event.type == "final" then
      waiting = waiting - 1
      if event.text ~= "" then heard[#heard + 1] = event.text end
    end
    return kind
  end

  local step = rate / 5 * 2 -- 200 ms
  for at = 1, #pcm, step do
    assert(conn:send_binary(pcm:sub(at, at + step - 1)))
    while take(1) do end
  end
  assert(conn:send_binary(("\0"):rep(rate * 2)))
  local deadline = cxb.time.mono() + 60000
  ask()
  while waiting > 0 and cxb.time.mono() < deadline do take(1000) end
  while take(300) do end
  conn:close(1000)
  return (table.concat(heard, " "):lower())
end
