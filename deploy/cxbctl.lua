-- cxbctl: what an operator types. Each verb is one file in deploy/cxbctl/verbs/ that declares its
-- options, and whether it takes other words (`operands`), and returns an exit code: 0 ok, 1 failed,
-- 2 usage, 3 partly or still running, 4 not permitted.

local args = require("cxbctl.args")
local output = require("cxbctl.output")

local names = { "up", "down", "status", "reload", "call", "calls", "outbox", "admin", "nginx",
  "version" }

local function overview()
  local lines = { "usage: cxbctl VERB [options]", "" }
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("  %-9s %s"):format(name, require("cxbctl.verbs." .. name).summary)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "cxbctl VERB --help explains one. Every verb takes --json."
  return table.concat(lines, "\n")
end

local function known(name)
  for _, verb in ipairs(names) do
    if verb == name then return true end
  end
end

local name = cxb.args[1]
local out = output.new()
if not name or name == "--help" or name == "-h" or name == "help" then
  out:say(overview())
  return name and 0 or 2
elseif name == "--version" then
  name = "version"
elseif not known(name) then
  out:fail(("there is no verb %q"):format(name), "cxbctl --help lists them")
  return 2
end

local verb = require("cxbctl.verbs." .. name)
local options, rest, why = args.parse(verb, cxb.args, 2)
if why then
  out:fail(why, "cxbctl " .. name .. " --help")
  return 2
elseif options.help then
  out:say(args.help(name, verb))
  return 0
end
if rest[1] and not verb.operands then
  out:fail(("%s takes no %q"):format(name, rest[1]), "cxbctl " .. name .. " --help")
  return 2
end
out.json = options.json or false
return verb.run(options, rest, out)
