-- A deployment's settings (api.md §5.15). `secret = true`: stored sealed, shown masked.
local providers = require("providers")

local function secret()
  return { type = "string", minLength = 1, maxLength = 8192, secret = true }
end

local function text(max, default)
  return { type = "string", maxLength = max, default = default }
end

local function integer(low, high, default)
  return { type = "integer", minimum = low, maximum = high, default = default }
end

local function flag(default)
  return { type = "boolean", default = default }
end

local function choice(default, ...)
  return { type = "string", enum = { ... }, default = default }
end

local function object(properties)
  return { type = "object", properties = properties }
end

-- "localhost:9000", "[::1]:9000", also with its scheme.
local function endpoint(value)
  local host, port = value:gsub("^https?://", ""):gsub("/$", ""):match("^(.-):?(%d*)$")
  local named = host and (host:match("^[%w][%w.-]*$") or host:match("^%[[%x:.]+%]$"))
  if not named or (tonumber(port) or 0) > 65535 then
    return "must be a host, or host:port"
  end
end

local function bucket(value)
  if #value < 3 or not value:match("^[%w.-]+$") then
    return "must be 3 to 63 letters, digits, dots and dashes"
  end
end

local function provider(kind)
  return { type = "string", maxLength = 64, rule = function(name)
    if providers[kind][name] == nil then
      return ("there is no %s provider %q"):format(kind, name)
    end
  end }
end

local action = { "teardown", "continue" }

-- Dialler: answering machines, each field of dialler.md §10.
local amd = object({
  enabled = flag(false),
  total_analysis_ms = integer(250, 5000, 2000), initial_silence_ms = integer(250, 5000, 2000),
  greeting_ms = integer(250, 5000, 2000), after_greeting_silence_ms = integer(200, 3000, 800),
  max_words = integer(1, 20, 4), between_words_ms = integer(20, 500, 50),
  min_word_ms = integer(40, 500, 100), max_word_ms = integer(500, 10000, 5000),
  silence_threshold = integer(32, 4096, 256), beep_min_ms = integer(60, 1000, 120),
  beep_detection_enabled = flag(true),
  action_on_machine = choice("teardown", unpack(action)),
  action_on_unknown = choice("continue", unpack(action)),
})

local core_fleet = {
  type = "array", maxItems = 256, default = {},
  items = {
    type = "string", format = "url",
    rule = function(url)
      if not url:match("^https?://[^/?#@]+/?$") then
        return "must be a base URL: scheme, host and port, no path"
      end
    end,
  },
  rule = function(urls)
    local seen = {}
    for _, url in ipairs(urls) do
      local base = url:lower():gsub("/$", "")
      if seen[base] then
        return "names " .. url .. " twice"
      end
      seen[base] = true
    end
  end,
}

return object({
  api_keys = { type = "object", additionalProperties = secret() },
  minio = object({
    endpoint = { type = "string", maxLength = 255, default = "localhost:9000", rule = endpoint },
    access_key = secret(), secret_key = secret(),
    bucket = { type = "string", maxLength = 63, default = "recordings", rule = bucket },
    secure = flag(false), region = text(64, "us-east-1"),
  }),
  agent_assist = object({
    enabled = flag(false), stt_provider = provider("stt"), llm_provider = provider("llm"),
    llm_model = text(128),
    system_prompt = text(20000), suggestion_cooldown_seconds = integer(1, 3600, 20),
    max_context_messages = integer(1, 200, 20),
    listen_to = choice("both", "both", "customer", "agent"), publish_transcript = flag(true),
  }),
  knowledge = object({
    vectordb_url = { type = "string", format = "url" }, vectordb_api_key = secret(),
    vectordb_collection = text(128, "cxb_knowledge_chunks"), embedding_model = text(128),
    embedding_url = { type = "string", format = "url", default = "https://api.openai.com/v1" },
    embedding_dimensions = integer(1, 8192, 768), chunk_size_chars = integer(100, 8000, 1200),
    chunk_overlap_chars = integer(0, 4000, 180), max_upload_mb = integer(1, 200, 20),
    tenant_id = text(64),
  }),
  dialler = object({ amd = amd }),
  display_timezone = { type = "string", format = "zone", default = "UTC" },
  core_fleet = core_fleet,
  agent_desk = object({
    wait_timeout = integer(5, 86400), no_agent_timeout = integer(5, 86400),
    decline_grace = integer(1, 3600), language_overflow = integer(1, 3600),
    join_timeout = integer(5, 600), wrap_up = integer(5, 7200), heartbeat_ttl = integer(20, 600),
    disconnect_grace = integer(5, 3600),
  }),
  limits = object({
    max_outbound_calls_per_day = integer(0, 100000000),
    flow_publish_role = choice("admin", "admin", "super_admin"),
  }),
  retention = object({
    calls_days = integer(0, 36500, 400), recordings_days = integer(0, 36500, 400),
    audit_days = integer(0, 36500, 400),
  }),
})
