-- The tools Core brings itself (core spec §5.3): each gets the call, the run of call:llm and the
-- model's call, and answers the text the model is told.
local json = require("cxb.json")

local M = {}

---The words of this answer are said to their end, then the call ends.
function M.end_call(_, run)
  run.after = "end_call"
  return '{"status":"ending"}'
end

---What was said so far is heard first. The conversation goes on when nobody could be reached.
function M.transfer_call(call, run, asked)
  local args = json.decode_object(asked.arguments) or {}
  if not run.conclude() then
    return '{"error":"interrupted"}'
  end
  local target = type(args.target) == "string" and args.target ~= "" and args.target or nil
  local done = call:transfer(target, type(args.reason) == "string" and args.reason or nil)
  if done.ok or done.hangup then
    run.over = "transfer"
    return '{"status":"transferred"}'
  end
  run.again()
  return json.encode(json.object({
    { "error", done.reason == "no_target" and "TransferTargetError" or "transfer_failed" },
    { "reason", done.reason },
  }))
end

---Nobody is listening: the message is left and the call ends.
function M.detected_voicemail(call, run)
  run.s:stop()
  run.conclude()
  call:voicemail()
  run.over = "voicemail"
  return '{"status":"ending"}'
end

return M
