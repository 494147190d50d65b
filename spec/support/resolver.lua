-- A name whose addresses a spec chooses, for a process it starts: spec/sim/resolver.c preloaded.
local M = { NAME = "rebinding.example" }

---(waits) The environment of a process in which NAME has these addresses, one each time it is
---asked; the last one stays.
---@param world table
---@param ... string addresses
---@return table<string, string> env
function M.env(world, ...)
  require("support.world").need("cc")
  local dir = world:folder()
  local library = dir .. "/resolver.so"
  local cc = world:start({ "cc", "-shared", "-fPIC", "-O1", "-o", library,
    cxb.root .. "/spec/sim/resolver.c", "-ldl" }, { PATH = cxb.process.env("PATH") })
  assert(cc:wait(60000) == 0, cc:output())
  local addresses = world:write(dir .. "/addresses", table.concat({ ... }, "\n") .. "\n")
  local asan = cxb.process.env("ASAN_OPTIONS")
  return {
    LD_PRELOAD = library, CXB_TEST_NAME = M.NAME, CXB_TEST_ADDRESSES = addresses,
    -- the sanitizer's own library may come second here
    ASAN_OPTIONS = (asan and asan .. ":" or "") .. "verify_asan_link_order=0",
  }
end

return M
