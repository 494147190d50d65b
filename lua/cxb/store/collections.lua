-- The collections that API and Dialler share. Field types: s string, i integer, n number,
-- b boolean, t time (milliseconds), o object, a list; `?`: may be absent. Free-form parts of a
-- document need no declaration. Indexes: "-" descending; unique keys only over fields that are
-- always present.
return {
  bots = {
    prefix = "bot",
    fields = { name = "s", is_active = "b" },
    indexes = { { "name" } },
  },

  -- _id is the session_id. Beside the skeleton of a call it holds every field of its result.
  calls = {
    prefix = "call",
    fields = {
      call_type = "s", status = "s", bot_id = "s?", campaign_id = "s?", direction = "s?",
      stream_id = "s?", disposition = "s?", number_rev = "s?", disconnected_by = "s?",
      started_at = "t", answered_at = "t?", ended_at = "t?", completed_at = "t?",
    },
    indexes = {
      { "-started_at" }, { "bot_id", "-started_at" }, { "campaign_id", "-started_at" },
      { "status", "-started_at" }, { "disposition", "-started_at" }, { "stream_id" },
      { "number_rev" },
    },
  },

  -- _id is the name of a job: who runs it (lease), when it last did its work.
  locks = { prefix = "lock", fields = { lease = "o?" } },
  system_runtime = { prefix = "run", fields = { last_run_at = "t?", state = "o?" } },
  -- One document, "system" (api/schemas/system.lua).
  system_settings = { prefix = "set", fields = {}, indexes = {} },
}
