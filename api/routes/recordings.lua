-- Recordings: the audio by ranges, its outline, public links (api.md §5.9).
local call_view = require("services.calls.view")
local errors = require("services.web.errors")
local links = require("services.recordings.links")
local pipeline = require("services.web.pipeline")
local recording_peaks = require("services.recordings.peaks")
local recording_store = require("services.recordings.store")
local recording_stream = require("services.recordings.stream")

local token = { type = "string", format = "token" }

-- As long as the longest call; who listens takes the time it lasts.
local LISTEN_MS = 7200000
local PLAYED_MS = LISTEN_MS -- as long as a ticket

-- (waits) Sends the recording of a call.
local function play(ctx, call, headers)
  local source, err = recording_store.find(ctx.app, call)
  if not source then
    return nil, err
  end
  return recording_stream.send(ctx, source, headers)
end

-- Whether a request is only the rest of a play that the audit has told of: a player asks for many
-- ranges, and begins anywhere.
local function is_rest(ctx, call)
  local range, cache = ctx.req.headers.range, ctx.app.cache
  if ctx.req.method == "HEAD" then
    return true
  end
  local key = ("played:%s:%s"):format(ctx.principal.id or ctx.principal.kind, call._id)
  if range and not range:match("^bytes=0%-") and cache:get(key) then
    return true
  end
  cache:set(key, "1", PLAYED_MS)
  return false
end

local function rotate(ctx)
  local call, err = call_view.get(ctx, ctx.params.id)
  if not call then
    return nil, err
  elseif not recording_store.key(call) then
    return nil, errors.new(404, "recording_missing", "The call has no recording.")
  end
  ctx.audit = { target = { type = "call", id = call._id } }
  local made
  made, err = links.rotate(ctx.app, call)
  if not made then
    return nil, err
  end
  local origin = pipeline.origin(ctx)
  local base = ctx.app.settings.CXB_PUBLIC_URL or (origin.scheme .. "://" .. origin.host)
  return { status = 201, body = {
    recording_access_token = made,
    url = base:gsub("/+$", "") .. "/api/v1/public/recordings/" .. made,
  } }
end

local function withdraw(ctx)
  local call, err = call_view.get(ctx, ctx.params.id)
  if not call then
    return nil, err
  end
  ctx.audit = { target = { type = "call", id = call._id } }
  local ok
  ok, err = links.withdraw(ctx.app, call)
  return ok and { status = 204, body = "" }, err
end

return {
  {
    verb = "GET", path = "/api/v1/recordings/{session_id}", guard = "playback",
    summary = "The audio of a call, by ranges.", media = "audio/wav", audit = "recording.play",
    deadline_ms = LISTEN_MS, errors = { "recording_missing", "object_store_unavailable" },
    handler = function(ctx)
      local call, err = call_view.get(ctx, ctx.params.session_id)
      if not call then
        return nil, err
      end
      ctx.audit = { target = { type = "call", id = call._id }, skip = is_rest(ctx, call) }
      return play(ctx, call)
    end,
  },
  {
    verb = "GET", path = "/api/v1/recordings/{session_id}/peaks", guard = "playback",
    summary = "The outline of a recording, for drawing it.",
    query = { type = "object", properties = {
      points = { type = "integer", minimum = 100, maximum = 8000, default = 1000 },
      ticket = { type = "string", maxLength = 2048 },
    } },
    output = {
      type = "object", title = "RecordingPeaks", required = { "duration", "channels" },
      properties = {
        duration = { type = "number", description = "seconds" },
        channels = {
          type = "array", description = "of each: min, max, min, max … as -128 to 127",
          items = { type = "array", items = { type = "integer" } },
        },
      },
    },
    errors = { "recording_missing", "unsupported_recording", "object_store_unavailable" },
    handler = function(ctx)
      local call, err = call_view.get(ctx, ctx.params.session_id)
      local source, outline
      if call then
        source, err = recording_store.find(ctx.app, call)
      end
      if source then
        outline, err = recording_peaks.get(ctx.app, call, source, ctx.query.points)
      end
      return outline and { body = outline }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/public/recordings/{token}", guard = "open",
    limit = "public_recording", deadline_ms = LISTEN_MS,
    summary = "The audio of a call by its public link.", media = "audio/wav",
    params = { type = "object", properties = { token = token } },
    errors = { "recording_missing", "object_store_unavailable" },
    handler = function(ctx)
      local call, err = links.call(ctx.app, ctx.params.token)
      if not call then
        return nil, err
      end
      return play(ctx, call, { ["x-robots-tag"] = "noindex" })
    end,
  },
  {
    verb = "POST", path = "/api/v1/calls/{id}/recording-token", guard = "admin",
    audit = "recording_token.rotate", status = 201,
    summary = "A new public link to a recording; the former one stops playing.",
    output = {
      type = "object", required = { "recording_access_token", "url" },
      properties = {
        recording_access_token = { type = "string" }, url = { type = "string", format = "url" },
      },
    },
    errors = { "recording_missing" }, handler = rotate,
  },
  {
    verb = "DELETE", path = "/api/v1/calls/{id}/recording-token", guard = "admin",
    audit = "recording_token.withdraw", status = 204,
    summary = "The public link to a recording stops playing.", handler = withdraw,
  },
}
