-- What the reference library of Standard Webhooks says of deliveries.
local json = require("cjson.safe")
local npm = require("support.npm")

local M = {}

---(waits) "ok" or "refused: why" for each case.
---@param world table
---@param cases {headers: table<string, string>, body: string, secret: string}[]
---@return string[]
function M.verdicts(world, cases)
  local folder, lines = npm.need(world, "webhooks"), {}
  for i, case in ipairs(cases) do
    lines[i] = json.encode(case)
  end
  local path = world:folder() .. "/cases"
  world:write(path, table.concat(lines, "\n") .. "\n")
  local p = world:start({ "/bin/sh", "-c", 'exec node verify.mjs <"$0"', path }, nil, folder)
  assert(p:wait(60000) == 0, p:output())
  assert(#p.log == #cases, p:output())
  return p.log
end

return M
