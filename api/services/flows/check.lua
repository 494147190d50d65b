-- A flow's check in a process of its own (api.md §5.5): 2 s of CPU, 128 MiB, no network, no files,
-- ended after 10 s. The process is cxbrt itself with lua/check_flow.lua.
local json = require("cxb.json")

local M = {}

local DEADLINE_MS, AT_ONCE = 10000, 2
local running = 0

-- The child needs none of our secrets.
local function bare_environment()
  local env = {}
  for name in pairs(cxb.process.environ()) do
    if name:match("SECRET") or name:match("KEY") or name:match("TOKEN") or name:match("PASSWORD")
      or name:match("_URI$") or name:match("_URL$") then
      env[name] = ""
    end
  end
  env.CXB_MAX_SCRIPT_MB, env.CXB_TASK_STALL_END_MS, env.CXB_FLOWS_DIR = "128", "2000", ""
  return env
end

-- (waits) The last line of a child's output, and how it ended.
local function run(args, deadline)
  local child, _, why = cxb.process.spawn({ args = args, env = bare_environment(), capture = true })
  if not child then
    return nil, why
  end
  local last, rest = nil, {}
  local reader = cxb.task.spawn("flow check", function()
    for line in function() return child:line() end do
      if line:match("^{") and json.decode_object(line) and not line:match('^{"ts"') then
        last = line
      else
        rest[#rest + 1] = line
      end
    end
  end)
  local code, signal = child:wait(math.max(1, deadline - cxb.time.mono()))
  if not code then
    child:kill("KILL")
    child:wait(5000)
    return nil, "timeout"
  end
  reader:wait(2000)
  local answer = last and json.decode_object(last)
  if answer then
    return answer
  end
  local text = table.concat(rest, "\n")
  local late = signal ~= 0 or text:find("stalled", 1, true)
  return nil, late and "timeout" or text, late and text
end

-- The line a flow did not leave, as the host's watchdog saw it.
local function stalled_line(text, name)
  local file, line = (text or ""):match('"code":"stalled".-"file":"([^"]*)","line":(%d+)')
  return file == name and tonumber(line) or 1
end

local function failure(why, name)
  if why == "timeout" then
    return "time_limit", "the flow does not come to its return in time"
  elseif why:find("not enough memory", 1, true) or why:find("out of memory", 1, true) then
    return "memory_limit", "the flow takes more than 128 MiB"
  end
  cxb.log.error("a flow could not be checked", { flow = name, error = why })
  return "check_failed", "the flow could not be checked"
end

local function with_file(app, source, fn)
  local path = ("%s/checks/%s.lua"):format(app.settings.CXB_STATE_DIR,
    cxb.crypto.hex(cxb.crypto.random(8)))
  local ok, code, message = cxb.fs.write(path, source)
  if not ok then
    return nil, message or code
  end
  local first, second = fn(path)
  cxb.fs.remove(path)
  return first, second
end

-- (waits) The specs that lie beside a shipped flow; nil when it has none.
local function specs_of(name, path, deadline)
  local spec = ("%s/lua/flows/spec/%s_spec.lua"):format(cxb.root, name)
  if not cxb.fs.stat(spec) then
    return nil
  end
  local answer, why = run({ cxb.program, cxb.root .. "/lua/check_flow.lua", "specs", name, path,
    spec }, deadline)
  if not answer then
    local _, message = failure(why, name)
    return { passed = 0, failed = 0, failures = json.array(), error = message }
  elseif answer.missing then
    return nil
  end
  return answer
end

local function check(app, name, source)
  return with_file(app, source, function(path)
    local deadline = cxb.time.mono() + DEADLINE_MS
    local answer, why, log = run({ cxb.program, cxb.root .. "/lua/check_flow.lua", "check", name,
      path }, deadline)
    if not answer then
      local code, message = failure(why, name)
      answer = { ok = false, diagnostics = json.array({ { line = stalled_line(log, name),
        column = 1, severity = "error", code = code, message = message } }) }
    end
    answer.tests = answer.ok and specs_of(name, path, deadline) or json.null
    return answer
  end)
end

---(waits) Judges a flow. Its own specs are run when it could be called; that one of them fails is
---told and forbids nothing: they were written for the shipped text.
---@param app table
---@param name string
---@param source string
---@return {ok: boolean, diagnostics: table[], tests: table|userdata}? answer, string? why
function M.run(app, name, source)
  while running >= AT_ONCE do
    cxb.time.sleep(20)
  end
  running = running + 1
  local ok, answer, why = pcall(check, app, name, source)
  running = running - 1
  if not ok then
    error(answer, 0)
  end
  return answer, why
end

return M
