-- The simulated language models (spec/sim/llm_sim.py) as a spec uses them.
local json = require("cxb.json")

local M = {}
local sim = {}
sim.__index = sim

---(waits)
---@param world table
---@param args? string[] of llm_sim.py; without delays unless they say so
---@return table sim {url, process}
function M.start(world, args)
  local command = { "/usr/bin/python3", cxb.root .. "/spec/sim/llm_sim.py", "--ttft-ms", "0",
    "--token-ms", "0" }
  for _, arg in ipairs(args or {}) do command[#command + 1] = arg end
  local process = world:start(command)
  local port = world:wait_until("the simulator's port", function() return tonumber(process.log[1]) end)
  return setmetatable({ url = "http://127.0.0.1:" .. port, port = port, process = process }, sim)
end

---(waits) What it answers from now on; see llm_sim.py.
function sim:script(script)
  local answer = assert(cxb.http.request {
    url = self.url .. "/_script", method = "POST", body = json.encode(script),
    headers = { ["content-type"] = "application/json" },
  })
  assert(answer.status == 200)
end

---(waits) Answers in turn, each once.
function sim:answers(...)
  self:script({ answers = { ... } })
end

---(waits) The requests so far but for the connections opened ahead.
function sim:seen()
  local answer = assert(cxb.http.request { url = self.url .. "/_seen" })
  local out = {}
  for _, request in ipairs(json.decode(answer.body)) do
    if request.method ~= "HEAD" then out[#out + 1] = request end
  end
  return out
end

---(waits) The last of them.
function sim:last()
  local seen = self:seen()
  return seen[#seen]
end

return M
