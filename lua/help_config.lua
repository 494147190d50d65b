-- cxbrt --help-config: the environment variables of every service, in reading order.

local scripts = { "lua/core.lua", "lua/speech.lua", "api/api.lua" }

for _, name in ipairs(scripts) do
  local child = assert(cxb.process.spawn {
    args = { cxb.program, "--help-config", cxb.root .. "/" .. name }, capture = true,
  })
  cxb.process.print(("# %s\n"):format(name))
  for line in function() return child:line() end do
    cxb.process.print(line .. "\n")
  end
  if child:wait() ~= 0 then return 1 end
end
return 0
