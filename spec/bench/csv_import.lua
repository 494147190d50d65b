-- A list of half a million contacts: how long its upload takes, how much the API grows by it, and
-- what another route's callers notice meanwhile.
--   build/cxbrt spec/bench/csv_import.lua [ROWS]

local Campaigns = require("support.campaigns")
local procs = require("support.procs")
local support = require("support.world")

local rows = tonumber(cxb.args[1]) or 500000
local QUIET_MS, EVERY_MS, ASKERS = 8000, 8, 4

local world = support.new()
local function say(form, ...) cxb.process.print(form:format(...) .. "\n") end

-- Writes the file; its size in bytes.
local function write_list(path)
  local file = assert(io.open(path, "wb"))
  file:write("phone_number,name,city,amount_due,due_date,external_id\n")
  for i = 0, rows - 1 do
    file:write(("9%09d,Person %d,Pune,%d.50,2026-01-%02d,crm-%07d\n"):format(
      (i * 7919) % 1000000000, i, i % 9000 + 100, i % 28 + 1, i))
    if i % 2000 == 0 then
      cxb.time.sleep(0)
    end
  end
  file:close()
  return cxb.fs.stat(path).size
end

local function pieces(path)
  local file = assert(io.open(path, "rb"))
  return function()
    return file:read(65536)
  end
end

-- Asks one route in a steady rhythm until stop(); how long each answer took.
local function asking(site)
  local took, going, tasks = {}, true, {}
  for i = 1, ASKERS do
    tasks[i] = cxb.task.spawn("asker", function()
      while going do
        local from = cxb.time.mono()
        assert(site:ask("GET", "/bots/demo").status == 200)
        took[#took + 1] = cxb.time.mono() - from
        cxb.time.sleep(EVERY_MS)
      end
    end)
  end
  return function()
    going = false
    for _, task in ipairs(tasks) do
      task:wait(60000)
    end
    return procs.quantile(took, 0.5), procs.quantile(took, 0.99), #took
  end
end

local function watching(pid, first)
  local peak, going = first, true
  local task = cxb.task.spawn("watch", function()
    while going do
      peak = math.max(peak, procs.pss_kb(pid))
      cxb.time.sleep(100)
    end
  end)
  return function()
    going = false
    task:wait(10000)
    return peak
  end
end

local function import(site, path)
  local id = site:campaign().id
  assert(site:upload(id, Campaigns.numbers(100)).status == 200) -- what is loaded once is there
  local pid = site.api.process.pid
  local quiet = asking(site)
  cxb.time.sleep(QUIET_MS)
  local p50, p99, n = quiet()
  local before = procs.pss_kb(pid)
  local size = write_list(path)
  local peak, busy, from = watching(pid, before), asking(site), cxb.time.mono()
  local cpu = procs.cpu_ms(pid)
  local answer = site:ask("POST", "/campaigns/" .. id .. "/upload", pieces(path),
    { headers = { ["content-type"] = "text/csv" }, timeout_ms = 600000 })
  local seconds = (cxb.time.mono() - from) / 1000
  cpu = (procs.cpu_ms(pid) - cpu) / 1000
  local busy50, busy99, busy_n = busy()
  assert(answer.status == 200 and answer.answer.accepted == rows, answer.body)
  say("%d rows, %.1f MB; the other route: %d answers before, %d meanwhile", rows, size / 1e6, n,
    busy_n)
  say("= csv: %d rows in %.1f s (aim ≤ 20 s of 500000), %.0f rows/s, %.1f s of the API's CPU", rows,
    seconds, rows / seconds, cpu)
  say("= csv: memory of the API grows by %.1f MB (aim ≤ 32)", (peak() - before) / 1024)
  say("= csv: another route's p99 %.2f ms before, %.2f ms meanwhile, %.1f × (aim ≤ 2); "
    .. "p50 %.2f and %.2f ms", p99, busy99, busy99 / p99, p50, busy50)
end

local ok, why = xpcall(function()
  local site = Campaigns.start(world, { env = { CXB_RATE_SCALE = "0" } })
  import(site, world:folder() .. "/list.csv")
  site:close()
end, debug.traceback)
world:close()
if not ok then
  error(why, 0)
end
