-- cxbctl calls: the newest calls the API keeps.

local json = require("cxb.json")
local records = require("cxbctl.records")

local M = {
  summary = "live and last calls",
  example = "cxbctl calls --limit 5",
  options = {
    { name = "limit", value = "N", type = "int", min = 1, max = 200, default = 20, help = "rows" },
    { name = "url", value = "URL", help = "of another host; needs CXB_API_KEY" },
  },
}

local function text(value)
  if value == nil or value == json.null then return "" end
  return tostring(value)
end

function M.run(options, _, out)
  local items, why = records.list(options.limit, options.url)
  if not items then
    out:fail(why, "cxbctl status")
    return 1
  end
  if out.json then
    out:object({ ok = true, items = json.array(items) })
    return 0
  end
  local rows = { { "started", "session", "bot", "status", "ended by", "seconds", "recording" } }
  for _, call in ipairs(items) do
    rows[#rows + 1] = { text(call.started_at):sub(1, 19), text(call.session_id), text(call.bot_id),
      text(call.status), text(call.disconnected_by), text(call.call_duration_seconds),
      text(call.recording_key) ~= "" and "yes" or "" }
  end
  if #items == 0 then out:say("no calls yet") else out:columns(rows) end
  return 0
end

return M
