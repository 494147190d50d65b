-- The collections that API and Dialler share. Field types: s string, i integer, n number,
-- b boolean, t time (milliseconds), o object, a list; `?`: may be absent. Free-form parts of a
-- document need no declaration, times inside them do ("lease.until"). Indexes: "-" descending;
-- unique keys only over fields that are always present. `prefix` begins the ids that the store
-- makes. `lists`: what the long lists of a collection are ordered (`by`) and filtered by (`fields`,
-- those that leave the fewest first; with "?": only whether it is there), with the field, a list of
-- strings, whose elements has_all looks up (`words`). `bulk`: large fields that only readers of the
-- whole document want: no filter, order or sum names them, and SQLite keeps them apart.
local M = {}

M.users = {
  prefix = "usr",
  fields = {
    email = "s", name = "s", role = "s", is_active = "b", password_hash = "s", token_version = "i",
    must_change_password = "b", agent_languages = "a", agent_primary_language = "s?", prefs = "o",
    last_login_at = "t?", token_kept = "s?",
  },
  unique = { { "email" } },
  indexes = { { "role" } },
}

M.api_keys = {
  prefix = "key",
  fields = {
    name = "s", key_prefix = "s", key_hash = "s", created_by = "s", is_active = "b",
    expires_at = "t?", last_used_at = "t?", scopes = "a", bot_ids = "a", daily_call_limit = "i?",
  },
  unique = { { "key_hash" } },
}

M.bots = {
  prefix = "bot",
  fields = { name = "s", is_active = "b", deleted_at = "t?" },
  indexes = { { "name" } },
}

M.bot_versions = {
  prefix = "botv",
  fields = { bot_id = "s", version = "i", doc = "o", by = "s", note = "s?" },
  unique = { { "bot_id", "version" } },
}

M.flows = {
  prefix = "flow",
  fields = {
    name = "s", active_version = "i?", draft = "o?", ["draft.at"] = "t?", description = "s?",
  },
  unique = { { "name" } },
}

M.flow_versions = {
  prefix = "flowv",
  fields = {
    name = "s", version = "i", source = "s", sha256 = "s", by = "s", note = "s?", status = "s",
  },
  unique = { { "name", "version" } },
}

-- _id is the session_id. Beside the skeleton of a call it holds every field of its result.
M.calls = {
  prefix = "call",
  fields = {
    call_type = "s", status = "s", bot_id = "s?", bot_version = "i?", flow = "s?",
    direction = "s?", transport = "s?", stream_id = "s?", caller_id = "s?", from_number = "s?",
    to_number = "s?", customer_number = "s?", number_rev = "s?", carrier_id = "s?", did_id = "s?",
    campaign_id = "s?", campaign_call_id = "s?", campaign_attempt = "i?", run_number = "i?",
    connected_event = "o?", crm_data = "o?", sip_context = "o?", skip_post_push = "b?",
    host_id = "s?", worker_id = "s?", started_at = "t", answered_at = "t?", ended_at = "t?",
    completed_at = "t?", call_duration_seconds = "n?", disconnected_by = "s?",
    was_transferred = "b?", recording_key = "s?", recording_access_token = "s?",
    disposition = "s?", sub_disposition = "s?", terms = "a?", lat_bucket = "i?",
    result_hash = "s?", fanout = "o?", ["fanout.pending"] = "b?",
    ["fanout.at"] = "t?", cdr = "o?", parent_session_id = "s?", redacted_at = "t?",
  },
  bulk = {
    "transcript", "events", "intents", "latency_samples", "usage_metrics", "pipeline_config",
    "qc_analysis",
  },
  indexes = {
    { "stream_id" }, { "-started_at" }, { "bot_id", "-started_at" },
    { "campaign_id", "-started_at" }, { "status", "-started_at" },
    { "disposition", "-started_at" }, { "number_rev" }, { "recording_access_token" },
    { "terms", "-started_at" }, { "fanout.pending" },
  },
  lists = {
    by = "started_at", words = "terms",
    fields = { -- what no index finds comes first: a column costs the more the later it stands
      "disconnected_by", "direction", "call_type", "sub_disposition", "was_transferred",
      "call_duration_seconds", "recording_key?",
      "stream_id", "number_rev", "fanout.pending", "campaign_id", "bot_id", "disposition", "status",
      "lat_bucket",
    },
  },
}

-- _id is the token.
M.recording_tokens = {
  prefix = "rt",
  fields = { session_id = "s", withdrawn_at = "t?" },
  indexes = { { "session_id" } },
}

