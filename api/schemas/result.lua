-- CallResultsPayload (api.md §5.7, core.md §7). Each field is judged by itself: one that is wrong
-- is left out of the call and reported, so a worker never has to bury a result.
local disconnected_by = {
  "bot", "customer", "voicemail", "RNR", "outside_hours", "timeout", "error", "no_answer",
  "rejected", "transfer_to_agent",
}

local function text(max)
  return { type = "string", maxLength = max or 1024 }
end

local object = { type = "object", additionalProperties = true }
-- What only its readers look into: kept as the text that came.
local opaque_object = { type = "object", additionalProperties = true, opaque = "object" }
local opaque_objects = { type = "array", items = object, opaque = "objects" }
local flag = { type = "boolean" }
local time = { type = "string", format = "time" }

return {
  type = "object",
  additionalProperties = true,
  required = { "session_id" },
  properties = {
    session_id = { type = "string", format = "id" },
    bot_id = { type = "string", format = "id" },
    call_id = text(128),
    stream_id = text(256),
    caller_id = text(64),
    from_number = text(64),
    call_direction = { type = "string", enum = { "incoming", "outgoing" } },
    started_at = time,
    answered_at = time,
    ended_at = time,
    call_duration_seconds = { type = "number", minimum = 0, maximum = 604800 },
    disconnected_by = { type = "string", enum = disconnected_by },
    error = text(256),
    has_customer_message = flag,
    transcript = opaque_objects,
    events = opaque_objects,
    events_truncated = flag,
    intents = opaque_objects,
    recording_url = text(2048),
    recording_key = text(1024),
    recording_access_token = { type = "string", format = "token" },
    post_call_analysis = object,
    qc_analysis = opaque_object,
    latency = object,
    latency_samples = opaque_objects,
    usage_metrics = opaque_object,
    llm_cache_summary = object,
    pipeline_config = opaque_object,
    connected_event = object,
    was_transferred = flag,
    transfer_destination = text(),
    transfer_target = { type = "any" },
    transfer_reason = text(4000),
    transfer_method = text(64),
    transfer_at = { type = "number", minimum = 0 },
    transfer_failed_reason = text(4000),
  },
}
