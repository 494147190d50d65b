-- cxbctl call: a real call from WAV files through the front.

local json = require("cjson.safe")
local audio = require("cxbctl.audio")
local caller = require("cxbctl.caller")
local paths = require("cxbctl.paths")
local records = require("cxbctl.records")
local targets = require("cxbctl.targets")

-- How long a result is waited for; after a refusal there is hardly one.
local RESULT_MS, REFUSED_MS = 15000, 1000

local M = {
  summary = "place a call from WAV files; print turns, latencies and the stored result",
  usage = "--bot B --wav F [--wav G] [options]",
  example = "cxbctl call --bot demo --wav question.wav --wav goodbye.wav",
  options = {
    { name = "bot", value = "B", default = "demo", help = "bot that answers" },
    { name = "wav", value = "F", many = true, help = "what the caller says next; several in turn" },
    { name = "keys", value = "D", help = "keys pressed after the last file: 0-9 * #" },
    { name = "transport", value = "T", choices = caller.transports, default = "cxb",
      help = table.concat(caller.transports, ", ") },
    { name = "url", value = "URL", help = "of the front, http://host:port; else the one here" },
    { name = "from", value = "N", help = "the caller's number" },
    { name = "to", value = "N", help = "the number called" },
    { name = "save", value = "F", help = "what the caller heard, as a WAV file" },
    { name = "max-seconds", value = "S", type = "int", min = 1, max = 7200, default = 300,
      help = "hangs up then" },
  },
}

local function lines_of(options)
  local lines, rate = {}, caller.rate(options.transport)
  for _, path in ipairs(options.wav or {}) do
    local pcm, why = audio.read_wav(path, rate)
    if not pcm then return nil, why end
    lines[#lines + 1] = { pcm = pcm, name = path:match("[^/]*$") }
  end
  if options.keys then
    if not options.keys:match("^[0-9*#A-D]+$") then return nil, "--keys takes 0-9 * # A-D" end
    lines[#lines + 1] = { digits = options.keys, name = "keys " .. options.keys }
  end
  if #lines == 0 then return nil, "say what the caller says: --wav F" end
  return lines
end

local function narrator(out)
  return function(event)
    local at = out:paint("grey", ("%6.2f s"):format(event.t_ms / 1000))
    if event.type == "says" then
      out:say(("%s  caller: %s"):format(at, event.line))
    elseif event.type == "answered" then
      out:say(("%s  bot answers %d ms after the caller's last sound"):format(at,
        event.response_ms))
    elseif event.type == "cut" then
      out:say(at .. "  bot stops speaking")
    elseif event.type == "transfer" then
      out:say(("%s  bot transfers to %s"):format(at, tostring(event.to)))
    elseif event.type == "hangup" then
      out:say(at .. "  bot hangs up")
    end
  end
end

local function present(value)
  return value ~= nil and value ~= json.null and value or nil
end

local function tell(out, result, stored)
  out:say("")
  for _, entry in ipairs(present(stored.transcript) or {}) do
    local who = ("%8s"):format(tostring(entry.role))
    who = out:paint(entry.role == "bot" and "blue" or "green", who)
    out:say(("%s  %s%s"):format(who, tostring(entry.text),
      present(entry.interrupted) and out:paint("yellow", "  [cut off]") or ""))
  end
  local latency = present(stored.latency) or {}
  out:say("")
  out:say(("session    %s"):format(tostring(stored.session_id)))
  out:say(("ended by   %s%s, %s s"):format(tostring(stored.disconnected_by),
    present(stored.error) and " (" .. tostring(stored.error) .. ")" or "",
    tostring(stored.call_duration_seconds)))
  if present(latency.turns) then
    out:say(("latency    average %s ms, p50 %s, p95 %s over %s turns"):format(
      tostring(latency.total_avg_response_ms), tostring(latency.p50_ms), tostring(latency.p95_ms),
      tostring(latency.turns)))
  end
  for _, s in ipairs(present(stored.latency_samples) or {}) do
    out:say(("  turn %-3s endpoint %s  stt %s  llm %s  tts %s  host %s  = %s ms"):format(
      tostring(s.turn), tostring(s.endpoint_ms), tostring(s.stt_ms), tostring(s.llm_ttft_ms),
      tostring(s.tts_ttfb_ms), tostring(s.host_ms), tostring(s.total_ms)))
  end
  if present(stored.recording_key) then out:say("recording  " .. stored.recording_key) end
  out:say(("frames     %d received, %d short"):format(result.frames_in, result.starved))
end

-- How a worker closes a call that it does not take.
local closed_as = {
  [1008] = "there is no active bot of this name",
  [1000] = "the bot is outside its active hours",
}

---Why the call was over before anything was heard; nil when it was taken.
---@param result table of the caller
---@return string?
function M.refusal(result)
  if result.ended_by ~= "far end" or result.frames_in > 0 then return nil end
  return "the call was refused: " .. (closed_as[(result.closed or {}).status]
    or "the worker's log says why")
end

function M.run(options, _, out)
  local lines, why = lines_of(options)
  if not lines then
    out:fail(why, "cxbctl call --help")
    return 2
  end
  local front, ticket = options.url or targets.front_url()
  if options.transport == "browser" and options.url then
    out:fail("a browser's call is placed on this machine only", "leave out --url")
    return 2
  elseif options.transport == "browser" then
    ticket, why = records.ticket(options.bot)
    if not ticket then
      out:fail(why, "cxbctl status")
      return 1
    end
  end
  local call = caller.new({
    transport = options.transport, bot = options.bot, lines = lines,
    ticket = ticket and ticket.ticket,
    url = (front:gsub("^http", "ws"):gsub("/$", "")), from = options.from, to = options.to,
    on_event = out.json and function() end or narrator(out),
  })
  local result
  result, why = call:run(options["max-seconds"] * 1000)
  if not result then
    out:fail(("%s (%s)"):format(why, front), "cxbctl status")
    return 1
  end
  if options.save then audio.write_wav(options.save, result.heard, result.rate) end
  local refusal = M.refusal(result)
  local stored
  stored, why = records.wait_result(function(row)
    return row.stream_id == result.stream_id or (ticket and row.session_id == ticket.session_id)
  end, refusal and REFUSED_MS or RESULT_MS, options.url)
  why = refusal or why
  if out.json then
    out:object({ ok = stored ~= nil, error = not stored and why or nil, result = stored,
      turns = result.turns, ended_by = result.ended_by, stream_id = result.stream_id,
      frames_in = result.frames_in, starved = result.starved,
      transferred_to = result.transferred_to,
      state_dir = paths.state_dir() })
  elseif stored then
    tell(out, result, stored)
  else
    out:fail(refusal or "there is no result to show: " .. why,
      refusal and "cxbctl status" or "cxbctl calls")
  end
  return stored and 0 or 1
end

return M
