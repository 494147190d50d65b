-- Environment of the call worker (core spec §1.3), each variable declared once.
local config = require("cxb.config")
local outgoing = require("cxb.core.outgoing")
local webhook = require("cxb.webhook")

local M = {}

M.schema = {
  { name = "CXBCORE_SECRET", secret = true,
    help = "Shared secret with the API. Required unless CXB_DEV=1." },
  { name = "CXBCORE_SECRET_PREVIOUS", secret = true,
    help = "Accepted too, never sent: for rotation." },
  { name = "CXB_API_CONFIG_URL", alias = "CONFIG_URL", pattern = "^https?://", form = "an http URL",
    help = "Config endpoint. Unset: bots from CXB_BOTS_DIR." },
  { name = "MAX_CONCURRENT_CALLS", type = "int", default = 1, min = 1, max = 512,
    help = "Call slots; other than 1 only with CXB_DEV=1." },
  { name = "CXBCORE_WORKERS", type = "int", default = 16, min = 1, max = 512,
    help = "Workers of this host." },
  { name = "CXB_HOST_ID", pattern = "^[%w._-]+$", form = "letters, digits, dots, dashes",
    help = "Name of this host in results and in the fleet. Default in the fleet: the machine's." },
  { name = "CXB_HOST_URL", pattern = "^https?://[^/%s]+/?$", form = "http(s)://host:port",
    help = "Base URL at which others reach this host. Set, with the API's config endpoint: the "
      .. "host registers in the fleet." },
  { name = "CXB_LISTEN", default = "unix:/run/cxb/core-%i.sock",
    help = "unix:PATH or tcp:HOST:PORT; %i is the worker id." },
  { name = "CXB_WORKER_ID", type = "int", default = 1, min = 1, max = 512,
    help = "Used when the socket's name holds no digits." },
  { name = "CXB_RUN_DIR", default = "/run/cxb", help = "Sockets, control sockets, scoreboard." },
  { name = "CXB_STATE_DIR", default = "/var/lib/cxb", help = "Outboxes, journals, recordings." },
  { name = "CXB_BOTS_DIR", help = "Bot files, read at each call. Default: lua/bots." },
  { name = "CXB_FLOWS_DIR", help = "Flow scripts. Default: lua/flows." },
  { name = "CXB_RESULTS_URL", pattern = "^https?://", form = "an http URL",
    help = "Results of bots without webhook_url. Unset: files below CXB_STATE_DIR/results." },
  { name = "CXB_CONFIG_URL_ALLOW", type = "list",
    help = "URL prefixes that may be a call's config_url. Unset: any http(s)." },
  { name = "CXB_SECRET_ORIGINS", type = "list",
    help = "When set, outgoing requests carry the secret to these origins only." },
  { name = "CXB_WEBHOOK_SECRET", secret = true,
    help = "Signs deliveries: whsec_<base64>, several by blanks while they are changed." },
  { name = "LIVEKIT_URL", pattern = "^%a+://", form = "a ws or http URL",
    help = "LiveKit server. This or its key or secret unset: its routes answer 503." },
  { name = "LIVEKIT_API_KEY", secret = true, help = "LiveKit API key." },
  { name = "LIVEKIT_API_SECRET", secret = true, help = "LiveKit API secret." },
  { name = "CXB_FLEET_AVAILABLE_CAP", type = "int", default = 0, min = 0, max = 512,
    help = "Above 0: greatest fleet_available of /health/fleet (16 for patterns bounded there)." },
  { name = "CXB_WS_TOKEN", secret = true,
    help = "When set: ?token= or Bearer on carrier sockets." },
  { name = "CXB_EXOTEL_BASIC", secret = true, pattern = "^[^:]+:.", form = "user:password",
    help = "When set: Basic credentials on /exotel." },
  { name = "CXB_EXOTEL_CHUNK_BYTES", type = "int", default = 3200, min = 320, max = 100000,
    multiple = 320, help = "Audio to Exotel leaves in chunks of so many bytes." },
  { name = "CXB_AUDIOSOCKET_LISTEN", pattern = "^tcp:.+:[%d%%i]+$", form = "tcp:HOST:PORT",
    help = "AudioSocket calls, a port a worker: tcp:HOST:PORT; %i is the worker id." },
  { name = "CXB_AUDIOSOCKET_BOT", pattern = "^[%w_-]+$", form = "a bot id",
    help = "Bot that answers AudioSocket calls." },
  { name = "TWILIO_ACCOUNT_SID", pattern = "^%w+$", form = "an account SID",
    help = "With TWILIO_AUTH_TOKEN: Twilio ends and transfers calls." },
  { name = "TWILIO_AUTH_TOKEN", secret = true,
    help = "Checks X-Twilio-Signature; authorises REST requests." },
  { name = "TELNYX_API_KEY", secret = true, help = "Telnyx ends and transfers calls." },
  { name = "PLIVO_AUTH_ID", help = "With PLIVO_AUTH_TOKEN: Plivo ends calls, and transfers them "
    .. "when CXB_PUBLIC_WSS_BASE is set: it fetches the number from there." },
  { name = "PLIVO_AUTH_TOKEN", secret = true, help = "See PLIVO_AUTH_ID." },
  { name = "VONAGE_APPLICATION_ID",
    help = "With VONAGE_PRIVATE_KEY_FILE: Vonage ends and transfers calls." },
  { name = "VONAGE_PRIVATE_KEY_FILE", help = "PEM file of the application's private key." },
  { name = "CXB_CARRIER_API_BASE", pattern = "^https?://", form = "an http URL",
    help = "Replaces the carriers' REST addresses (a proxy)." },
  { name = "CXB_PUBLIC_WSS_BASE", pattern = "^wss?://", form = "a ws URL",
    help = "Public base of this host, as carriers know it." },
  { name = "S3_ENDPOINT", pattern = "^https?://[^/]+/*$", form = "http(s)://host:port",
    help = "Object store of recordings. Unset: the local folder keeps them." },
  { name = "S3_BUCKET", default = "recordings", pattern = "^[%w.-]+$",
    form = "letters, digits, dots and dashes", help = "Bucket of recordings." },
  { name = "S3_REGION", default = "us-east-1", pattern = "^[%w-]+$",
    form = "letters, digits and dashes", help = "Region the signature is made for." },
  { name = "S3_ACCESS_KEY", help = "Required with S3_ENDPOINT." },
  { name = "S3_SECRET_KEY", secret = true, help = "Required with S3_ENDPOINT." },
  { name = "CXB_KEEP_RECORDINGS_HOURS", type = "int", default = 24, min = 0, max = 8760, unit = "h",
    help = "An uploaded recording stays here for so long." },
  { name = "CXB_RECORDINGS_DIR", help = "Recordings. Default: CXB_STATE_DIR/recordings." },
  { name = "CXB_SPEECH_URL", default = "unix:/run/cxb/speech.sock",
    help = "Embedded speech: unix:PATH or ws://HOST:PORT." },
  { name = "CXB_OUTBOUND_ALLOW", type = "list",
    help = "Hosts or CIDRs that tools may reach although private." },
  { name = "CXB_WORKER_MAX_CALLS", type = "int", default = 1000, min = 0,
    help = "An idle worker ends after so many calls; 0 = off." },
  { name = "CXB_WORKER_MAX_RSS_MB", type = "int", default = 256, min = 0, unit = "MiB",
    help = "An idle worker ends above this memory; 0 = off." },
  { name = "CXB_MAX_SCRIPT_MB", type = "int", default = 64, min = 8, unit = "MiB",
    help = "Memory cap of a generation." },
  { name = "CXB_TASK_STALL_MS", type = "int", default = 200, min = 20, unit = "ms",
    help = "A task that does not yield is named." },
  { name = "CXB_TASK_STALL_END_MS", type = "int", default = 5000, min = 100, unit = "ms",
    help = "A task that does not yield is ended." },
  { name = "CXB_MEDIA_TIMEOUT_SECONDS", type = "int", default = 30, min = 1, unit = "s",
    help = "A leg without media is dead." },
  { name = "CXB_MIN_FREE_MB", type = "int", default = 64, min = 0, unit = "MiB",
    help = "Below this free disk no call is taken." },
  { name = "CXB_LOG_LEVEL", default = "info", choices = { "debug", "info", "warn", "error" },
    help = "Log level." },
  { name = "CXB_CRASH_AT", pattern = "^[%w.]+:?%d*$", form = "a step, or step:n",
    help = "With CXB_DEV=1, for tests: ends as kill -9 does at this step (fault.h)." },
  { name = "CXB_DEV", type = "bool", default = false, help = "Development." },
}

