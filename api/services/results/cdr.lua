-- A carrier's record of a call (api.md §5.7): kept beside the result, no judge of its status.
local redaction = require("services.calls.redaction")

local M = {}

-- The names carriers give to what we keep by itself.
local kept = {
  cdr_talktime = { "talktime", "talkTime", "talk_time", "cdr_talktime" },
  cdr_call_status = { "callStatus", "call_status", "status", "cdr_call_status" },
  cdr_recording_url = { "recordingUrl", "recording_url", "recordingURL", "cdr_recording_url" },
}

local function text(value)
  return type(value) == "string" and value ~= "" and #value <= 256 and value or nil
end

local function fields(body)
  local set = { cdr = body }
  for name, spellings in pairs(kept) do
    for _, spelling in ipairs(spellings) do
      local value = body[spelling]
      if set[name] == nil and (type(value) == "string" or type(value) == "number") then
        set[name] = value
      end
    end
  end
  return set
end

---(waits)
---@param body table as received
---@return {status: string, stream_id?: string, reason?: string}? answer, table? err
function M.ingest(store, body)
  local stream_id = text(body.streamId) or text(body.stream_id)
  if not stream_id then
    return { status = "ignored", reason = "no streamId" }
  end
  local calls, err = store:find("calls", { stream_id = stream_id },
    { sort = { "-started_at" }, limit = 1, fields = { "stream_id", "redacted_at" } })
  if not calls then
    return nil, err
  elseif not calls[1] then
    return { status = "not_found", stream_id = stream_id }
  end
  local set = fields(body)
  if calls[1].redacted_at then
    redaction.strip(set)
  end
  local call
  call, err = store:update("calls", calls[1]._id, { set = set }, { fields = {} })
  if not call and err.code == "not_found" then
    return { status = "not_found", stream_id = stream_id }
  end
  return call and { status = "ok", stream_id = stream_id }, err
end

return M
