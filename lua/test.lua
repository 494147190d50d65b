-- cxbrt test [--filter WORDS] [FILE|FOLDER …]: specs of flows (docs/flows.md, "Testing a flow").
-- Without files: every *_spec.lua below the folder of the flows (CXB_FLOWS_DIR). Writes TAP; exit 1
-- when a spec failed.
local runner = require("cxb.testing.runner")

local files, filter = {}, nil
local i = 1
while cxb.args[i] do
  if cxb.args[i] == "--filter" then
    filter, i = cxb.args[i + 1], i + 1
  elseif cxb.args[i]:match("^%-") then
    io.stderr:write("usage: cxbrt test [--filter WORDS] [FILE|FOLDER …]\n")
    return 2
  else
    files[#files + 1] = cxb.args[i]
  end
  i = i + 1
end
files[1] = files[1] or cxb.process.env("CXB_FLOWS_DIR") or cxb.root .. "/lua/flows"

for _, file in ipairs(files) do
  if not cxb.fs.stat(file) then
    io.stderr:write(("cxbrt test: %s does not exist\n"):format(file))
    return 2
  end
end

local began = cxb.time.mono()
local failed, passed = runner.run(files, { filter = filter })
if not failed then
  io.stderr:write("cxbrt test: ", passed, "\n")
  return 1
end
print(("# %d passed, %d failed in %d ms"):format(passed, failed, cxb.time.mono() - began))
io.stdout:flush()
return failed > 0 and 1 or 0
