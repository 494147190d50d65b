-- The simulated speech providers (spec/sim/speech) as a process of their own, for specs.
local json = require("cjson.safe")

local M = {}
local sim = {}
sim.__index = sim

---@param world table
---@param args? string[] of the simulator: "--stt-ms", "100", "--say", "hello there"
function M.start(world, args)
  local command = { "/usr/bin/python3", cxb.root .. "/spec/sim/speech/__main__.py" }
  for _, arg in ipairs(args or {}) do command[#command + 1] = arg end
  local process = world:start(command)
  local port = world:wait_until("the simulator's port", function()
    assert(not process.ended, process:output())
    return tonumber(process.log[1])
  end)
  return setmetatable({
    process = process, port = port, url = "http://127.0.0.1:" .. port, key = "secret",
  }, sim)
end

local function ask(self, path, body)
  local answer, _, why = cxb.http.request({
    url = self.url .. path, method = body and "POST" or "GET", body = body and json.encode(body),
  })
  assert(answer and answer.status == 200, why or (answer and answer.body))
  return json.decode(answer.body)
end

---(waits) {violations, connections, said, heard}
function sim:log()
  return ask(self, "/_log")
end

---(waits) The connections to one provider, oldest first.
function sim:connections(provider)
  local out = {}
  for _, one in ipairs(self:log().connections) do
    if one.provider == provider then out[#out + 1] = one end
  end
  return out
end

---(waits) Sets say, stt_ms, tts_ms, key, faults.
function sim:script(change)
  return ask(self, "/_script", change)
end

---(waits) Drops what is connected to a provider now.
function sim:cut(provider)
  return ask(self, "/_cut", { provider = provider })
end

---(waits) The provider refuses everything with a status, until 0.
function sim:refuse(provider, status)
  return ask(self, "/_refuse", { provider = provider, status = status })
end

---The object of a bot's stage that uses this simulator.
function sim:stage(provider, more)
  local out = { provider = provider, api_key = self.key, url = self.url }
  if provider == "openai" then out.url = out.url .. "/v1" end
  for name, value in pairs(more or {}) do out[name] = value end
  return out
end

---Samples of a sentence as the simulator speaks it.
function M.tone(hz, ms, rate)
  local out = {}
  for i = 0, math.floor(rate * ms / 1000) - 1 do
    local v = 8000 * math.sin(2 * math.pi * hz * i / rate)
    v = v < 0 and math.ceil(v) + 65536 or math.floor(v)
    out[#out + 1] = string.char(v % 256, math.floor(v / 256) % 256)
  end
  return table.concat(out)
end

---What is heard in a dialler's audio, worked out as it comes.
---@param d table support.dialler
function M.ear(d)
  local samples, taken, known = {}, 0, {}
  local ear = {}

  local function take()
    while taken < #d.audio do
      taken = taken + 1
      local pcm = d.audio[taken]
      for i = 1, #pcm - 1, 2 do
        local v = pcm:byte(i) + pcm:byte(i + 1) * 256
        samples[#samples + 1] = v >= 32768 and v - 65536 or v
      end
    end
  end

  -- Whether most of these 20 ms at 8 kHz is this tone.
  local function is_tone(from, hz)
    local w, a, b, total = 2 * math.cos(2 * math.pi * hz / 8000), 0, 0, 0
    for i = from, from + 159 do
      a, b = samples[i] + w * a - b, a
      total = total + samples[i] * samples[i]
    end
    return total > 160 * 1e6 and a * a + b * b - w * a * b > 0.5 * total * 80
  end

  ---Milliseconds of a sentence's tone so far.
  function ear.ms(hz)
    take()
    local state = known[hz] or { at = 1, ms = 0 }
    known[hz] = state
    while state.at + 159 <= #samples do
      state.ms = state.ms + (is_tone(state.at, hz) and 20 or 0)
      state.at = state.at + 160
    end
    return state.ms
  end

  ---Milliseconds of audio so far.
  function ear.all()
    take()
    return #samples / 8
  end

  return ear
end

return M
