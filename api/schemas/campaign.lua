-- A campaign (api.md §5.10): what an operator may write, with the defaults of what is left out, and
-- what is shown of it.
local json = require("cxb.json")
local windows = require("cxb.campaign.windows")

local function clock(default)
  return { type = "string", format = "clock", default = default }
end

local function strings(max, default)
  return { type = "array", maxItems = max, items = { type = "string", maxLength = 120 },
    default = default }
end

local function integer(low, high, default)
  return { type = "integer", minimum = low, maximum = high, default = default }
end

local function boolean(default)
  return { type = "boolean", default = default }
end

local function object(properties)
  return { type = "object", properties = properties }
end

local function known_region(region)
  return not cxb.phone.known_region(region) and "must be a country like IN" or nil
end

local action = { type = "string", enum = { "teardown", "continue" } }

-- What is left out is the system's.
local amd = {
  type = "object", nullable = true,
  properties = {
    enabled = { type = "boolean" }, total_analysis_ms = integer(250, 5000),
    initial_silence_ms = integer(250, 5000), greeting_ms = integer(250, 5000),
    after_greeting_silence_ms = integer(200, 3000), max_words = integer(1, 20),
    between_words_ms = integer(20, 500), min_word_ms = integer(40, 500),
    max_word_ms = integer(500, 10000), silence_threshold = integer(32, 4096),
    beep_min_ms = integer(60, 1000), beep_detection_enabled = { type = "boolean" },
    action_on_machine = action, action_on_unknown = action,
  },
}

local config = object({
  concurrency_limit = integer(1, 10000, 50),
  campaign_mode = { type = "string", enum = { "single_day", "multi_day", "continuous" },
    default = "single_day" },
  time_window = object({
    start = clock("09:00"), ["end"] = clock("18:00"),
    timezone = { type = "string", format = "zone", default = windows.DEFAULT_ZONE },
    days = { type = "array", items = { type = "string", enum = windows.DAY_NAMES },
      default = json.array({ unpack(windows.DAY_NAMES) }) },
    holidays = { type = "array", maxItems = 400, items = { type = "string", format = "date" },
      default = json.array() },
  }),
  contact_window = object({
    enabled = boolean(true), start = clock("08:00"), ["end"] = clock("21:00"),
  }),
  redial_rules = object({
    max_attempts = integer(1, 10, 3), retry_delay_minutes = integer(1, 10080, 30),
    retry_on_system = strings(20,
      json.array({ "no_answer", "rejected", "RNR", "error", "timeout" })),
    retry_on_custom = strings(100, json.array()),
  }),
  callback_detection = object({ enabled = boolean(false) }),
  amd = amd,
  default_region = { type = "string", default = "IN", rule = known_region },
  abandon_cap_percent = { type = "number", minimum = 0, maximum = 100, default = 3 },
  abandon_message = { type = "string", maxLength = 4000, nullable = true },
  weight = { type = "number", minimum = 0.1, maximum = 10, default = 1 },
  keep_open = boolean(false), local_presence = boolean(false),
  skip_prefetch = boolean(false), skip_post_push = boolean(false),
  mock_crm = { type = "object", additionalProperties = true, nullable = true },
})
config.title = "CampaignConfig"

local properties = {
  name = { type = "string", minLength = 1, maxLength = 120 },
  description = { type = "string", maxLength = 2000, nullable = true },
  bot_id = { type = "string", format = "id" },
  number_pool = { type = "array", maxItems = 500, items = { type = "string", format = "id" },
    default = json.array() },
  config = config,
}

local M = { config = config }

M.input = {
  type = "object", title = "CampaignInput", required = { "name", "bot_id" },
  properties = properties,
}

-- The fields given change, inside of `config` too; null goes back to the default.
M.patch = {
  type = "object", title = "CampaignPatch",
  properties = {
    name = properties.name, description = properties.description, bot_id = properties.bot_id,
    number_pool = { type = "array", maxItems = 500, nullable = true,
      items = properties.number_pool.items },
    config = { type = "object", additionalProperties = true, nullable = true,
      description = "fields of CampaignConfig" },
  },
}

local function free(nullable)
  return { type = "object", additionalProperties = true, nullable = nullable }
end

local time = { type = "string", format = "time" }

local shown = {
  id = { type = "string" }, v = { type = "integer" }, name = properties.name,
  description = { type = "string" }, bot_id = { type = "string" },
  number_pool = properties.number_pool, config = free(), config_url = { type = "string" },
  status = { type = "string" }, run_number = { type = "integer" },
  upload = {
    type = "object", additionalProperties = true, nullable = true, properties = { at = time },
  },
  stats = {
    type = "object", additionalProperties = true, properties = { at = time },
  },
  live = {
    type = "object", additionalProperties = true, nullable = true,
    properties = { last_dial_at = time },
  },
  job = { type = "string", nullable = true,
    description = "work on its contacts that goes on: upload, purge, stop, restart …" },
  identity_locked = { type = "boolean" },
  created_at = time, updated_at = time, started_at = time, completed_at = time,
  completion_reason = { type = "string" },
}

M.row = { type = "object", title = "CampaignRow", properties = shown }

local event = { type = "object", additionalProperties = true, properties = { at = time,
  completed_at = time } }
local detail = {
  problems = { type = "array", items = { type = "object", properties = {
    code = { type = "string" }, message = { type = "string" } } } },
  activity_log = { type = "array", items = event },
  restart_history = { type = "array", items = event },
}
for name, property in pairs(shown) do
  detail[name] = property
end
M.output = { type = "object", title = "Campaign", properties = detail }

-- A contact.
local attempt = {
  type = "object", title = "CampaignAttempt", additionalProperties = false,
  properties = {
    id = { type = "string" }, attempt = { type = "integer" }, run_number = { type = "integer" },
    kind = { type = "string" }, callback_sequence = { type = "integer" },
    counted = { type = "boolean" }, session_id = { type = "string" },
    from_number = { type = "string" }, carrier_id = { type = "string" },
    host_id = { type = "string" }, dialled_at = time, ringing_at = time, answered_at = time,
    ended_at = time, sip_code = { type = "integer" }, amd = free(true),
    outcome = { type = "string" }, disconnected_by = { type = "string" },
    disposition = { type = "string" }, sub_disposition = { type = "string" },
    reason = { type = "string" }, talk_seconds = { type = "number" },
  },
}

local contact = {
  id = { type = "string" }, v = { type = "integer" }, campaign_id = { type = "string" },
  run_number = { type = "integer" }, phone_number = { type = "string" }, variables = free(),
  timezone = { type = "string" }, zone_key = { type = "string" },
  external_id = { type = "string" }, status = { type = "string" },
  attempts_made = { type = "integer" }, next_retry_at = time, session_id = { type = "string" },
  last_outcome = { type = "string" }, cause = { type = "string" },
  disposition = { type = "string" },
  callback = {
    type = "object", additionalProperties = true, nullable = true,
    properties = { requested_at = time, scheduled_at = time },
  },
  created_at = time, updated_at = time, completed_at = time,
}

M.contact_row = { type = "object", title = "CampaignCallRow", properties = contact }

local contact_detail = { attempts = { type = "array", items = attempt } }
for name, property in pairs(contact) do
  contact_detail[name] = property
end
M.contact = { type = "object", title = "CampaignCall", properties = contact_detail }

M.contact_states = { type = "string", enum = require("cxb.campaign.states").all }

return M
