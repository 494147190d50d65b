-- Judges a flow that nobody has reviewed (api.md §5.5), in a process that has given up the network
-- and files:
--   cxbrt check_flow.lua check NAME FILE          what is wrong with it
--   cxbrt check_flow.lua specs NAME FILE SPEC     its own specs
-- Writes one line of JSON. The caller ends it when it takes too long.
local draft = require("cxb.core.draft")
local json = require("cxb.json")

local what, name, file, spec = unpack(cxb.args)
local CPU_SECONDS = 2

local function answer(value)
  cxb.process.print(json.encode(value) .. "\n")
end

local source = assert(cxb.fs.read(file))

-- Helpers that a text requires, and those that they require, are read while files can be.
local function gather(text, into)
  for module in text:gmatch("require%s*%(?%s*[\"'](cxb%.[%w_.]+)[\"']") do
    local path = ("%s/lua/%s.lua"):format(cxb.root, (module:gsub("%.", "/")))
    local found = into[path] == nil and cxb.fs.read(path)
    if found then
      into[path] = found
      gather(found, into)
    end
  end
  return into
end

local function confine(no_files)
  local used = math.ceil(os.clock()) -- the start of this process does not count
  local ok, _, why = cxb.process.confine({ cpu_seconds = CPU_SECONDS + used, no_files = no_files })
  if not ok then
    error(why, 0)
  end
end

local function check()
  local flowcheck = require("cxb.flowcheck")
  local helpers = gather(source, {})
  function draft.open(path)
    return loadstring(helpers[path] or ("error(%q)"):format(path .. " cannot be read"), "@" .. path)
  end
  confine(true)
  local diagnostics = flowcheck.check(source, name)
  answer({ ok = flowcheck.is_ok(diagnostics), diagnostics = json.array(diagnostics) })
end

-- The titles of what failed, and why, out of busted's TAP.
local function failures_of(tap)
  local out, current = json.array(), nil
  for line in tap:gmatch("[^\n]+") do
    local title = line:match("^not ok %d+ %- (.*)$")
    if title then
      current = { name = title, message = "" }
      out[#out + 1] = current
    elseif line:match("^ok ") then
      current = nil
    elseif current and #current.message < 2000 then
      current.message = current.message .. line:gsub("^# ?", "") .. "\n"
    end
  end
  return out
end

local function specs()
  local flows, tap = require("cxb.core.flows"), {}
  local load_file = flows.load_file
  function flows.load_file(path)
    if path:match("([^/]+)%.lua$") ~= name then
      return load_file(path)
    end
    return draft.load(source, name)
  end
  confine(false)
  local failed, passed = require("cxb.testing.runner").run({ spec }, { out = function(text)
    tap[#tap + 1] = text
  end })
  if not failed then
    return answer({ missing = passed })
  end
  answer({ passed = passed, failed = failed, failures = failures_of(table.concat(tap)) })
end

if what == "check" then
  check()
else
  specs()
end
return 0
