-- timeout: 300
-- waits: 23
-- Each metric of a call worker exists, moves when it should, and is summed over the host.
local CoreHost = require("support.core_host")
local World = require("support.world")
local dialler = require("support.dialler")

-- Names and labels of core spec §10.
local names = {
  cxb_build_info = "version", cxb_generations = "", cxb_reload_failures_total = "",
  cxb_calls_active = "", cxb_calls_total = "disconnected_by transport",
  cxb_calls_refused_total = "reason", cxb_call_setup_seconds = "transport",
  cxb_call_duration_seconds = "", cxb_turn_latency_seconds = "stage",
  cxb_media_underruns_total = "", cxb_media_pacing_error_seconds = "",
  cxb_bad_frames_total = "reason transport", cxb_barge_ins_total = "kind",
  cxb_provider_errors_total = "provider stage", cxb_provider_failovers_total = "stage",
  cxb_tool_seconds = "result", cxb_config_fetch_seconds = "result",
  cxb_outbox_rows = "kind state", cxb_outbox_oldest_age_seconds = "kind",
  cxb_outbox_attempts_total = "kind result", cxb_outbox_adopted_total = "",
  cxb_journal_recovered_total = "", cxb_recording_upload_seconds = "", cxb_disk_free_bytes = "",
  cxb_task_stalls_total = "", cxb_script_memory_bytes = "", cxb_loop_lag_seconds = "",
  cxb_worker_rss_bytes = "", cxb_worker_calls_served = "",
}

local flows = {
  echo = "return require('flows.echo')",
  spin = "return function() while true do end end",
  play = "return function(call) for _ = 1, 15 do call:play('apology_en.wav') end end",
}

