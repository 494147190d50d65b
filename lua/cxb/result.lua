-- The result of a call: the JSON of core spec §7, in its order, without nulls.
local json = require("cxb.json")
local latency = require("cxb.latency")

local M = {}

local max_bytes = 4 * 1024 * 1024

local function iso(ms)
  return ms and cxb.time.iso(ms)
end

local function ordered(keys, value)
  local out = {}
  for _, key in ipairs(keys) do
    out[#out + 1] = { key, value[key] }
  end
  return json.object(out)
end

local entry_keys = { "turn", "role", "text", "full_text", "start_ms", "end_ms", "heard_ms",
  "interrupted", "confidence", "language" }
local event_keys = { "t_ms", "type", "data" }
local intent_keys = { "t_ms", "turn", "name", "confidence", "data" }
local sample_keys = { "turn", "endpoint_ms", "stt_ms", "rag_ms", "tool_ms", "llm_ttft_ms",
  "tts_ttfb_ms", "host_ms", "total_ms" }
local latency_keys = { "turns", "total_avg_response_ms", "p50_ms", "p95_ms", "endpoint_ms",
  "stt_ms", "rag_ms", "tool_ms", "llm_ttft_ms", "tts_ttfb_ms", "host_ms", "framing_ms" }
local usage_keys = { "stt_seconds", "llm_requests", "llm_prompt_tokens", "llm_completion_tokens",
  "tts_characters", "tool_calls" }
local cache_keys = { "enabled", "worked", "statuses", "cache_read_input_tokens",
  "cache_creation_input_tokens", "fresh_prompt_tokens", "completion_tokens" }
local pipeline_keys = { "flow", "flow_version", "generation", "version", "host", "worker",
  "transport", "rate", "stt", "llm", "tts", "unknown_fields" }

local function list(keys, values)
  local out = json.array()
  for i, value in ipairs(values) do
    out[i] = ordered(keys, value)
  end
  return out
end

local function usage(u)
  local full = {}
  for _, key in ipairs(usage_keys) do
    full[key] = u[key] or 0
  end
  return ordered(usage_keys, full)
end

-- The wire's own fields, untouched: the JSON text is embedded as it came.
local function connected_event(text)
  return text and json.decode_object(text) and json.raw(text) or nil
end

local function seconds(from, to)
  if not from or not to then
    return 0
  end
  return math.floor(math.max(0, to - from) / 100 + 0.5) / 10
end

local function recording_url(f)
  return f.recording_url or f.recording_key
end

local function fields(r, events, truncated)
  local f, t = r.fields, r.transfer
  local started = r.times.started
  local function at(t_ms)
    return t_ms and started + t_ms
  end
  local summary = latency.summary(r.samples, f.framing_ms)
  return {
    { "session_id", f.session_id }, { "stream_id", f.stream_id }, { "bot_id", f.bot_id },
    { "call_id", f.call_id }, { "caller_id", f.caller_id }, { "from_number", f.from_number },
    { "call_direction", f.direction }, { "started_at", iso(started) },
    { "answered_at", iso(at(r.times.answered)) }, { "ended_at", iso(at(r.times.ended)) },
    { "call_duration_seconds", seconds(r.times.answered, r.times.ended) },
    { "disconnected_by", f.disconnected_by }, { "error", f.error },
    { "has_customer_message", r:heard_customer() },
    { "transcript", list(entry_keys, r.transcript) }, { "events", list(event_keys, events) },
    { "events_truncated", truncated }, { "intents", list(intent_keys, r.intents) },
    { "recording_key", f.recording_key }, { "recording_url", recording_url(f) },
    { "post_call_analysis", r.analysis }, { "qc_analysis", r.qc },
    { "latency", summary and ordered(latency_keys, summary) },
    { "latency_samples", list(sample_keys, r.samples) },
    { "usage_metrics", usage(r.usage) },
    { "llm_cache_summary", r.usage.cache and ordered(cache_keys, r.usage.cache) },
    { "pipeline_config", f.pipeline_config and ordered(pipeline_keys, f.pipeline_config) },
    { "connected_event", connected_event(f.connected_event) },
    { "was_transferred", t.was_transferred or false },
    { "transfer_destination", t.transfer_destination }, { "transfer_target", t.transfer_target },
    { "transfer_reason", t.transfer_reason }, { "transfer_method", t.transfer_method },
    { "transfer_at", t.transfer_at }, { "transfer_failed_reason", t.transfer_failed_reason },
  }
end

---@param r table cxb.record, ended
---@return string body JSON, at most 4 MiB: above it events go, oldest first
function M.build(r)
  local events, truncated = r.events, nil
  while true do
    local body = json.encode(json.object(fields(r, events, truncated)), true)
    if #body <= max_bytes or #events == 0 then
      return body
    end
    local keep = {}
    for i = math.floor(#events / 2) + 1, #events do
      keep[#keep + 1] = events[i]
    end
    events, truncated = keep, true
  end
end

return M
