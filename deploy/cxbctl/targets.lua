-- The services that run in a run folder, found by their control sockets.

local paths = require("cxbctl.paths")

local M = {}

local rank = { core = 1, api = 2, speech = 3, dialler = 4 }

---"core-2" → "core", 2
local function parts(name)
  local service, number = name:match("^(.-)%-(%d+)$")
  return service or name, tonumber(number) or 0
end

---(waits) Names that match "core", "core/2", "core-2", or all; sorted as people read them.
---@param run_dir string
---@param wanted? string
---@return {name: string, service: string, number: integer, socket: string}[]
function M.find(run_dir, wanted)
  local out = {}
  wanted = wanted and wanted:gsub("/", "-")
  for _, file in ipairs(cxb.fs.list(run_dir .. "/ctl") or {}) do
    local name = file:match("^(.*)%.sock$")
    if name then
      local service, number = parts(name)
      if not wanted or wanted == service or wanted == name then
        out[#out + 1] = { name = name, service = service, number = number,
          socket = run_dir .. "/ctl/" .. file }
      end
    end
  end
  table.sort(out, function(a, b)
    local ra, rb = rank[a.service] or 9, rank[b.service] or 9
    if ra ~= rb then return ra < rb end
    if a.service ~= b.service then return a.service < b.service end
    return a.number < b.number
  end)
  return out
end

---(waits) One verb to one service.
---@return table? answer, string? why
function M.ask(target, message, timeout_ms)
  local answer, code, why = cxb.process.control(target.socket, message, timeout_ms or 2000)
  if not answer then return nil, why or code end
  return answer
end

---The URL of the front here.
---@return string
function M.front_url()
  local up = paths.read_up(paths.run_dir())
  return up and up.url or cxb.process.env("CXB_HOST_URL") or "http://127.0.0.1:8080"
end

return M
