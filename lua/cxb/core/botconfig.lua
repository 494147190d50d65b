-- Configuration of one call (core spec §4): fetched from the API, or read from a bot file, checked
-- and completed with defaults.
local fields = require("cxb.core.botfields")
local json = require("cxb.json")
local outgoing = require("cxb.core.outgoing")
local url = require("cxb.url")

local M = {}

-- Of two bad fields the first by name is reported: the order of a Lua table is none.
local function by_name(t)
  local names = {}
  for name in pairs(t) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  return names
end

-- A null says as much as an absent key.
local function without_nulls(value)
  if type(value) ~= "table" then
    return value
  end
  if json.is_array(value) or value[1] ~= nil then
    for i, item in ipairs(value) do
      value[i] = without_nulls(item)
    end
    return value
  end
  for key, item in pairs(value) do
    if item == json.null then
      value[key] = nil
    else
      value[key] = without_nulls(item)
    end
  end
  return value
end

local function is_required(name, is_local)
  for _, required in ipairs(fields.required) do
    if required == name then
      return not is_local
    end
  end
  return false
end

---@param raw table as received; changed in place
---@param is_local boolean a bot file: session and webhook may be absent
---@return table? config, string? bad_field, string? why
function M.check(raw, is_local)
  raw = without_nulls(raw)
  local config, unknown = {}, {}
  local properties = fields.schema.properties
  for _, name in ipairs(by_name(properties)) do
    local value = raw[name]
    if value == nil then
      if is_required(name, is_local) then
        return nil, name, "is required"
      end
      value = properties[name].default
      value = type(value) == "table" and {} or value
    end
    if value ~= nil then
      local why
      value, why = fields.check(name, value)
      if value == nil then
        return nil, name, why
      end
      config[name] = value
    end
  end
  for _, name in ipairs(by_name(raw)) do
    if not properties[name] then
      unknown[#unknown + 1] = name
    end
  end
  config.unknown_fields = #unknown > 0 and unknown or nil
  fields.complete(config)
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

-- How sure the leg's detector must be: its modes, from the least to the most demanding.
local function detector_mode(confidence)
  return confidence >= 0.8 and 3 or confidence >= 0.5 and 2 or confidence >= 0.25 and 1 or 0
end

---Voice activity of the leg: what interrupts the bot by voice alone. Its silence comes early, so
---that a turn may end by it where the recogniser reports none.
---@return {mode: integer, start_ms: number, stop_ms: number, min_volume: number}
function M.leg_vad(config)
  local v = config.vad
  return {
    mode = detector_mode(v.confidence), start_ms = milliseconds(v, "start_secs", "start_ms") or 200,
    stop_ms = M.vad(config).stop_ms, min_volume = v.min_volume,
  }
end

-- A text of the answer; a null or a number where one is expected says nothing.
local function word(body, name)
  local value = body and body[name]
  return type(value) == "string" and value ~= "" and value or nil
end

local function refused(status, body)
  local message = word(body, "message") or word(body, "detail") or ""
  if status == 404 then
    return { kind = "unknown_bot", close = 1008 }
  elseif status == 503 and message:find("outside_active_hours", 1, true) then
    return { kind = "outside_hours", close = 1000, session_id = word(body, "session_id") }
  end
  return { kind = "config_" .. status, close = 1011, session_id = word(body, "session_id") }
end

local retry_codes = { refused = true, closed = true, resolve = true, io = true, tls = true }

local function fetch(c, target)
  local headers = outgoing.headers(c, target, { ["accept"] = "application/json" })
  local began = cxb.time.mono()
  local answer, code, message
  for attempt = 1, 2 do
    answer, code, message = cxb.http.request({
      url = target, headers = headers, timeout_ms = 5000,
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
  local base = call.config_url or c.CXB_API_CONFIG_URL
  local target = ("%s/%s?%s"):format((base:gsub("/+$", "")), call.bot_id,
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
  local config, field
  config, field, why = M.check(body, false)
  if not config then
    return nil, { kind = "config_invalid:" .. field, close = 1011, message = why,
      session_id = word(body, "session_id") }
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
  local config, field
  config, field, why = M.check(body, true)
  if not config then
    return nil, { kind = "config_invalid:" .. field, close = 1011, message = why }
  end
  config.opening_message = config.opening_message or ""
  config.session_id = config.session_id or call.session_hint or cxb.crypto.uuid4()
  return config, nil, text
end

---(waits)
---@param c table settings
---@param call table bot_id, caller_id, stream_id, connected_event (JSON text), session_hint,
---config_url (this call's own)
---@return table? config
---@return {kind: string, close: integer, session_id?: string, message?: string}? refusal
---@return string? text the configuration as received
function M.load(c, call)
  if call.config_url or c.CXB_API_CONFIG_URL then
    return from_api(c, call)
  end
  return from_file(c, call)
end

return M
