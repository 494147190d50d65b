-- Metrics of the call worker (core spec §10), declared once, and the gauges set from time to time.
local M = {}

-- `labels`: its series come with their first event; the others exist from the start.
local short = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 }

M.list = {
  { name = "cxb_build_info", type = "gauge_max", labels = true, help = "Version of the program" },
  { name = "cxb_calls_active", type = "gauge", help = "Calls now" },
  { name = "cxb_calls_total", type = "counter", labels = true, help = "Calls that ended" },
  { name = "cxb_calls_refused_total", type = "counter", labels = true, help = "Calls refused" },
  { name = "cxb_call_setup_seconds", type = "histogram", buckets = short,
    help = "Upgrade to answer" },
  { name = "cxb_call_duration_seconds", type = "histogram", help = "Answer to end",
    buckets = { 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200 } },
  { name = "cxb_turn_latency_seconds", type = "histogram", help = "Parts of an answer's delay",
    buckets = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.4, 0.6, 0.85, 1.1, 1.5, 2.5 } },
  { name = "cxb_media_underruns_total", type = "counter", help = "Frames that went late" },
  { name = "cxb_media_pacing_error_seconds", type = "histogram",
    help = "Lateness of frames, 99th percentile of a call",
    buckets = { 0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02 } },
  { name = "cxb_bad_frames_total", type = "counter", labels = true,
    help = "Messages dropped or ignored" },
  { name = "cxb_barge_ins_total", type = "counter", labels = true,
    help = "Interruptions of the bot" },
  { name = "cxb_provider_failovers_total", type = "counter", labels = true,
    help = "Times another provider took over" },
  { name = "cxb_provider_errors_total", type = "counter", labels = true,
    help = "Errors of providers" },
  { name = "cxb_tool_seconds", type = "histogram", help = "Tools of language models",
    buckets = { 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20 } },
  { name = "cxb_config_fetch_seconds", type = "histogram", buckets = short,
    help = "Fetching a call's configuration" },
  { name = "cxb_journal_recovered_total", type = "counter", help = "Results made from journals" },
  { name = "cxb_disk_free_bytes", type = "gauge_max", help = "Free disk below CXB_STATE_DIR" },
  { name = "cxb_loop_lag_seconds", type = "histogram", buckets = short,
    help = "Longest turn of the main loop, looked at every two seconds" },
  { name = "cxb_script_memory_bytes", type = "gauge", help = "Memory of all generations' scripts" },
  { name = "cxb_worker_rss_bytes", type = "gauge", help = "Resident memory" },
  { name = "cxb_worker_calls_served", type = "gauge", help = "Calls since the start" },
}

function M.declare()
  for _, entry in ipairs(M.list) do
    local ok, why = pcall(cxb.metrics.declare, { entry })
    if not ok then
      cxb.log.warn("metric not declared", { metric = entry.name, error = tostring(why) })
    elseif not entry.labels and entry.type ~= "histogram" then
      cxb.metrics.count(entry.name, nil, 0)
    end
  end
  cxb.metrics.set("cxb_build_info", { version = cxb.version }, 1)
end

---@param c table settings
---@param boxes table<integer, cxb.outbox.box>
---@return number? free MiB of disk
---@return integer outbox rows not yet delivered
function M.sample(c, boxes)
  local free = cxb.fs.free_mb(c.CXB_STATE_DIR)
  cxb.metrics.set("cxb_calls_active", nil, cxb.slot.state().used)
  cxb.metrics.set("cxb_disk_free_bytes", nil, (free or 0) * 1048576)
  cxb.metrics.set("cxb_worker_rss_bytes", nil, cxb.process.rss_kb() * 1024)
  cxb.metrics.set("cxb_worker_calls_served", nil, cxb.slot.state().served)
  cxb.metrics.set("cxb_script_memory_bytes", nil, cxb.process.script_memory())
  cxb.metrics.observe("cxb_loop_lag_seconds", nil, cxb.process.loop_lag() / 1000)
  local waiting = 0
  for _, box in pairs(boxes) do
    local stats = box:stats()
    waiting = waiting + stats.analysis + stats.ready + stats.sending
  end
  cxb.scoreboard.update({ outbox = waiting })
  return free, waiting
end

return M
