-- cxbctl reload: new scripts for calls to come. Each process builds its next generation beside the
-- running one; calls in progress end as they began.

local json = require("cjson.safe")
local paths = require("cxbctl.paths")
local targets = require("cxbctl.targets")

local M = {
  summary = "load edited scripts; a script that fails changes nothing and is named",
  operands = true,
  usage = "[SERVICE] [options]",
  example = "cxbctl reload core --check",
  options = { { name = "check", help = "only load and self-test, in a process of its own" } },
}

local WAIT_MS = 15000

local scripts = { core = "core.lua", api = "api.lua", speech = "speech.lua" }

-- The running services' own variables, so that a check reads what they read.
local function environment(run_dir)
  local env = {}
  for key, value in pairs(cxb.process.environ()) do env[key] = value end
  env.CXB_RUN_DIR, env.CXB_STATE_DIR = run_dir, paths.state_dir()
  return env
end

local function check(run_dir, service)
  local child, code, message = cxb.process.spawn({
    args = { paths.program(), "--check", scripts[service] }, env = environment(run_dir),
    capture = true,
  })
  if not child then return { name = service, ok = false, error = message or code } end
  local said = {}
  for line in function() return child:line() end do
    local record = json.decode(line)
    said[#said + 1] = type(record) == "table" and (record.error or record.msg) or line
  end
  local ok = child:wait() == 0
  return { name = service, ok = ok, error = not ok and table.concat(said, "\n") or nil }
end

local function reload(target)
  local answer, why = targets.ask(target, { verb = "reload" }, WAIT_MS)
  if not answer then return { name = target.name, ok = false, error = why } end
  local failed = answer.ok == false or answer.reload == "failed"
    or (answer.error or json.null) ~= json.null
  return { name = target.name, ok = not failed, generation = answer.generation,
    error = failed and (answer.reload_error or answer.message or answer.error) or nil }
end

-- All at once: each builds its own generation.
local function all(list, fn)
  local handles, results = {}, {}
  for i, item in ipairs(list) do handles[i] = cxb.task.spawn("reload", fn, item) end
  for i, handle in ipairs(handles) do
    results[i] = handle:wait() or { name = list[i].name, ok = false, error = "interrupted" }
  end
  return results
end

local function checks(run_dir, wanted)
  local list = {}
  for _, service in ipairs({ "core", "api", "speech" }) do
    if not wanted or wanted:match("^%a+") == service then list[#list + 1] = service end
  end
  return all(list, function(service) return check(run_dir, service) end)
end

local function tell(out, results, checked)
  for _, r in ipairs(results) do
    if r.ok then
      out:say(("%-8s %s"):format(r.name, checked and "loads"
        or ("generation %s"):format(tostring(r.generation or "?"))))
    else
      out:say(out:paint("red", ("%-8s failed: %s"):format(r.name, tostring(r.error))))
    end
  end
end

function M.run(options, rest, out)
  local run_dir, wanted = paths.run_dir(), rest[1]
  local results
  if options.check then
    results = checks(run_dir, wanted)
  else
    local found = targets.find(run_dir, wanted)
    -- Speech holds models, not decisions: it is reloaded only by name.
    for i = #found, 1, -1 do
      if not wanted and found[i].service == "speech" then table.remove(found, i) end
    end
    results = all(found, reload)
  end
  if #results == 0 then
    out:fail(("nothing called %s runs in %s"):format(wanted or "core or api", run_dir),
      "cxbctl status")
    return 1
  end
  local ok = true
  for _, r in ipairs(results) do ok = ok and r.ok end
  if out.json then out:object({ ok = ok, check = options.check or false, services = results }) end
  tell(out, results, options.check)
  return ok and 0 or 1
end

return M
