-- What live streams cost the API: memory of 500 of them, and how long an event takes to reach every one.
--   build/cxbrt spec/bench/streams.lua [STREAMS [EVENTS]]

local Api = require("support.api_process")
local procs = require("support.procs")
local support = require("support.world")

local STREAMS, EVENTS = tonumber(cxb.args[1]) or 500, tonumber(cxb.args[2]) or 100
local PER_USER, GAP_MS = 5, 50

local function say(form, ...) cxb.process.print(form:format(...) .. "\n") end

local world = support.new()
local api = Api.start(world)
local before = procs.pss_kb(api.process.pid)

local tokens = {}
for i = 1, math.ceil(STREAMS / PER_USER) do
  local email = ("watcher%d@example.org"):format(i)
  local made = api:ask("POST", "/api/v1/auth/register", { body = { email = email, name = "Watcher",
    role = "admin", password = "a watcher of calls" } })
  assert(made.status == 201, made.body)
  tokens[i] = Api.token(email, { role = "admin" })
end

local open, seen, delays = 0, 0, {}
for i = 1, STREAMS do
  cxb.task.spawn("stream", function()
    local rest, greeted = "", false
    local answer, code = cxb.http.request({
      url = "http+unix:" .. api.socket .. ":/api/v1/events/stream?topics=calls", timeout_ms = 600000,
      headers = { authorization = "Bearer " .. tokens[math.ceil(i / PER_USER)] },
      on_data = function(piece)
        if not greeted then
          greeted, open = true, open + 1
        end
        rest = rest .. piece
        for at in rest:gmatch('"sent":(%d+)') do
          seen = seen + 1
          delays[seen] = cxb.time.mono() - tonumber(at) / 1000
        end
        rest = rest:match("[^\n]*$")
      end,
    })
    if not answer or answer.status ~= 200 then
      say("stream %d ended: %s", i, answer and answer.status or code)
    end
  end)
end
support.wait_until("all streams", function() return open == STREAMS end, 60000)
local after = procs.pss_kb(api.process.pid)

for n = 1, EVENTS do
  local sent = ("%d"):format(math.floor(cxb.time.mono() * 1000))
  api:ask("POST", "/api/v1/calls/bench/live",
    { body = ('{"seq":%d,"events":[{"type":"note","sent":%s}]}'):format(n, sent),
      headers = { ["content-type"] = "application/json" } })
  cxb.time.sleep(GAP_MS)
end
support.wait_until("all events", function() return seen >= STREAMS * EVENTS end, 30000)
table.sort(delays)
say("= %d live streams: %.1f KiB each (aim 64); event to client p50 %.1f ms, p99 %.1f ms (aim 50), %d events",
  STREAMS, (after - before) / STREAMS, delays[math.ceil(#delays / 2)], delays[math.ceil(#delays * 0.99)], #delays)
world:close()
return 0
