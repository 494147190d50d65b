-- /stt: one stream of a caller's audio to events and texts (docs/speech.md).
local url = require("cxb.url")
local wire = require("cxb.speech.wire")

local M = {}

-- Query fields that are whole numbers: default (nil: the engine's own), least, most.
local numbers = {
  { "rate", 16000, 8000, 48000 }, { "start_ms", nil, 32, 1000 }, { "stop_ms", nil, 100, 3000 },
}

---@return table? options, string? field, string? message
function M.options(query)
  local q = url.parse_query(query)
  local options = { partials = q.partials == "1" or q.partials == "true" }
  for _, entry in ipairs(numbers) do
    local name, default, least, most = entry[1], entry[2], entry[3], entry[4]
    local value = q[name] and tonumber(q[name]) or default
    if (q[name] and not q[name]:match("^%d+$"))
      or (value and (value < least or value > most)) then
      return nil, name, ("a whole number from %d to %d expected"):format(least, most)
    end
    options[name] = value
  end
  local language = q.language or "en"
  if language ~= "en" and not language:match("^en[-_]%w+$") then
    return nil, "language", "en is the language of the embedded recogniser"
  end
  return options
end

-- Sends what the recogniser says until it is closed.
local function report(rec, out, finals)
  while true do
    local event = rec:event()
    if not event then
      return
    end
    if event.type == "final" then
      local asked = finals[event.id]
      finals[event.id] = nil
      event.id = asked.id
      cxb.metrics.observe("cxb_speech_final_seconds", {}, (cxb.time.mono() - asked.at) / 1000)
      out:send(event)
    elseif event.type == "error" then
      out:error(event.code, event.message)
    else
      out:send(event)
    end
  end
end

local function is_words(list)
  if type(list) ~= "table" or #list > 128 then
    return false
  end
  for key, word in pairs(list) do
    if type(key) ~= "number" or type(word) ~= "string" or #word > 64 then
      return false
    end
  end
  return true
end

local function handlers(rec, out, finals)
  local serial, open = 0, 0
  return {
    finalize = function(message)
      if not wire.is_id(message.id) then
        return out:error("invalid", "id: a string of up to 64 bytes or a number expected")
      end
      open = 0
      for _ in pairs(finals) do
        open = open + 1
      end
      if open >= 64 then
        return out:error("busy", "64 finals are waited for already", message.id)
      end
      serial = serial + 1
      finals[tostring(serial)] = { id = message.id, at = cxb.time.mono() }
      rec:finalize(tostring(serial))
    end,
    reset = function()
      rec:reset()
    end,
    hints = function(message)
      if not is_words(message.words) then
        return out:error("invalid", "words: a list of up to 128 strings expected")
      end
      rec:hints(message.words)
    end,
  }
end

---(waits) Serves one upgrade until it is closed.
function M.serve(req, refuse)
  local options, field, why = M.options(req.query)
  if not options then
    return refuse(req, 400, { error = "invalid", field = field, message = why })
  end
  local rec, code, message = cxb.speech.recognizer(options)
  if not rec then
    return refuse(req, 503, { error = code, message = message })
  end
  local conn = req:websocket({ max_text = 16384, max_binary = 262144 })
  if not conn then
    return rec:close()
  end
  local out, finals = wire.new(conn, "stt"), {}
  out.types = "finalize, reset, hints"
  conn:pipe(rec:sink())
  out:send({ type = "ready", rate = options.rate, language = "en" })
  local reporter = cxb.task.spawn("stt events", report, rec, out, finals)
  out:run(handlers(rec, out, finals))
  rec:close()
  reporter:wait(1000)
end

return M
