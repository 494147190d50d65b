-- Runs busted specs inside the host, so that they may use `cxb` and wait:
--   cxbrt spec/run.lua [--filter WORDS] spec/unit/log_spec.lua spec/unit
-- Writes TAP on standard output; exit 1 when a spec failed. Specs that need nothing of the host
-- also run with `luajit spec/run.lua …`.

local cxb = rawget(_G, "cxb")
local args = cxb and cxb.args or arg
local root = cxb and cxb.root or "."

package.path = table.concat({
  root .. "/?.lua", root .. "/lua/?.lua", root .. "/lua/?/init.lua", root .. "/deploy/?.lua",
  package.path, "/usr/share/lua/5.1/?.lua", "/usr/share/lua/5.1/?/init.lua",
}, ";")

local files, filter = {}, nil
do
  local i = 1
  while args[i] do
    if args[i] == "--filter" then
      filter, i = args[i + 1], i + 1
    else
      files[#files + 1] = args[i]
    end
    i = i + 1
  end
end
if #files == 0 then
  io.stderr:write("usage: cxbrt spec/run.lua [--filter WORDS] FILE|FOLDER…\n")
  return 2
end

local at_end = cxb and require "support.at_end" -- before the runner, which forgets what specs load
local failed, why = require "cxb.testing.runner".run(files, { filter = filter })
if not failed then
  io.stderr:write("spec/run.lua: ", why, "\n")
  failed = 1
end
io.stdout:flush()
if at_end then at_end.run() end

local code = failed > 0 and 1 or 0
if cxb then return code end
os.exit(code)
