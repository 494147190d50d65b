-- Programs that specs run on Node: their packages by the lock file of their folder, once a clone.
local support = require("support.world")

local M = {}

-- One spec at a time installs; who waited finds the folder filled.
local INSTALL = [[exec 9<package.json; flock 9
[ node_modules/.complete -nt package-lock.json ] && exit 0
npm ci --no-progress --loglevel=error && touch node_modules/.complete]]

---(waits) The folder of a program with its packages; skips the spec where there is no Node.
---@param world table
---@param name string below spec/, with package.json and package-lock.json
---@return string folder
function M.need(world, name)
  support.need("node")
  support.need("npm")
  local folder = ("%s/spec/%s"):format(cxb.root, name)
  local npm = world:start({ "/bin/sh", "-c", INSTALL }, nil, folder)
  assert(npm:wait(300000) == 0, npm:output())
  return folder
end

return M