-- Recordings that a host has still to erase.
M.erasures = {
  prefix = "era",
  fields = { base_url = "s", key = "s", expires_at = "t" },
  unique = { { "base_url", "key" } },
  indexes = { { "expires_at" } },
}

-- The calls of an hour that agree in what the key names, counted by its quarters: zones differ by
-- quarters of an hour.
M.call_stats = {
  prefix = "st",
  fields = {
    hour = "t", bot_id = "s", campaign_id = "s", status = "s", disposition = "s",
    calls_0 = "i", calls_1 = "i", calls_2 = "i", calls_3 = "i",
    seconds_0 = "n", seconds_1 = "n", seconds_2 = "n", seconds_3 = "n",
    transferred_0 = "i", transferred_1 = "i", transferred_2 = "i", transferred_3 = "i",
  },
  unique = { { "hour", "bot_id", "campaign_id", "status", "disposition" } },
  lists = {
    by = "hour",
    fields = {
      "bot_id", "campaign_id", "status", "disposition", "calls_0", "calls_1", "calls_2", "calls_3",
      "seconds_0", "seconds_1", "seconds_2", "seconds_3", "transferred_0", "transferred_1",
      "transferred_2", "transferred_3",
    },
  },
}

M.campaigns = {
  prefix = "cmp",
  fields = {
    name = "s", bot_id = "s", number_pool = "a", status = "s", config = "o", config_url = "s?",
    upload = "o?", ["upload.at"] = "t?", stats = "o?", live = "o?", ["live.last_dial_at"] = "t?",
    run_number = "i", restart_history = "a?", activity_log = "a?", started_at = "t?",
    completed_at = "t?", completion_reason = "s?", job = "o?", ["job.until"] = "t?",
    run_started_at = "t?", deleted_at = "t?", ["stats.at"] = "t?",
    lease = "o?", ["lease.until"] = "t?",
  },
  indexes = { { "status", "-created_at" }, { "bot_id" }, { "name" }, { "job.until" } },
}

-- Rows of an upload that were not taken.
M.campaign_upload_rejects = {
  prefix = "upr",
  fields = { campaign_id = "s", upload_id = "s", line = "i", rule = "s", value = "s" },
  indexes = { { "campaign_id", "upload_id", "line" } },
}

M.campaign_calls = {
  prefix = "cc",
  fields = {
    campaign_id = "s", upload_id = "s", run_number = "i", phone_number = "s", variables = "o",
    timezone = "s?", external_id = "s?", status = "s", attempts_made = "i", next_retry_at = "t?",
    lease = "o?", ["lease.until"] = "t?", session_id = "s?", last_outcome = "s?",
    disposition = "s?", callback = "o?", ["callback.requested_at"] = "t?",
    ["callback.scheduled_at"] = "t?", completed_at = "t?",
    zone_key = "s?", attempt_seq = "i?", prev_status = "s?", dial = "o?", ["dial.at"] = "t?",
    leased_at = "t?", ringing_at = "t?", answered_at = "t?", amd = "o?",
  },
  unique = { { "campaign_id", "run_number", "upload_id", "phone_number" } },
  indexes = {
    { "campaign_id", "status", "next_retry_at" },
    { "campaign_id", "run_number", "status", "zone_key", "next_retry_at" },
    { "lease.until" }, { "session_id" }, { "external_id" },
    { "campaign_id", "run_number", "dial.at" },
    { "campaign_id", "run_number", "callback.requested_at" },
  },
}

M.campaign_attempts = {
  prefix = "ca",
  fields = {
    campaign_id = "s", campaign_call_id = "s", run_number = "i", attempt = "i", kind = "s",
    callback_sequence = "i?", session_id = "s", from_number = "s?", carrier_id = "s?",
    host_id = "s?", dialled_at = "t", ringing_at = "t?", answered_at = "t?", ended_at = "t?",
    sip_code = "i?", amd = "o?", outcome = "s?", disconnected_by = "s?", disposition = "s?",
    sub_disposition = "s?", talk_seconds = "n?", counted = "b?", reason = "s?",
  },
  unique = { { "campaign_call_id", "run_number", "attempt" }, { "session_id" } },
  indexes = { { "campaign_id", "dialled_at" } },
}

M.dnc = {
  prefix = "dnc",
  fields = {
    number = "s", scope = "s", reason = "s?", source = "s", by = "s?", expires_at = "t?",
    is_prefix = "b?",
  },
  unique = { { "number", "scope" } }, indexes = { { "is_prefix" } },
}

