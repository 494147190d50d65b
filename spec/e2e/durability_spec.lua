-- timeout: 900
-- waits: 200
-- A finished call's result reaches the API once, whatever dies between: the API before the POST,
-- after storing and before answering, for a minute; the worker in the middle of the call.

local call_site = require "support.call_site"
local support = require "support.world"

-- Once the API is back, one delay of the schedule may still have to pass; the longest is 300 s.
local LONGEST_MS = 330000

-- Says what it does in events, so that the journal and the stored record can be held together.
local FLOW = [[
return function(call)
  for i = 1, 5 do call:event("step", { n = i }) end
  call:set("account", "4072")
  call:intent("asked", { i = 1 })
  repeat local heard = call:listen({ timeout = 60 }) until heard.hangup
end
]]

-- Takes results to the API; the first one is stored, then the API dies and nothing is answered.
local RELAY = [[
local seen = 0
return function(req, _, body)
  local headers = {}
  for name, value in pairs(req.headers) do
    if name ~= "host" and name ~= "content-length" and name ~= "connection" then headers[name] = value end
  end
  local answer, code = cxb.http.request({ url = "$API" .. req.path, method = req.method,
    headers = headers, body = body, timeout_ms = 5000 })
  if not answer then return req:respond(502, { error = code }) end
  if req.path == "/api/v1/call-results" and answer.status == 200 then
    seen = seen + 1
    if seen == 1 then
      local f = io.open("%s/stored", "w") f:write(answer.body) f:close()
      cxb.time.sleep(60000)
    end
  end
  req:respond(answer.status, answer.body, { ["content-type"] = "application/json" })
end
]]

local function steps_of(events)
  local out = {}
  for _, event in ipairs(events or {}) do
    if event.type == "step" then out[#out + 1] = event.data.n end
  end
  return out
end

-- The steps of the journal as it stands, once all five are in it.
local function journal_steps(site)
  return support.wait_until("five steps in the journal", function()
    local steps = {}
    for _, record in ipairs(site:journal() or {}) do
      local data = record.data or {}
      if data.type == "step" then steps[#steps + 1] = data.data.n end
    end
    return #steps == 5 and steps
  end)
end

local function records(site)
  return #assert(site:ask("/api/v1/calls?limit=50")).items
end

describe("the result of a call", function()
  local world
  before_each(function() world = support.new() end)
  after_each(function() world:close() end)

  it("arrives once when the API was dead at the end of the call, equal to the journal", function()
    local site = call_site.start(world, { flow = FLOW })
    local caller = site:call()
    local steps = journal_steps(site)
    site:kill_api()
    caller:hangup()
    support.wait_until("the slot is free although the API is away", function()
      return site:health().worker_calls == 0
    end)
    site:start_api()
    local stored = site:stored()
    assert.same(steps, steps_of(stored.events))
    assert.equal("customer", stored.disconnected_by)
    assert.equal(1, records(site))
  end)

  it("is one record when the API stored it and died before it answered", function()
    local folder = world:folder()
    local site = call_site.start(world, { flow = FLOW, relay = (RELAY:gsub("%%s", folder)) })
    local caller = site:call()
    local steps = journal_steps(site)
    caller:hangup()
    support.wait_until("the API stored it", function() return cxb.fs.stat(folder .. "/stored") end)
    site:kill_api()
    local before = cxb.time.mono()
    site:start_api()
    support.wait_until("it was sent again", function()
      local posts = 0
      for _, request in ipairs(site.relay.seen()) do
        if request.path == "/api/v1/call-results" then posts = posts + 1 end
      end
      return posts >= 2
    end, 120000)
    assert.is_true(cxb.time.mono() > before)
    local stored = site:stored()
    assert.same(steps, steps_of(stored.events))
    assert.equal(1, records(site))
  end)

  it("arrives once after the API was away for 60 s", function()
    local site = call_site.start(world, { flow = FLOW })
    local caller = site:call()
    local steps = journal_steps(site)
    site:kill_api()
    caller:hangup()
    local back = cxb.time.mono() + 60000
    support.wait_until("a minute without the API", function() return cxb.time.mono() >= back end, 70000)
    site:start_api()
    local stored = site:stored(LONGEST_MS)
    assert.same(steps, steps_of(stored.events))
    assert.equal(1, records(site))
  end)

  it("is made from the journal when the worker was killed in the call", function()
    local site = call_site.start(world, { flow = FLOW })
    site:call()
    local steps = journal_steps(site)
    site.worker:kill("KILL")
    site.worker:wait(30000)
    site:start_worker()
    local stored = site:stored()
    assert.equal("worker_lost", stored.error)
    assert.equal("error", stored.disconnected_by)
    assert.same(steps, steps_of(stored.events))
    assert.equal(1, records(site))
  end)
end)
