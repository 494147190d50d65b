-- cxbctl nginx render|check: the front from its one source.

local front = require("cxbctl.front")
local nginx = require("cxbctl.nginx")
local paths = require("cxbctl.paths")

local M = {
  summary = "print the front's configuration, or compare it with the file in use",
  operands = true,
  usage = "render|check [options]",
  example = "CXBCORE_WORKERS=4 cxbctl nginx render",
  options = {
    { name = "workers", value = "N", type = "int", min = 1, max = 512,
      help = "instead of CXBCORE_WORKERS" },
    { name = "file", value = "PATH", help = "the file to check (of the running platform, else "
      .. "/etc/nginx/conf.d/cxb.conf)" },
  },
}

-- The settings `cxbctl up` is running with, when it does.
local function running()
  local up = paths.read_up(paths.run_dir())
  return up and up.front, up and paths.run_dir() .. "/cxb.conf"
end

function M.run(options, rest, out)
  local what = rest[1]
  if what ~= "render" and what ~= "check" then
    out:fail("say render or check", "cxbctl nginx --help")
    return 2
  end
  local given, path = running()
  given = given or { run_dir = paths.run_dir() }
  if options.workers then given.workers = options.workers end
  local settings, why = nginx.settings(cxb.process.env, given)
  if not settings then
    out:fail(why)
    return 1
  end
  if what == "render" then
    local text = front.render(settings)
    if out.json then
      out:object({ ok = true, text = text, workers = settings.workers })
    else
      cxb.process.print(text)
    end
    return 0
  end
  path = options.file or path or "/etc/nginx/conf.d/cxb.conf"
  local same, difference = front.compare(path, settings)
  if out.json then
    out:object({ ok = same, file = path, difference = difference })
  elseif same then
    out:say(path .. " is what the settings give")
  else
    out:say(path .. " is not what the settings give:\n" .. table.concat(difference, "\n"))
  end
  return same and 0 or 1
end

return M
