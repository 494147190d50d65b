-- Configuration of one call (core spec §4): fetched from the API, or read from a bot file, checked
-- and completed with defaults.
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local providers = require("providers")
local url = require("cxb.url")

local M = {}

local function whole(min, max)
  return function(v)
    return type(v) == "number" and v == math.floor(v) and v >= min and v <= max
  end
end

local is = {
  string = function(v)
    return type(v) == "string"
  end,
  bool = function(v)
    return type(v) == "boolean"
  end,
  map = function(v)
    return type(v) == "table" and not json.is_array(v)
  end,
  list = function(v)
    return type(v) == "table" and (json.is_array(v) or next(v) == nil)
  end,
  number = function(v)
    return type(v) == "number"
  end,
}

local function provider_of(stage)
  return function(v)
    return is.map(v) and providers[stage][v.provider] ~= nil
  end
end

local function fresh()
  return {}
end

-- name → {check, default (value, or function making one), required}
local fields = {
  session_id = { is.string, nil, true }, webhook_url = { is.string, nil, true },
  system_prompt = { is.string, nil, true }, opening_message = { is.string, nil, true },
  bot_id = { is.string, "" }, bot_version = { function() return true end },
  timezone = { is.string, "UTC" }, re_engagement = { is.map },
  min_words_interruption = { whole(0, 100), 3 },
  max_call_duration_seconds = { whole(10, 7200), 600 }, voicemail_message = { is.string, "" },
  pre_transfer_message = { is.string, "" }, tools = { is.list, fresh },
  conversation_policy = { is.map }, variables = { is.map, fresh }, turn = { is.map, fresh },
  agent_desk = { is.map }, transfer_targets = { is.list, fresh },
  transfer_numbers = { is.map, fresh }, post_call_analysis_prompt = { is.string },
  qc_prompt = { is.string }, post_call_cache_enabled = { is.bool, false },
  post_call_cache_version = { is.string, "" }, post_call_cache = { is.map },
  auto_dispositions = { is.map }, prompt_parts = { is.map },
  callback_detection_enabled = { is.bool, false }, knowledge_enabled = { is.bool, false },
  knowledge_kb_ids = { is.list, fresh }, knowledge_top_k = { whole(1, 10), 4 },
  knowledge_score_threshold = { is.number, 0.2 }, knowledge_strict = { is.bool, false },
  knowledge_fallback_message = { is.string, "" },
  knowledge_trigger_instructions = { is.string, "" }, flow = { is.string, "assistant" },
  flow_settings = { is.map, fresh }, flow_version = { function() return true end },
  flow_source = { is.string }, sip_context = { is.map },
  stt = { provider_of("stt"), function() return { provider = "embedded" } end },
  llm = { is.map }, vad = { is.map, fresh },
  tts = { provider_of("tts"), function() return { provider = "embedded" } end },
  recording_enabled = { is.bool, true }, max_silence_seconds = { whole(0, 7200), 30 },
  apology_message = { is.string, "I am sorry, something went wrong. Please call again later." },
  timeout_message = { is.string, "I am sorry, our time is up. Goodbye." },
}

-- Of two bad fields the first by name is reported: the order of a Lua table is none.
local function by_name(t)
  local names = {}
  for name in pairs(t) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  return names
end

