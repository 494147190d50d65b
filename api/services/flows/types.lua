-- What an editor of flows is to know of the script API: the stubs of `cxb`, and those of `call`
-- taken from the annotations beside its code.
local M = {}

local sources = { "call", "call/speak", "call/hear", "call/think", "call/transfer",
  "call/handoff" }

-- Annotations before a function of `call`, as a stub.
local function stubs_of(text, methods, out)
  local block = {}
  for line in text:gmatch("([^\n]*)\n") do
    local name, arguments = line:match("^function M:([%w_]+)(%b())")
    if line:match("^%-%-%-") then
      block[#block + 1] = line
    else
      if name and methods[name] then
        out[#out + 1] = table.concat(block, "\n")
        out[#out + 1] = ("function call:%s%s end\n"):format(name, arguments)
      end
      block = {}
    end
  end
end

---(waits)
---@return {path: string, content: string}[]? files, string? why
function M.files()
  local methods = require("cxb.flowcheck.api").methods
  local out = { "---@meta", "---What a flow is given.", "---@class cxb.call",
    "---@field config table", "---@field settings table", "---@field vars table<string, any>",
    "---@field meta table", "local call = {}\n" }
  for _, name in ipairs(sources) do
    local text, _, why = cxb.fs.read(("%s/lua/cxb/%s.lua"):format(cxb.root, name))
    if not text then
      return nil, why
    end
    stubs_of(text, methods, out)
  end
  local api, _, why = cxb.fs.read(cxb.root .. "/lua/types/cxb.lua")
  if not api then
    return nil, why
  end
  return { { path = "cxb.lua", content = api },
    { path = "call.lua", content = table.concat(out, "\n") } }
end

return M