-- Each item of these lists is an http(s) address.
local function check_addresses(c)
  for _, name in ipairs({ "CXB_CONFIG_URL_ALLOW", "CXB_SECRET_ORIGINS" }) do
    for _, item in ipairs(c[name] or {}) do
      if not outgoing.is_http(item) then
        config.refuse(("%s: %q is not valid, expected http(s) URLs"):format(name, item))
      end
    end
  end
end

local function worker_of(listen, fallback)
  local name = listen:match("^unix:.-([^/]*)$") or ""
  return tonumber(name:match("(%d+)%.sock$") or name:match("(%d+)$")) or fallback
end

-- {base = URL of the bucket, region, access_key, secret_key}; nil: recordings stay here.
local function object_store(c)
  if not c.S3_ENDPOINT then
    return nil
  end
  for _, name in ipairs({ "S3_ACCESS_KEY", "S3_SECRET_KEY" }) do
    if not c[name] then
      config.refuse(name .. ": is not set, expected with S3_ENDPOINT")
    end
  end
  return { base = c.S3_ENDPOINT:gsub("/+$", "") .. "/" .. c.S3_BUCKET, region = c.S3_REGION,
    access_key = c.S3_ACCESS_KEY, secret_key = c.S3_SECRET_KEY }
end

---Checked settings with the derived ones: worker, listen, socket paths and folders.
---@param env? table<string, string>
---@return table? nil when only the documentation was asked for
function M.load(env)
  local c = config.load(M.schema, env)
  if not c then
    return nil
  end
  if (c.CXBCORE_SECRET or "") == "" and not c.CXB_DEV then
    config.refuse("CXBCORE_SECRET: is not set, expected a shared secret (or CXB_DEV=1)")
  end
  if c.MAX_CONCURRENT_CALLS ~= 1 and not c.CXB_DEV then
    config.refuse(('MAX_CONCURRENT_CALLS: "%d" is not valid, expected 1 (or CXB_DEV=1)')
      :format(c.MAX_CONCURRENT_CALLS))
  end
  check_addresses(c)
  c.s3 = object_store(c)
  c.webhook_keys = c.CXB_WEBHOOK_SECRET and webhook.keys(c.CXB_WEBHOOK_SECRET)
  if c.CXB_WEBHOOK_SECRET and not c.webhook_keys then
    config.refuse("CXB_WEBHOOK_SECRET: the value is not valid, expected whsec_<base64>, several "
      .. "separated by blanks")
  end
  c.listen = c.CXB_LISTEN:gsub("%%i", tostring(c.CXB_WORKER_ID))
  c.worker = worker_of(c.listen, c.CXB_WORKER_ID)
  if c.worker > c.CXBCORE_WORKERS then
    config.refuse(("worker id above CXBCORE_WORKERS: %d, expected at most %d")
      :format(c.worker, c.CXBCORE_WORKERS))
  end
  if c.CXB_AUDIOSOCKET_LISTEN then
    if not c.CXB_AUDIOSOCKET_BOT then
      config.refuse("CXB_AUDIOSOCKET_BOT: is not set, expected the bot of these calls")
    end
    c.audiosocket = c.CXB_AUDIOSOCKET_LISTEN:gsub("%%i", tostring(c.worker))
  end
  if c.VONAGE_PRIVATE_KEY_FILE then
    local file, why = io.open(c.VONAGE_PRIVATE_KEY_FILE)
    c.vonage_key = file and file:read("*a")
    if not file or not cxb.crypto.rs256(c.vonage_key, "") then
      config.refuse(("VONAGE_PRIVATE_KEY_FILE: %q is not valid, expected a private key in PEM%s")
        :format(c.VONAGE_PRIVATE_KEY_FILE, why and " (" .. why .. ")" or ""))
    end
    file:close()
  end
  c.bots_dir = c.CXB_BOTS_DIR or cxb.root .. "/lua/bots"
  c.flows_dir = c.CXB_FLOWS_DIR or cxb.root .. "/lua/flows"
  c.recordings_dir = c.CXB_RECORDINGS_DIR or c.CXB_STATE_DIR .. "/recordings"
  c.journal_dir = c.CXB_STATE_DIR .. "/journal"
  c.api = c.CXB_API_CONFIG_URL and c.CXB_API_CONFIG_URL:gsub("/+$", ""):match("^(.*)/[^/]*$")
  return c
end

return M
