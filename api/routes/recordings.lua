-- GET and HEAD /api/v1/recordings/{session_id}: the call's audio, by ranges (api.md §5.9).
local errors = require("services.errors")

-- Where a call's recording lies under the recordings folder; nil when the key is not a plain path.
local function path_of(call)
  local key = call.recording_key or (call.recording_url or ""):match("([^/]+)$") or ""
  key = key:gsub("^recordings/", "")
  if key == "" or key:find("[%c\\]") or ("/" .. key .. "/"):find("/%.*/") then
    return nil
  end
  return key
end

local function missing()
  return nil, errors.new(404, "recording_missing", "There is no recording of this call here.")
end

return {
  {
    verb = "GET", path = "/api/v1/recordings/{session_id}", guard = "playback",
    summary = "The audio of a call, by ranges.", media = "audio/wav",
    errors = { "recording_missing" },
    params = {
      type = "object", properties = { session_id = { type = "string", format = "id" } },
    },
    handler = function(ctx)
      local call, err = ctx.app.store:get("calls", ctx.params.session_id)
      if not call then
        return nil, err.code == "not_found" and errors.not_found("call") or errors.of_store(err)
      end
      local key = path_of(call)
      if not key then
        return missing()
      end
      local sent, code = ctx.req:send_file(ctx.app.recordings_dir .. "/" .. key, {
        ["content-type"] = "audio/wav", ["content-disposition"] = "inline",
        ["cache-control"] = "private, no-cache", ["x-content-type-options"] = "nosniff",
        ["x-request-id"] = ctx.request_id,
      })
      if not sent and code == "not_found" then
        return missing()
      end
      return "answered"
    end,
  },
}
