-- cxbctl version

local M = {
  summary = "version of the program",
  usage = "",
  example = "cxbctl version",
}

function M.run(_, _, out)
  if out.json then out:object({ version = cxb.version }) else out:say("cxbrt " .. cxb.version) end
  return 0
end

return M