---@param raw table as received
---@param is_local boolean a bot file: session and webhook may be absent
---@return table? config, string? bad_field
function M.check(raw, is_local)
  local config, unknown = {}, {}
  for _, name in ipairs(by_name(fields)) do
    local rule, value = fields[name], raw[name]
    if value == json.null then
      value = nil
    end
    local optional = is_local and (name == "session_id" or name == "webhook_url"
      or name == "system_prompt" or name == "opening_message")
    if value == nil and rule[3] and not optional then
      return nil, name
    elseif value ~= nil and not rule[1](value) then
      return nil, name
    end
    if value == nil then
      value = rule[2]
      if type(value) == "function" then
        value = value()
      end
    end
    config[name] = value
  end
  for _, name in ipairs(by_name(raw)) do
    if not fields[name] then
      unknown[#unknown + 1] = name
    end
  end
  config.unknown_fields = #unknown > 0 and unknown or nil
  if config.session_id and not config.session_id:match("^[%w._:%-]+$") then
    return nil, "session_id"
  end
  return config
end

local function milliseconds(v, seconds_key, ms_key)
  return tonumber(v[ms_key]) or (tonumber(v[seconds_key]) and tonumber(v[seconds_key]) * 1000)
end

---Voice activity of the call: when voice is speech, and the early silence at which transcription
---begins. `floor_ms`: a configured stop time is the least delay of a turn's end. Unless configured
---voice counts after 64 ms, or a short "no" or "eight" would be missed; words, not voice, interrupt
---the bot.
---@return {start_ms: number, stop_ms: number, floor_ms: number}
function M.vad(config)
  local v = config.vad or {}
  local stop = milliseconds(v, "stop_secs", "stop_ms")
  return {
    start_ms = milliseconds(v, "start_secs", "start_ms") or 64,
    stop_ms = math.min(stop or 240, 240), floor_ms = stop or 0,
  }
end

local function refused(status, body)
  local message = body and (body.message or body.detail) or ""
  if status == 404 then
    return { kind = "unknown_bot", close = 1008 }
  elseif status == 503 and tostring(message):find("outside_active_hours", 1, true) then
    return { kind = "outside_hours", close = 1000, session_id = body and body.session_id }
  end
  return { kind = "config_" .. status, close = 1011, session_id = body and body.session_id }
end

local retry_codes = { refused = true, closed = true, resolve = true, io = true, tls = true }

local function fetch(c, target)
  local headers = outgoing.headers(c, target, { ["accept"] = "application/json" })
  local began = cxb.time.mono()
  local answer, code, message
  for attempt = 1, 2 do
    answer, code, message = cxb.http.request({
      url = target, headers = headers, timeout_ms = 5000, secrets = c.secrets,
    })
    if answer or not retry_codes[code] or attempt == 2 then
      break
    end
    cxb.time.sleep(250)
  end
  cxb.metrics.observe("cxb_config_fetch_seconds",
    { result = answer and tostring(answer.status) or code or "error" },
    (cxb.time.mono() - began) / 1000)
  return answer, code, message
end

local function from_api(c, call)
  local target = ("%s/%s?%s"):format((c.CXB_API_CONFIG_URL:gsub("/+$", "")), call.bot_id,
    url.encode_query({ { "caller_id", call.caller_id }, { "stream_id", call.stream_id },
      { "connected_event", call.connected_event } }))
  local answer, code, message = fetch(c, target)
  if not answer then
    return nil, { kind = "config_" .. (code or "error"), close = 1011, message = message }
  end
  local body, _, why = json.decode_object(answer.body or "")
  if answer.status ~= 200 then
    return nil, refused(answer.status, body)
  end
  if not body then
    return nil, { kind = "config_invalid:json", close = 1011, message = why }
  end
  local config, field = M.check(body, false)
  if not config then
    local id = is.string(body.session_id) and body.session_id or nil
    return nil, { kind = "config_invalid:" .. field, close = 1011, session_id = id }
  end
  return config, nil, answer.body
end

local function from_file(c, call)
  local text, code, message = cxb.fs.read(c.bots_dir .. "/" .. call.bot_id .. ".json")
  if not text then
    if code == "not_found" then
      return nil, { kind = "unknown_bot", close = 1008 }
    end
    return nil, { kind = "config_" .. code, close = 1011, message = message }
  end
  local body, _, why = json.decode_object(text)
  if not body then
    return nil, { kind = "config_invalid:json", close = 1011, message = why }
  end
  local config, field = M.check(body, true)
  if not config then
    return nil, { kind = "config_invalid:" .. field, close = 1011 }
  end
  config.opening_message = config.opening_message or ""
  config.session_id = config.session_id or call.session_hint or cxb.crypto.uuid4()
  return config, nil, text
end

---(waits)
---@param c table settings
---@param call table bot_id, caller_id, stream_id, connected_event (JSON text), session_hint
---@return table? config
---@return {kind: string, close: integer, session_id?: string, message?: string}? refusal
---@return string? text the configuration as received
function M.load(c, call)
  if c.CXB_API_CONFIG_URL then
    return from_api(c, call)
  end
  return from_file(c, call)
end

return M