M.carriers = {
  prefix = "car",
  fields = {
    name = "s", dids = "a", lk_inbound_trunk_id = "s?", lk_sync_status = "s?",
    lk_last_synced_at = "t?",
  },
  indexes = { { "lk_inbound_trunk_id" } },
}

-- _id is who dials and the day: how many calls were begun.
M.dial_counts = { prefix = "dc", fields = { n = "i", expires_at = "t?" } }

-- _id is the carrier: tokens of its call rate, taken by expected version (dialler.md §6.1).
M.carrier_buckets = { prefix = "cb", fields = { tokens = "n", at = "t", channels = "o?" } }

-- _id is the number.
M.did_index = {
  prefix = "did",
  fields = { owner = "s", owner_id = "s", did_id = "s", bot_id = "s?" },
  indexes = { { "owner_id" }, { "bot_id" } },
}

M.integrations = {
  prefix = "int",
  fields = { type = "s" },
  unique = { { "type" } },
}

-- One document, _id "system".
M.system_settings = { prefix = "set", fields = {} }

-- _id is the name of a job or a cache.
M.system_runtime = { prefix = "run", fields = { last_run_at = "t?", state = "o?" } }

M.live_prompt_cache_events = {
  prefix = "lpc",
  fields = {
    bot_id = "s", action = "s", result = "s", reason = "s?", at = "t", expires_at = "t",
  },
  indexes = { { "bot_id", "-at" }, { "expires_at" } },
}

M.knowledge_bases = {
  prefix = "kb",
  fields = {
    name = "s", status = "s", tenant_id = "s?", description = "s?", default_language = "s?",
    revision = "i",
  },
  indexes = { { "tenant_id" } },
}

M.knowledge_documents = {
  prefix = "doc",
  fields = {
    kb_id = "s", name = "s", parse_status = "s", parse_error = "s?", bytes = "i",
    chunk_count = "i?", characters = "i?",
  },
  indexes = { { "kb_id" }, { "parse_status" } },
}

-- _id is {document_id}_chunk_{i}.
M.knowledge_chunks = {
  prefix = "chunk",
  fields = { kb_id = "s", document_id = "s", title = "s", n = "i", text = "s" },
  indexes = { { "document_id" }, { "kb_id" } },
}

-- _id is the call_id of the hand-off.
M.agent_desk_calls = {
  prefix = "adc",
  fields = {
    session_id = "s?", room = "s?", bot_id = "s?", language = "s?", priority = "i", state = "s",
    enqueued_at = "t", assigned_at = "t?", active_at = "t?", wrap_up_at = "t?",
    completed_at = "t?", due_at = "t?", agent_id = "s?", disposition = "s?",
  },
  indexes = {
    { "state", "-enqueued_at" }, { "agent_id", "-enqueued_at" }, { "session_id" },
    { "-enqueued_at" },
  },
}

M.agent_assist_moments = {
  prefix = "mom",
  fields = { name = "s", enabled = "b", priority = "i", trigger_phrases = "a" },
  indexes = { { "enabled" } },
}

M.crm_deliveries = {
  prefix = "dlv",
  fields = {
    session_id = "s", kind = "s", bot_id = "s?", url = "s?", host = "s", state = "s",
    attempts = "i", next_at = "t?", since = "t", body = "s?", log = "a?", lease = "o?",
    ["lease.until"] = "t?", delivered_at = "t?",
  },
  unique = { { "session_id", "kind" } },
  indexes = { { "state", "next_at" }, { "bot_id", "-created_at" }, { "-created_at" } },
}

M.audit_log = {
  prefix = "aud",
  fields = {
    at = "t", actor = "o", action = "s", target = "o?", request_id = "s?", changes = "a?",
    result = "s?",
  },
  indexes = { { "-at" }, { "actor.id", "-at" }, { "target.id", "-at" } },
}

-- _id is the host_id.
M.fleet_hosts = {
  prefix = "host",
  fields = {
    base_url = "s", source = "s?", boot_id = "s?", seen_at = "t?", draining = "b?",
  },
  unique = { { "base_url" } },
}

-- _id is sha256(principal, route, key).
M.idempotency = {
  prefix = "idem",
  fields = {
    state = "s", status = "i?", body = "o?", request_hash = "s", expires_at = "t",
  },
  indexes = { { "expires_at" } },
}

-- _id is a job's name, or who is there ("dialler:<instance>").
M.locks = { prefix = "lock", fields = { lease = "o?", ["lease.until"] = "t?" } }

return M
