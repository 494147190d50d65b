-- speech.lua: the host's embedded speech, one process for all its call workers. WebSockets /stt and
-- /tts (docs/speech.md) and GET /health over CXB_SPEECH_URL. The engines are C (runtime/speech);
-- here are the protocol and the limits.
local config = require("cxb.config")
local json = require("cxb.json")
local router = require("cxb.router")
local stt = require("cxb.speech.stt")
local tts = require("cxb.speech.tts")

local c = config.load({
  { name = "CXB_SPEECH_URL", default = "unix:/run/cxb/speech.sock",
    pattern = "^%a+:[^%s]+$", form = "unix:PATH or ws://HOST:PORT",
    help = "Where the service listens and the workers find it." },
  { name = "CXB_SPEECH_MODELS",
    help = "Folder made by runtime/speech/models/fetch.sh. Default: .cache/models." },
  { name = "CXB_SPEECH_THREADS", type = "int", default = 1, min = 1, max = 16,
    help = "Threads of one recognition." },
  { name = "CXB_SPEECH_STREAMS", type = "int", default = 64, min = 1, max = 1024,
    help = "Connections to /stt, and as many to /tts, at once." },
  { name = "CXB_RUN_DIR", default = "/run/cxb", help = "Folder of the control socket." },
  { name = "CXB_LOG_LEVEL", default = "info", choices = { "debug", "info", "warn", "error" },
    help = "Log level." },
})
if not c then
  return 0 -- --help-config has printed the variables
end
cxb.log.level(c.CXB_LOG_LEVEL)
cxb.log.context({ service = "speech" })

local function listen_address()
  local host = c.CXB_SPEECH_URL:match("^ws://([^/]+)/?$")
  return host and "tcp:" .. host or c.CXB_SPEECH_URL
end

---(waits) The engines belong to the process: loaded once, whatever the generation.
local function load()
  return cxb.speech.load({
    models = c.CXB_SPEECH_MODELS or cxb.root .. "/.cache/models", threads = c.CXB_SPEECH_THREADS,
  })
end

local streams = { stt = 0, tts = 0 }
local loaded = cxb.generation > 1

local function health()
  local reload, reload_error = cxb.process.reload_state()
  return {
    status = loaded and "ok" or "loading", stt_streams = streams.stt, tts_streams = streams.tts,
    max_streams = c.CXB_SPEECH_STREAMS, languages = { "en" },
    voices = json.array(cxb.speech.voices()), rss_kb = cxb.process.rss_kb(),
    pid = cxb.process.pid, generation = cxb.generation, reload = reload,
    reload_error = reload_error, version = cxb.version,
  }
end

local as_json = { ["content-type"] = "application/json" }

local function refuse(req, status, answer)
  req:respond(status, json.encode(answer), as_json)
end

-- One connection of `kind`, counted while it lasts.
local function serve(kind, module, req)
  if not req.upgrade then
    return refuse(req, 426, { error = "upgrade_required" })
  end
  local ok = load()
  if not ok then
    return refuse(req, 503, { error = "loading" })
  end
  if streams[kind] >= c.CXB_SPEECH_STREAMS then
    return refuse(req, 503, { error = "at_capacity" })
  end
  streams[kind] = streams[kind] + 1
  local done, message = xpcall(module.serve, debug.traceback, req, refuse)
  streams[kind] = streams[kind] - 1
  if not done then
    error(message, 0)
  end
end

local routes = router.new()
routes:get("/stt", function(req)
  serve("stt", stt, req)
end)
routes:get("/tts", function(req)
  serve("tts", tts, req)
end)
routes:get("/health", function(req)
  req:respond(loaded and 200 or 503, json.encode(health()), as_json)
end)
routes:get("/metrics", function(req)
  cxb.metrics.set("cxb_speech_streams", { kind = "stt" }, streams.stt)
  cxb.metrics.set("cxb_speech_streams", { kind = "tts" }, streams.tts)
  cxb.metrics.set("cxb_speech_rss_bytes", {}, cxb.process.rss_kb() * 1024)
  req:respond(200, cxb.metrics.render("worker"),
    { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" })
end)

local seconds = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 }
cxb.metrics.declare({
  { name = "cxb_speech_streams", type = "gauge", help = "Connections now" },
  { name = "cxb_speech_rss_bytes", type = "gauge", help = "Resident memory" },
  { name = "cxb_speech_final_seconds", type = "histogram", buckets = seconds,
    help = "From finalize to final" },
  { name = "cxb_speech_first_audio_seconds", type = "histogram", buckets = seconds,
    help = "From speak to the first audio" },
  { name = "cxb_speech_errors_total", type = "counter", help = "Error messages sent" },
})

if cxb.mode == "run" then
  cxb.fs.mkdir(c.CXB_RUN_DIR .. "/ctl")
end

return {
  name = "speech",
  listen = {
    { addr = listen_address(), mode = 432 }, -- 0660
    { addr = ("unix:%s/ctl/speech.sock"):format(c.CXB_RUN_DIR), mode = 432, control = true },
  },
  http = function(req)
    routes:handle(req)
  end,
  start = function()
    local began = cxb.time.mono()
    local ok, _, message = load()
    if not ok then
      error("start refused: " .. message, 0)
    end
    loaded = true
    cxb.log.info("speech engines loaded", {
      ms = math.floor(cxb.time.mono() - began), voices = table.concat(cxb.speech.voices(), " "),
      rss_kb = cxb.process.rss_kb(),
    })
  end,
  control = {
    status = health,
  },
}