describe("metrics", function()
  local world, host

  before_each(function()
    world = World.new()
    host = CoreHost.new(world, { workers = 2 })
    for name, text in pairs(flows) do
      world:write(("%s/flows/%s.lua"):format(host.dir, name), text)
    end
    host.env.CXB_FLOWS_DIR = host.dir .. "/flows"
    host.env.CXB_TASK_STALL_MS, host.env.CXB_TASK_STALL_END_MS = "50", "3000"
    host.env.CXB_SPEECH_URL = "unix:" .. host.dir .. "/nobody.sock"
  end)
  after_each(function() world:close() end)

  local function text(n, scope)
    return assert(cxb.http.request({
      url = ("http+unix:%s:/metrics?scope=%s"):format(host:socket(n), scope or "host") })).body
  end

  local function value(n, line, scope)
    return host:metric(n, line, scope or "host") or 0
  end

  -- (waits) Until a series is at least `least`.
  local function reaches(n, line, least, scope)
    World.wait_until(("%s to reach %s"):format(line, least), function()
      return value(n, line, scope) >= least
    end)
  end

  local function status(n, method, path, headers)
    return assert(cxb.http.request({ method = method, headers = headers,
      url = "http+unix:" .. host:socket(n) .. ":" .. path })).status
  end

  it("exist from the start, each with its help and type, and no label but its own", function()
    host:start(1)
    host:short_call(1)
    host:idle(1)
    host:delivery(1)
    local body = text(1)
    for name in pairs(names) do
      assert.truthy(body:find("# HELP " .. name .. " %S"), name .. " has no help")
      assert.truthy(body:find("# TYPE " .. name .. " "), name .. " has no type")
    end
    for series, labels in body:gmatch("\n([%w_]+)(%b{}) ") do
      local family = names[series] and series or series:gsub("_bucket$", ""):gsub("_sum$", "")
        :gsub("_count$", "")
      local own = names[family]
      for label, content in labels:gmatch('([%w_]+)="([^"]*)"') do
        if own and label ~= "le" then
          assert.truthy((" " .. own .. " "):find(" " .. label .. " ", 1, true),
            ("%s has the label %s"):format(family, label))
        end
        assert.matches("^[%w_.+:-]*$", content)
        assert.is_nil(content:find("%d%d%d%d%d%d%d"), "a number in a label: " .. content)
      end
    end
    for name, labels in pairs(names) do
      if labels == "" and not body:find("# TYPE " .. name .. " histogram", 1, true) then
        assert.truthy(body:find("\n" .. name .. " [%d.e+]+\n"), name .. " has no value")
      end
    end
  end)

  it("move with calls, refusals, bad input, errors and reloads", function()
    host:start(1)
    local d = host:short_call(1)
    assert.truthy(#d:heard() > 0)
    host:idle(1)
    host:delivery(1)
    assert.equal(1, value(1, 'cxb_calls_total{disconnected_by="customer",transport="cxb"}'))
    assert.equal(1, value(1, 'cxb_call_setup_seconds_count{transport="cxb"}'))
    assert.equal(1, value(1, "cxb_call_duration_seconds_count"))
    assert.equal(1, value(1, "cxb_media_pacing_error_seconds_count"))
    assert.equal(1, value(1, 'cxb_config_fetch_seconds_count{result="200"}'))
    reaches(1, 'cxb_outbox_attempts_total{kind="result",result="ok"}', 1)

    d = host:call(1)
    d:send("{not json")
    d:send({ event = "media", payload = "***" })
    d:send({ event = "whatever" })
    reaches(1, "cxb_calls_active", 1)
    assert.equal(503, status(1, "GET", "/ws/echo", { upgrade = "websocket", connection = "Upgrade",
      ["sec-websocket-version"] = "13", ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" }))
    assert.equal(403, status(1, "POST", "/attach"))
    d:hangup()
    host:idle(1)
    for reason, least in pairs({ bad_message = 1, bad_audio = 1, ignored = 1 }) do
      reaches(1, ('cxb_bad_frames_total{reason="%s",transport="cxb"}'):format(reason), least)
    end
    assert.equal(1, value(1, 'cxb_calls_refused_total{reason="at_capacity"}'))
    assert.equal(1, value(1, 'cxb_calls_refused_total{reason="forbidden"}'))

    d = host:call(1, "spin")
    assert.is_true(d:wait_closed())
    host:idle(1)
    reaches(1, "cxb_task_stalls_total", 1)
    assert.equal(1, value(1, 'cxb_calls_total{disconnected_by="error",transport="cxb"}'))

    d = host:call(1, "play")
    World.wait_until("the voice", function() return #d.audio > 5 end)
    d:send({ event = "dtmf", digit = "5" })
    reaches(1, 'cxb_barge_ins_total{kind="dtmf"}', 1)
    d:hangup()

    world:write(host.dir .. "/flows/echo.lua", "return function(call) oops oops end")
    host.workers[1]:kill("HUP")
    reaches(1, "cxb_reload_failures_total", 1)
    reaches(1, "cxb_worker_calls_served", 4)
    reaches(1, "cxb_loop_lag_seconds_count", 1)
    for _, gauge in ipairs({ "cxb_generations", "cxb_disk_free_bytes", "cxb_script_memory_bytes",
      "cxb_worker_rss_bytes", ('cxb_build_info{version="%s"}'):format(cxb.version) }) do
      assert.is_true(value(1, gauge) >= 1, gauge)
    end
  end)

  it("count provider errors by provider and stage, and the rows that wait", function()
    host.env.CXB_API_CONFIG_URL = nil
    host.env.CXB_RESULTS_URL = host.url .. "/results"
    world:write(host.dir .. "/bots/voice.json", '{"flow":"play","opening_message":"Hello.",'
      .. '"stt":{"provider":"none"},"tts":{"provider":"embedded"}}')
    world:write(host.dir .. "/flows/play.lua",
      "return function(call) call:say('Hello.') call:listen({ timeout = 60 }) end")
    host:mode("503")
    host:start(1)
    local d = assert(dialler.connect(host:socket(1), "voice")):begin()
    assert.is_true(d:wait_closed())
    reaches(1, 'cxb_provider_errors_total{provider="embedded",stage="tts"}', 1)
    reaches(1, 'cxb_outbox_rows{kind="result",state="ready"}', 1)
    reaches(1, 'cxb_outbox_attempts_total{kind="result",result="retry"}', 1)
    World.wait_until("the row's age", function()
      return value(1, 'cxb_outbox_oldest_age_seconds{kind="result"}') > 0
    end)
  end)

  it("are those of all workers of the host that live, whichever is asked", function()
    host:start(1)
    host:start(2)
    for n = 1, 2 do
      host:short_call(n)
      host:idle(n)
    end
    local line = 'cxb_calls_total{disconnected_by="customer",transport="cxb"}'
    for n = 1, 2 do
      assert.equal(2, value(n, line))
      assert.equal(1, value(n, line, "worker"))
      assert.equal(2, value(n, 'cxb_call_setup_seconds_count{transport="cxb"}'))
      assert.equal(1, value(n, ('cxb_build_info{version="%s"}'):format(cxb.version)))
    end
    local one = value(1, "cxb_worker_rss_bytes", "worker")
    World.wait_until("the size of both", function()
      return value(1, "cxb_worker_rss_bytes") > 1.5 * one
    end)
    assert.is_true(value(1, "cxb_disk_free_bytes") < 1.5 * value(1, "cxb_disk_free_bytes", "worker"))
    host:kill(2)
    World.wait_until("the dead one's figures gone", function() return value(1, line) == 1 end)
  end)

  it("count calls that a neighbour makes results of", function()
    host:start(1)
    host:start(2)
    host:call(1)
    host:session(1)
    host:kill(1)
    host:delivery(1)
    reaches(2, "cxb_journal_recovered_total", 1)
  end)
end)
